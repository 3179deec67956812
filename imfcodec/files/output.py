"""One output file on its way."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from imfcodec.errors import UsageError
from imfcodec.files.targets import check_target, final_path, is_in_place, named_errors
from imfcodec.files.temporary import Temporary


class OutputFile:
    """An output file: write to `file`, then `commit` or `discard`.

    Args:
        path: the target; links are followed.
        overwrite: replace a file that is there; without, one that appears meanwhile is kept as well.
    Attributes:
        name: the target's name for messages.
        file: where to write; can seek unless the target is a pipe or device. Raises OutputError with the target's name.
        path: for those who open files themselves: the temporary name, or that of the pipe or device.
    Raises:
        UsageError: as `check_target`.
        OutputError: the system refuses to write there.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = True) -> None:
        check_target(path, overwrite=overwrite)
        self.name, self._overwrite = str(path), overwrite
        self._target = final_path(path)
        self._temporary: Temporary | None = None
        with named_errors(self.name):
            if is_in_place(path):
                descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
            else:
                self._temporary = Temporary(self._target)
                descriptor = self._temporary.descriptor
        self.path = self._temporary.path if self._temporary else Path(path)
        self._raw = _NamedFile(descriptor, self.name)
        self.file = cast(BinaryIO, io.BufferedWriter(self._raw))

    def commit(self) -> None:
        """Complete the file and give it its name.

        Raises:
            OutputError: the system cannot; nothing is left.
            UsageError: a file of this name has appeared, and is to be kept; nothing is left of ours.
        """
        try:
            self.file.flush()
            if self._temporary:
                with named_errors(self.name):
                    self._temporary.take_mode(self._target)
                    self._temporary.sync()
                    self._publish(self._temporary.path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Give up and remove what was written, unless it was committed."""
        if not self._raw.closed:
            if self._temporary:
                self._temporary.remove()
            with suppress(OSError):
                self._raw.close()  # and not the buffer, which would try to write its rest

    def _publish(self, temporary: Path) -> None:
        if self._overwrite:
            os.replace(temporary, self._target)
            return
        try:
            os.link(temporary, self._target)
        except FileExistsError:
            raise UsageError(f"{self.name} exists by now; choose another name or give -y to overwrite it") from None
        except OSError:  # no hard links here
            check_target(self.name, overwrite=False)
            os.rename(temporary, self._target)


class _NamedFile(io.FileIO):
    """A file whose errors carry the name of the target."""

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(descriptor, "wb")
        self.name = name

    def write(self, data: Any) -> int:
        with named_errors(str(self.name)):
            return super().write(data)


@contextmanager
def write_beside(path: str | Path, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Open a file for binary writing that takes the place of `path` when the block ends without an exception.

    After an exception nothing is left of it. Arguments and errors as `OutputFile`.
    """
    output = OutputFile(path, overwrite=overwrite)
    try:
        yield output.file
        output.commit()
    finally:
        output.discard()
