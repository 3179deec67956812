"""Frames that come only once, kept so that they can be gone over again."""

import itertools
import tempfile
from collections.abc import Iterator
from types import TracebackType

import numpy as np

from imfcodec.files import named_errors
from imfcodec.frames import Frame, Plane

MEMORY_BYTES = 256 << 20  # beyond this, frames go to a temporary file


class Spool:
    """A video that is read once, as far as it is needed, and can be iterated again and again; a context manager.

    Args:
        frames: of one size.
    """

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115  # until `close`
        self._pts: list[int] = []
        self._shapes: list[tuple[int, ...]] = []

    def __iter__(self) -> Iterator[Frame]:
        for index in itertools.count():
            if index == len(self._pts) and not self._keep():
                return
            yield self._read(index)

    def drain(self) -> Iterator[Frame]:
        """Iterate for the last time: what is not kept yet is only passed on."""
        for index in range(len(self._pts)):
            yield self._read(index)
        yield from self._frames

    def _keep(self) -> bool:
        """Take one more frame; whether there is one."""
        frame = next(self._frames, None)
        if frame is None:
            return False
        planes = (frame.y, frame.u, frame.v)
        self._shapes = [plane.shape for plane in planes]
        with named_errors(f"a copy of the source in {tempfile.gettempdir()}"):
            self._file.seek(len(self._pts) * self._frame_bytes)
            self._file.write(b"".join(plane.tobytes() for plane in planes))
        self._pts.append(frame.pts)
        return True

    def _read(self, index: int) -> Frame:
        with named_errors(f"a copy of the source in {tempfile.gettempdir()}"):
            self._file.seek(index * self._frame_bytes)
            y, u, v = (self._read_plane(shape) for shape in self._shapes)
        return Frame(y, u, v, self._pts[index])

    def _read_plane(self, shape: tuple[int, ...]) -> Plane:
        return np.frombuffer(self._file.read(int(np.prod(shape))), np.uint8).reshape(shape).copy()

    @property
    def _frame_bytes(self) -> int:
        return sum(int(np.prod(shape)) for shape in self._shapes)

    def close(self) -> None:
        """Let go of what is kept."""
        self._file.close()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
