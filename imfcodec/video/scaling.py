"""Change of size and of sample range, with FFmpeg's scaler."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
from av.video.reformatter import VideoReformatter

from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.planes import FULL_RANGE, LIMITED_RANGE, from_picture, to_picture

# As `scale=flags=bicubic+accurate_rnd` has it, and with lanczos.
_ACCURATE = 0x40000
_BICUBIC = 0x4 | _ACCURATE
_LANCZOS = 0x200 | _ACCURATE


def rescale(frames: Iterable[Frame], width: int, height: int) -> list[Frame]:
    """Scale pictures to width x height by bicubic interpolation, widened against aliasing where they shrink.

    Args:
        frames: pictures of one size.
        width, height: luma pixels, even.
    Returns:
        Frames with the time stamps of the given ones.
    """
    scaler = VideoReformatter()
    return [_rescale(scaler, frame, width, height, _BICUBIC) for frame in frames]


def resized(frames: Iterable[Frame], width: int, height: int) -> Iterator[Frame]:
    """Scale pictures as they come to width x height, by Lanczos interpolation; those of that size stay as they are.

    The way to a coded size and back. Down and up by 2, it keeps talking heads 1 dB better than bicubic interpolation.
    """
    scaler = VideoReformatter()
    for frame in frames:
        if frame.y.shape == (height, width):
            yield frame
        else:
            scaled = _rescale(scaler, frame, width, height, _LANCZOS)
            yield replace(scaled, concealed=frame.concealed, weight=frame.weight)


def upright(frame: Frame, video: VideoFormat) -> tuple[Frame, VideoFormat]:
    """A frame as it is meant to be seen: with square pixels, and turned as the format says."""
    turns = video.rotation // 90
    width = max(2, round(video.width * video.sample_aspect / 2) * 2)
    if video.sample_aspect != 1:
        height = -(-video.height // 2) * 2
        frame, video = rescale([frame], width, height)[0], replace(video, width=width, height=height)
    y, u, v = (np.ascontiguousarray(np.rot90(plane, -turns)) for plane in (frame.y, frame.u, frame.v))
    height, width = (video.height, video.width) if turns % 2 == 0 else (video.width, video.height)
    shown = replace(video, width=width, height=height, sample_aspect=Fraction(1), rotation=0)
    return Frame(y, u, v, frame.pts), shown


def limit_range(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Turn full-range samples (luma 0..255) into limited-range ones (16..235)."""
    scaler = VideoReformatter()
    for frame in frames:
        picture = to_picture(frame, frame.pts)
        limited = scaler.reformat(picture, src_color_range=FULL_RANGE, dst_color_range=LIMITED_RANGE)
        yield from_picture(limited, frame.pts)


def crop(frames: Iterable[Frame], width: int, height: int) -> Iterator[Frame]:
    """Keep the upper left width x height luma pixels of each frame, and the chroma that belongs to them."""
    across, down = -(-width // 2), -(-height // 2)
    for frame in frames:
        yield Frame(frame.y[:height, :width], frame.u[:down, :across], frame.v[:down, :across], frame.pts)


def _rescale(scaler: VideoReformatter, frame: Frame, width: int, height: int, interpolation: int) -> Frame:
    scaled = scaler.reformat(to_picture(frame, frame.pts), width, height, interpolation=interpolation)
    return from_picture(scaled, frame.pts)
