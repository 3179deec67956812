"""What a source may ask for at most. Sizes are checked before memory is taken for them, frames as they come."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from imfcodec.errors import LimitError
from imfcodec.frames import MAX_HEIGHT, MAX_WIDTH, VideoFormat

Item = TypeVar("Item")

# Coding takes so much at most (benchmarks/results/v0.2/speed.md): torch and the model, and so much for each pixel.
BASE_BYTES = 800 << 20
_BYTES_PER_PIXEL = 450
_REFINING_BYTES_PER_PIXEL = 1600  # with what a descent through the decoder keeps for its way back


@dataclass(frozen=True)
class Limits:
    """Limits of one job.

    Attributes:
        max_pixels: width times height of a frame.
        max_frames: frames of a video; the default is three days at 60 a second.
        max_memory: bytes coding may take, estimated from the frame size.
    """

    max_pixels: int = MAX_WIDTH * MAX_HEIGHT
    max_frames: int = 1 << 24
    max_memory: int = 8 << 30

    def check_format(self, video: VideoFormat) -> None:
        """Raise LimitError unless the frames are of a size that can be coded and is allowed."""
        video.check_limits()
        size = video.width * video.height
        if size > self.max_pixels:
            raise LimitError(f"frames of {video.width}x{video.height} are above the limit of {self.max_pixels} pixels")

    def check_memory(self, video: VideoFormat, *, refining: bool = False) -> None:
        """Raise LimitError where coding frames of this size takes more memory than allowed; `refining` takes more."""
        each = _REFINING_BYTES_PER_PIXEL if refining else _BYTES_PER_PIXEL
        needed = BASE_BYTES + each * video.width * video.height
        if needed > self.max_memory:
            raise LimitError(
                f"frames of {video.width}x{video.height} take up to {needed >> 20} MiB to code, above the limit of "
                f"{self.max_memory >> 20} MiB"
            )

    def check_count(self, frames: int) -> None:
        """Raise LimitError where a video has more frames than allowed."""
        if frames > self.max_frames:
            raise LimitError(f"the video has more frames than the limit of {self.max_frames}")

    def counted(self, frames: Iterable[Item]) -> Iterator[Item]:
        """The frames as they come; LimitError at the first one too many."""
        for count, frame in enumerate(frames, start=1):
            self.check_count(count)
            yield frame


DEFAULT_LIMITS = Limits()
