"""Sources that can be read only once: pipes, devices, process substitution, streams of the caller's."""

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from imfcodec.errors import ImfError, InputError
from imfcodec.files import check_name, named_errors, open_input
from imfcodec.frames import Frame
from imfcodec.interruption import kept

Source = str | Path | BinaryIO

_Y4M = b"YUV4MPEG2"


@contextmanager
def read_once(source: Source, *, is_raw: bool = False) -> Iterator[Source]:
    """Make something `open_clip` can read of any source; what is a file stays as it is.

    Y4M, and raw video where `is_raw`, streams. Everything else that comes through a pipe is kept in an unnamed
    temporary file, since FFmpeg looks at it more than once.

    Raises:
        UsageError: a name that can be none of a file.
        InputError: the source cannot be read.
        OutputError: the temporary file cannot be written.
    """
    if isinstance(source, str | Path):
        check_name(source)
        if not _is_pipe(source):  # a device is not kept either: it may have no end
            yield source
            return
        with open_input(source) as file, _passed_on(file, str(source), is_raw) as place:
            yield place
    else:
        with _raising(_Pipe(source, str(getattr(source, "name", "stream")))) as pipe:
            yield pipe


def until_end(frames: Iterator[Frame], place: Source) -> Iterator[Frame]:
    """The frames of a clip opened from `place`; raises where the source was not at its end, but reading it failed."""
    yield from frames
    if isinstance(place, _Pipe):
        place.check_end()


def _is_pipe(path: str | Path) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class _Pipe(io.RawIOBase):
    """Passes a stream on. PyAV loses exceptions raised in here, interruptions too: the end comes, and they are kept.

    Attributes:
        failure: the first exception.
    """

    def __init__(self, stream: BinaryIO, name: str, head: bytes = b"") -> None:
        self._stream, self._head = stream, head
        self.name = name
        self.failure: BaseException | None = None
        self._is_at_end = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        guarded = False
        try:
            guarded = True  # noqa: F841  # see `end_with`
            self.failure = self.failure or kept()
            head, self._head = self._head, b""
            data = b"" if self.failure else head or self._stream.read(size)
            self._is_at_end = not data
            return data
        except OSError as error:
            self.failure = InputError(f"{self.name}: cannot be read: {error.strerror or error}")
        except BaseException as error:
            self.failure = error
        return b""

    def check_end(self) -> None:
        """Raise what was kept, or an InputError where FFmpeg stopped before the end was seen."""
        if failure := self.failure or kept():
            raise failure
        if not self._is_at_end:
            raise InputError(f"{self.name}: reading it was interrupted")


@contextmanager
def _raising(pipe: _Pipe) -> Iterator[BinaryIO]:
    """Put what was kept before what came of it."""
    try:
        yield cast(BinaryIO, pipe)
    except Exception:
        if pipe.failure:
            raise pipe.failure from None
        raise


@contextmanager
def _passed_on(file: BinaryIO, name: str, is_raw: bool) -> Iterator[Source]:
    head = b"" if is_raw else file.read(len(_Y4M))
    if is_raw or head == _Y4M:
        with _raising(_Pipe(file, name, head)) as pipe:
            yield pipe
        return
    with tempfile.TemporaryFile() as kept:
        with named_errors(f"{name}: its copy in {tempfile.gettempdir()}"):
            kept.write(head)
            shutil.copyfileobj(file, kept)
            kept.flush()
        place = f"/proc/self/fd/{kept.fileno()}"
        with _renamed_errors(place, name):
            yield place


@contextmanager
def _renamed_errors(place: str, name: str) -> Iterator[None]:
    try:
        yield
    except ImfError as error:
        error.args = (str(error).replace(place, name),)
        raise
