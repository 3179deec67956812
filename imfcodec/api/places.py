"""Where streams are read from and written to: paths, and binary streams of the caller's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from imfcodec.files import named_errors, open_input, write_beside

Location = str | Path | BinaryIO


@contextmanager
def open_source(source: Location) -> Iterator[BinaryIO]:
    """Open a path for reading; a stream of the caller's stays open."""
    if not isinstance(source, str | Path):
        yield source
        return
    with open_input(source) as file:
        yield file


@contextmanager
def open_sink(target: Location, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a path for writing, complete or not at all; a stream of the caller's stays open."""
    if isinstance(target, str | Path):
        with write_beside(target, overwrite=overwrite) as file:
            yield file
    else:
        sink = _CallersStream(target)
        yield cast(BinaryIO, sink)
        sink.flush()


class _CallersStream:
    """A stream of the caller's whose failures are errors of ours."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._name = stream, str(getattr(stream, "name", "stream"))

    def write(self, data: bytes) -> int:
        with named_errors(self._name):
            return self._stream.write(data)

    def flush(self) -> None:
        with named_errors(self._name):
            self._stream.flush()
