"""What a decoder will show, measured while a stream is being made."""

from collections import deque
from collections.abc import Iterable, Iterator

from imfcodec.frames import Frame
from imfcodec.video.likeness import LikenessMeter
from imfcodec.video.scaling import resized


class Monitor:
    """Compares frames as a decoder will show them with their originals.

    Args:
        meter: for pictures of the size of the originals.
    """

    def __init__(self, meter: LikenessMeter) -> None:
        self._meter = meter
        self._originals: deque[Frame] = deque()

    def originals(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Pass the frames of the source on."""
        for frame in frames:
            self._originals.append(frame)
            yield frame

    def show(self, frames: Iterable[Frame]) -> None:
        """Take the next frames as they come out of the decoder, of the coded size."""
        for frame in frames:
            original = self._originals.popleft()
            height, width = original.y.shape
            (shown,) = resized([frame], width, height)
            self._meter.add(original, shown)
