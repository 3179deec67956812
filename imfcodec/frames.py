"""Pixels, time stamps and colour: what every floor above speaks of when it says "video"."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from imfcodec.errors import LimitError

MIN_SIDE = 16
MAX_WIDTH = 4096
MAX_HEIGHT = 2304

Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Colour:
    """Colour description in the code points of ITU-T H.273; 2 means "unspecified".

    Attributes:
        primaries, transfer, matrix: H.273 code points, 0..255.
        full_range: True for 0..255 luma, False for 16..235.
    """

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    full_range: bool = False


@dataclass(frozen=True)
class VideoFormat:
    """Everything about a video that is not pixels.

    Attributes:
        width, height: luma size in pixels, as stored (before rotation).
        frame_rate: nominal frames per second.
        time_base: seconds per tick of `Frame.pts`.
        sample_aspect: width / height of one pixel.
        rotation: clockwise degrees to turn the picture for display: 0, 90, 180 or 270.
        colour: how the samples are to be understood.
    """

    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    sample_aspect: Fraction = Fraction(1)
    rotation: int = 0
    colour: Colour = field(default_factory=Colour)

    def check_limits(self, option: str = "") -> None:
        """Raise LimitError unless the size lies within 16x16 to 4096x2304 (either orientation).

        Args:
            option: what the user gave that made the frames this size; empty if they came so.
        """
        size, (short, long) = f"{self.width}x{self.height}", sorted((self.width, self.height))
        if short >= MIN_SIDE and short <= MAX_HEIGHT and long <= MAX_WIDTH:
            return
        if option:
            bound = f"least is {MIN_SIDE}x{MIN_SIDE}" if short < MIN_SIDE else f"most is {MAX_WIDTH}x{MAX_HEIGHT}"
            raise LimitError(f"{option} makes frames of {size}; the {bound}")
        raise LimitError(
            f"frame size {size} is outside {MIN_SIDE}x{MIN_SIDE} to {MAX_WIDTH}x{MAX_HEIGHT}; scale the video first"
        )


@dataclass(frozen=True)
class Frame:
    """One 8-bit 4:2:0 picture.

    Attributes:
        y: uint8 [H, W] luma.
        u, v: uint8 [ceil(H / 2), ceil(W / 2)] chroma.
        pts: presentation time in ticks of the format's time base; strictly increasing within a video.
        concealed: made up for a lost frame of a stream, or predicted from one.
        weight: how much each place counts to an encoder, uint8 [h, w] of any size, laid over the picture; None is 255
            everywhere. A decoder gives none.
    """

    y: Plane
    u: Plane
    v: Plane
    pts: int
    concealed: bool = False
    weight: Plane | None = None


@dataclass(frozen=True)
class AudioTrack:
    """Description of one audio track; its packets travel beside the frames.

    Attributes:
        codec: FFmpeg codec name, e.g. "aac" or "opus".
        sample_rate: samples per second.
        channels: number of channels.
        time_base: seconds per tick of the packets' time stamps.
        extradata: codec private data.
    """

    codec: str
    sample_rate: int
    channels: int
    time_base: Fraction
    extradata: bytes = b""


@dataclass(frozen=True)
class AudioPacket:
    """One compressed audio packet: pts and duration in ticks of the track's time base."""

    pts: int
    duration: int
    data: bytes


@dataclass(frozen=True)
class Clip:
    """A video as it streams past: its format and one-shot iterators over frames and audio packets.

    Attributes:
        variable_rate: whether frames are shown at times of their own; otherwise they are evenly spaced.
        last_duration: ticks the last frame is shown, None for one frame.
        frame_count_hint: number of frames, for those who report progress; None where it is not known.
    """

    format: VideoFormat
    frames: Iterator[Frame]
    audio: AudioTrack | None = None
    audio_packets: Iterator[AudioPacket] = field(default_factory=lambda: iter(()))
    variable_rate: bool = False
    last_duration: int | None = None
    frame_count_hint: int | None = None
