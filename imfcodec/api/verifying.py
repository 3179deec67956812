"""A stream that is decoded while it is written, and compared with what its encoder meant."""

from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np

from imfcodec.api.decoder import Decoder
from imfcodec.api.model import Model
from imfcodec.errors import ImfError, OutputError
from imfcodec.frames import Frame
from imfcodec.limits import Limits

TOLERANCE = 1  # of 255, where a device does not round alike from run to run


class VerifiedSink:
    """A sink that decodes each packet as soon as it is written, from its bytes alone.

    Give `expect` to the encoder, write the stream to this, then call `finish`.

    Args:
        sink: where the bytes go.
        model: as for encoding.
    """

    def __init__(self, sink: BinaryIO, model: Model, limits: Limits) -> None:
        self._sink, self._model, self._limits = sink, model, limits
        self._loop = _Loop()
        self._expected: deque[Frame | None] = deque()
        self._frames: Iterator[Frame] | None = None

    def expect(self, frames: list[Frame]) -> None:
        """Take the frames that the next packet of frames is to decode to."""
        self._expected.extend(frames)

    def pass_over(self, count: int) -> None:
        """Take anything for the next frames, of a packet that was encoded earlier."""
        self._expected.extend([None] * count)

    def write(self, data: bytes) -> int:
        """Pass bytes on, and keep those that went through until they are decoded."""
        written = self._sink.write(data)
        self._loop.add(data[:written])
        return written

    def flush(self) -> None:
        """Pass on, and decode the packet that is complete now.

        Raises:
            OutputError: it does not decode, or to something else.
        """
        self._sink.flush()
        while self._expected:
            wanted = self._expected.popleft()
            frame = self._next()
            if wanted and not _is_same(frame, wanted):
                raise _failure(f"the frame at tick {wanted.pts} decodes to something else than was encoded")

    def finish(self) -> None:
        """Check the end of the stream."""
        if self._next() is not None:
            raise _failure("more frames decode than were encoded")

    def _next(self) -> Frame | None:
        try:
            if self._frames is None:
                loop = cast(BinaryIO, self._loop)
                self._frames = Decoder(loop, model=self._model, native=True, limits=self._limits)
            return next(self._frames, None)
        except ImfError as error:
            raise _failure(str(error)) from error


class _Loop:
    """Bytes that are read as they were written."""

    name = "what was written"

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        self._bytes += data

    def read(self, size: int) -> bytes:
        data = bytes(self._bytes[:size])
        del self._bytes[:size]
        return data


def _is_same(frame: Frame | None, wanted: Frame) -> bool:
    if frame is None or frame.pts != wanted.pts:
        return False
    pairs = ((frame.y, wanted.y), (frame.u, wanted.u), (frame.v, wanted.v))
    return all(np.abs(one.astype(np.int16) - other).max() <= TOLERANCE for one, other in pairs)


def _failure(reason: str) -> OutputError:
    return OutputError(
        f"verification failed, nothing is kept: {reason}; try another --device or --dtype, and report this"
    )
