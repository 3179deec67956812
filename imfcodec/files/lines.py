"""A file that grows line by line, and holds after a crash all lines but perhaps the last."""

import fcntl
import os
from pathlib import Path

from imfcodec.errors import InputError, UsageError
from imfcodec.files.targets import check_name, named_errors

_OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class AppendedLines:
    """Lines of text kept in a file that one process at a time writes; each is on the disk when `append` returns.

    Args:
        path: the file; made where it is missing, its folder must exist.
        anew: begin with an empty file.
    Attributes:
        lines: the complete lines that were there; half a line, which a killed process left, is cut off.
    Raises:
        UsageError: another process writes it, or no file can have this name.
        InputError: it does not hold text.
        OutputError: the system refuses.
    """

    def __init__(self, path: Path, *, anew: bool = False) -> None:
        check_name(path)
        self._name = str(path)
        with named_errors(self._name):
            self._descriptor = os.open(path, _OPEN, 0o666)
        try:
            self._lock()
            self.lines = self._take_over(anew)
        except BaseException:
            self.close()
            raise

    def append(self, line: str) -> None:
        """Add a line, which must hold no line feed."""
        with named_errors(self._name):
            _write_all(self._descriptor, line.encode() + b"\n")
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let others write."""
        os.close(self._descriptor)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{self._name} is being written by another run; wait for it, or end it") from None
        except OSError:  # a file system without locks
            return

    def _take_over(self, anew: bool) -> list[str]:
        with open(self._descriptor, "rb", closefd=False) as file:
            content = b"" if anew else file.read()
        complete = content[: content.rfind(b"\n") + 1]
        with named_errors(self._name):
            os.truncate(self._descriptor, len(complete))
        try:
            return complete.decode().splitlines()
        except UnicodeDecodeError:
            raise InputError(f"{self._name}: holds no text; move it away") from None


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
