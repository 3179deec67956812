"""A stretch of a clip, cropped, scaled and at another rate, by FFmpeg's filters."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

import av

from imfcodec.errors import UsageError
from imfcodec.frames import AudioPacket, Frame, VideoFormat
from imfcodec.video.planes import from_picture, to_picture
from imfcodec.video.reader import ClipReader

_SCALER = "flags=bicubic+accurate_rnd"
_PIXELS = av.VideoFormat("yuv420p")
_MAX_ASPECT_TERM = 1 << 16


@dataclass(frozen=True)
class Edits:
    """What is taken of a clip and what is made of it, in this order.

    Attributes:
        start: seconds; frames shown earlier are left out, and the first one left is shown at 0.
        end: seconds, on the clock of the source; frames shown then or later are left out. None is the end of the clip.
        crop: width, height, x and y of the part to keep, in luma pixels as stored; odd ones are rounded down.
        scale: width and height in luma pixels; -2 for one of them keeps the shape of the picture, even.
        fps: frames per second: frames are repeated or left out.
    Raises:
        UsageError: a value out of range.
    """

    start: Fraction = Fraction(0)
    end: Fraction | None = None
    crop: tuple[int, int, int, int] | None = None
    scale: tuple[int, int] | None = None
    fps: Fraction | None = None

    def __post_init__(self) -> None:
        if self.start < 0:
            raise UsageError(f"a start at {float(self.start):g} seconds lies before the clip; give 0 or more")
        if self.end is not None and self.end <= self.start:
            raise UsageError(
                f"a part from {float(self.start):g} to {float(self.end):g} seconds is empty; let it end later"
            )
        if self.crop and (min(self.crop[:2]) < 2 or min(self.crop[2:]) < 0):
            raise UsageError(f"a crop of {_size(self.crop)} at {self.crop[2]},{self.crop[3]} holds no pixels")
        if self.scale and (max(self.scale) < 1 or any(side < 1 and side != -2 for side in self.scale)):
            raise UsageError(f"a size of {_size(self.scale)} is none; give pixels, or -2 for one side")
        if self.fps is not None and self.fps <= 0:
            raise UsageError(f"{self.fps} frames a second are too few; give more than 0")


class EditedClip:
    """A clip with edits made: attributes and methods as those of `ClipReader`.

    Args:
        frames: gives those of the clip, from its start; a pipe gives them once.
    Raises:
        UsageError: nothing is left of the clip, or the crop lies outside its frames.
        Errors of `ClipReader.frames`.
    """

    def __init__(self, clip: ClipReader, frames: Callable[[], Iterator[Frame]], edits: Edits) -> None:
        self._clip, self._source, self._edits = clip, frames, edits
        self.audio = clip.audio
        self.sound_changes = clip.sound_changes
        self.variable_rate = clip.variable_rate and edits.fps is None
        self._offset = Fraction(0)
        self._first_pass: Iterator[Frame] | None
        self.format, self._first_pass = self._open()

    def frames(self) -> Iterator[Frame]:
        """The frames, as often as the source gives them."""
        frames, self._first_pass = self._first_pass or self._open()[1], None
        return frames

    def _open(self) -> tuple[VideoFormat, Iterator[Frame]]:
        self._next_pts: int | None = None
        kept = self._stretch(self._source())
        first = next(kept, None)
        if first is None:
            raise UsageError(f"the source has ended before {float(self._edits.start):g} seconds; start earlier")
        ticks = first.pts if self._edits.start else 0
        self._offset = ticks * self._clip.format.time_base
        stretch = _moved(itertools.chain((first,), kept), -ticks)
        if self._edits.crop or self._edits.scale or self._edits.fps:
            return self._filtered(stretch)
        return self._clip.format, stretch

    @property
    def last_duration(self) -> int | None:
        """Ticks the last frame is shown, known after it; None stands for one frame."""
        return None if self._edits.fps else self._last_duration

    @property
    def frame_count_hint(self) -> int | None:
        """About how many frames there are, None where that is not known."""
        whole, rate = self._clip.frame_count_hint, self._clip.format.frame_rate
        end = self._edits.end if whole is None else min(whole / rate, self._edits.end or whole / rate)
        return None if end is None else max(1, round((end - self._offset) * self.format.frame_rate))

    def audio_packets(self) -> Iterator[AudioPacket]:
        """The packets of the sound track that start within the stretch."""
        if self.audio is None:
            return
        shift = round(self._offset / self.audio.time_base)
        for packet in self._clip.audio_packets():
            if self._is_within(packet.pts * self.audio.time_base):
                yield replace(packet, pts=packet.pts - shift)

    def decoded_audio(self) -> Iterator[av.AudioFrame]:
        """The sound track decoded, those pieces that start within the stretch."""
        for piece in self._clip.decoded_audio():
            if piece.pts is None or piece.time_base is None:
                yield piece
            elif self._is_within(piece.pts * piece.time_base):
                piece.pts -= round(self._offset / piece.time_base)
                yield piece

    @property
    def _last_duration(self) -> int | None:
        if self._next_pts is None:
            return self._clip.last_duration
        return self._next_pts - self._last_pts if self._clip.variable_rate else None

    def _is_within(self, seconds: Fraction) -> bool:
        is_late_enough = not self._edits.start or self._offset <= seconds
        return is_late_enough and (self._edits.end is None or seconds < self._edits.end)

    def _stretch(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        base, end = self._clip.format.time_base, self._edits.end
        start_pts, end_pts = ceil(self._edits.start / base), None if end is None else ceil(end / base)
        for frame in frames:
            if end_pts is not None and frame.pts >= end_pts:
                self._next_pts = frame.pts
                return
            if frame.pts >= start_pts:
                self._last_pts = frame.pts
                yield frame

    def _filtered(self, frames: Iterator[Frame]) -> tuple[VideoFormat, Iterator[Frame]]:
        """Format and frames after FFmpeg's filters."""
        given = self._clip.format
        pictures = self._pictures(frames, _make_graph(given, self._edits))
        first = next(pictures, None)
        if first is None:  # shown for less than half of what one frame would be
            raise UsageError(f"at --fps {self._edits.fps} no frame is left of so short a video; give a higher rate")
        video = _filtered_format(given, self._edits, first.width, first.height)
        timed = (
            (picture, round(_seconds(picture) / video.time_base)) for picture in itertools.chain((first,), pictures)
        )
        return video, (from_picture(picture, pts) for picture, pts in timed)

    def _pictures(self, frames: Iterator[Frame], graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
        base = self._clip.format.time_base
        nominal = max(1, round(1 / (self._clip.format.frame_rate * base)))
        for frame, after in itertools.pairwise(itertools.chain(frames, (None,))):
            assert frame is not None, "None comes last"
            picture = to_picture(frame, frame.pts)
            picture.time_base = base
            picture.duration = after.pts - frame.pts if after else self._last_duration or nominal
            yield from _push(graph, picture)
        yield from _push(graph, None)


def _moved(frames: Iterable[Frame], ticks: int) -> Iterator[Frame]:
    """Frames at other times."""
    for frame in frames:
        yield replace(frame, pts=frame.pts + ticks)


def _make_graph(video: VideoFormat, edits: Edits) -> av.filter.Graph:
    if edits.crop and not _fits(edits.crop, video):
        width, height, x, y = edits.crop
        raise UsageError(f"a crop of {width}x{height}+{x}+{y} lies outside frames of {video.width}x{video.height}")
    _check_size(video, edits)
    graph = av.filter.Graph()
    nodes = [
        graph.add_buffer(width=video.width, height=video.height, format=_PIXELS, time_base=video.time_base),
        *([graph.add("crop", ":".join(map(str, edits.crop)))] if edits.crop else ()),
        *([graph.add("scale", f"{edits.scale[0]}:{edits.scale[1]}:{_SCALER}")] if edits.scale else ()),
        *([graph.add("fps", str(edits.fps))] if edits.fps else ()),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph


def _push(graph: av.filter.Graph, picture: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
    """Give a graph the next picture, None at the end, and take those that are ready."""
    graph.vpush(picture)
    with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            yield graph.vpull()


def _fits(crop: tuple[int, int, int, int], video: VideoFormat) -> bool:
    width, height, x, y = crop
    return x + width <= video.width and y + height <= video.height


def _check_size(video: VideoFormat, edits: Edits) -> None:
    """Raise LimitError where frames would get a size that is not coded, before memory is taken for one."""
    width, height = _even(edits.crop[:2]) if edits.crop else (video.width, video.height)
    if edits.scale:
        shape = Fraction(*(edits.crop[:2] if edits.crop else (video.width, video.height)))
        width, height = edits.scale
        width, height = (
            2 * round(height * shape / 2) if width == -2 else width,
            2 * round(width / shape / 2) if height == -2 else height,
        )
    option = "--scale" if edits.scale else "--crop" if edits.crop else ""
    replace(video, width=width, height=height).check_limits(option)


def _even(sides: tuple[int, int]) -> tuple[int, int]:
    return sides[0] // 2 * 2, sides[1] // 2 * 2


def _filtered_format(video: VideoFormat, edits: Edits, width: int, height: int) -> VideoFormat:
    """The format of frames of this size after the edits; pixels change their shape as the picture does."""
    kept_width, kept_height = _even(edits.crop[:2]) if edits.crop else (video.width, video.height)
    stretch = Fraction(kept_width * height, kept_height * width) if edits.scale else Fraction(1)
    aspect = (video.sample_aspect * stretch).limit_denominator(_MAX_ASPECT_TERM)
    rated = replace(video, frame_rate=edits.fps, time_base=1 / edits.fps) if edits.fps else video
    return replace(rated, width=width, height=height, sample_aspect=aspect)


def _seconds(picture: av.VideoFrame) -> Fraction:
    assert picture.pts is not None and picture.time_base is not None, "filters keep the clock"
    return picture.pts * Fraction(picture.time_base.numerator, picture.time_base.denominator)


def _size(sides: tuple[int, ...]) -> str:
    return f"{sides[0]}x{sides[1]}"
