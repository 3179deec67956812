"""Change of size, with FFmpeg's scaler."""

from collections.abc import Iterable

from av.video.reformatter import VideoReformatter

from imfcodec.frames import Frame
from imfcodec.video.planes import from_picture, to_picture

# Bicubic with accurate rounding, as `scale=flags=bicubic+accurate_rnd` has it.
_BICUBIC = 0x4 | 0x40000


def rescale(frames: Iterable[Frame], width: int, height: int) -> list[Frame]:
    """Scale pictures to width x height by bicubic interpolation, widened against aliasing where they shrink.

    Args:
        frames: pictures of one size.
        width, height: luma pixels, even.
    Returns:
        Frames with the time stamps of the given ones.
    """
    scaler = VideoReformatter()
    return [_rescale(scaler, frame, width, height) for frame in frames]


def _rescale(scaler: VideoReformatter, frame: Frame, width: int, height: int) -> Frame:
    scaled = scaler.reformat(to_picture(frame, frame.pts), width, height, interpolation=_BICUBIC)
    return from_picture(scaled, frame.pts)
