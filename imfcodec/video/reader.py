"""Read any video FFmpeg can read, as 8-bit 4:2:0 frames with exact time stamps.

- 8-bit 4:2:0 sources give their planes exactly as decoded. Everything else (10 bits, 4:2:2, 4:4:4, NV12) is
  converted within YCbCr: bits are rounded off and chroma is averaged, the matrix and the range stay. RGB sources
  become BT.709, limited range.
- Frames come as stored. Rotation is reported, not applied; mirroring is ignored.
- A constant frame rate is recognised behind rounded time stamps (see `timing`), which takes one pass over the
  packets when the file is opened. Frames stream: memory does not depend on the length.
- A pipe can carry Y4M, or raw video with a `RawSpec`, without sound.
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from imfcodec.errors import InputError, UsageError
from imfcodec.files import check_name
from imfcodec.frames import AudioPacket, AudioTrack, Colour, Frame, Plane, VideoFormat
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.audio import read_packets, track_of
from imfcodec.video.planes import FULL_RANGE, range_number, view_plane
from imfcodec.video.timing import RateMeter, Timing, unstamped
from imfcodec.video.truncation import CountingReader, matroska_ends_early, read_head, y4m_ends_early

_RAW_SUFFIXES = {".yuv", ".raw", ".rgb"}
# FFmpeg shows almost any file as text art; nobody means that by "video".
_TEXT_ART_FORMATS = {"tty", "bin", "xbin", "adf", "idf"}
_UNSTAMPED_FORMATS = {"yuv4mpegpipe", "rawvideo"}
_PLANAR_420 = {"yuv420p", "yuvj420p"}

# H.273 code point and swscale's number alike.
_BT709 = 1


@dataclass(frozen=True)
class RawSpec:
    """What a headerless video file does not say about itself.

    Attributes:
        width, height: luma size in pixels.
        frame_rate: frames per second.
        pixel_format: FFmpeg pixel format name.
    """

    width: int
    height: int
    frame_rate: Fraction
    pixel_format: str = "yuv420p"


def is_headerless(path: str | Path | BinaryIO) -> bool:
    """Whether a file's name says that it holds raw samples, which need a `RawSpec`."""
    return isinstance(path, str | Path) and Path(path).suffix.lower() in _RAW_SUFFIXES


def open_clip(
    path: str | Path | BinaryIO, *, raw: RawSpec | None = None, audio: bool = True, limits: Limits = DEFAULT_LIMITS
) -> "ClipReader":
    """Open a video file or a pipe for reading; use the result as a context manager.

    Args:
        path: a file, a numbered picture series such as "shots/%05d.png", or a binary stream that holds Y4M (raw
            video if `raw` is given) and need not be seekable.
        raw: size, rate and pixel format of headerless video.
        audio: False leaves the sound alone, whatever it is.
        limits: frames may have so many pixels, and there may be so many of them.
    Raises:
        UsageError: headerless video without `raw`.
        InputError: the file is missing, not a video, damaged, cut off or without a single frame.
        LimitError: the frame size is outside what can be coded, or above a limit.
    """
    return ClipReader(path, raw=raw, audio=audio, limits=limits)


class ClipReader:
    """One opened video.

    Attributes:
        format: size, rate, colour and so on of the frames.
        variable_rate: True if the frames are not evenly spaced.
        frame_count_hint: number of frames as the container tells it, None for a pipe.
        audio: the sound track, None where there is none or it was not asked for.
    """

    def __init__(
        self, path: str | Path | BinaryIO, *, raw: RawSpec | None, audio: bool, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._limits = limits
        self._source = _Source(path, raw, limits)
        self._containers: list[InputContainer] = []
        try:
            self._start(audio)
        except BaseException:
            self.close()
            raise

    def _start(self, want_audio: bool) -> None:
        container = self._open()
        stream = self._source.video_stream(container)
        self.audio: AudioTrack | None = None
        if want_audio and not self._source.is_stream and container.streams.audio:
            self.audio = track_of(container.streams.audio[0], self._source.name)
        self._timing = self._source.measure(container, stream)
        self.variable_rate = self._timing.variable
        self.frame_count_hint = self._timing.frame_count
        self._limits.check_format(_stored_format(stream, self._timing))
        pictures = self._source.decode(container, stream)
        first = next(pictures, None)
        if first is None:
            raise InputError(f"{self._source.name}: holds no video frames")
        self.format = _described_format(stream, self._timing, first)
        self._limits.check_format(self.format)
        self._pictures: Iterator[av.VideoFrame] | None = itertools.chain([first], pictures)

    def _open(self) -> InputContainer:
        container = self._source.open()
        self._containers.append(container)
        return container

    def frames(self) -> Iterator[Frame]:
        """Yield all frames in display order with strictly increasing time stamps.

        A file can be iterated again and again, a pipe once.

        Raises:
            InputError: the video is damaged or cut off.
            LimitError: there are more frames than allowed.
            UsageError: a pipe is iterated a second time.
        """
        previous: int | None = None
        for index, picture in enumerate(self._limits.counted(self._take_pictures())):
            pts = self._timing.place(picture.pts, index)
            if previous is not None and pts <= previous:
                pts = previous + 1
            previous = pts
            yield Frame(*_planes(picture, self.format), pts)

    def _take_pictures(self) -> Iterator[av.VideoFrame]:
        pictures, self._pictures = self._pictures, None
        if pictures is not None:
            return pictures
        if self._source.is_stream:
            raise UsageError(f"{self._source.name}: a pipe can be read only once")
        container = self._open()
        return self._source.decode(container, self._source.video_stream(container))

    def audio_packets(self) -> Iterator[AudioPacket]:
        """Yield the packets of the sound track, nothing where `audio` is None.

        Raises:
            InputError: the file is damaged or cut off.
        """
        if self.audio is None:
            return
        container = self._open()
        yield from read_packets(container, container.streams.audio[0], self._source.name)

    def close(self) -> None:
        """Close the file; a stream that was passed in stays open."""
        while self._containers:
            self._containers.pop().close()

    def __enter__(self) -> "ClipReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Source:
    """Where a video comes from, and how FFmpeg is to open it."""

    def __init__(self, path: str | Path | BinaryIO, raw: RawSpec | None, limits: Limits) -> None:
        self._limits = limits
        self.is_stream = not isinstance(path, str | Path)
        self.name = str(getattr(path, "name", "stream")) if self.is_stream else str(path)
        self._raw = raw
        # The prefix keeps FFmpeg from taking "a:b.mp4" for a network address.
        self._target = f"file:{path}" if isinstance(path, str | Path) else CountingReader(path)
        self._head, self._length = b"", 0
        if raw is not None:
            limits.check_format(VideoFormat(raw.width, raw.height, raw.frame_rate, Fraction(1)))
        if isinstance(path, str | Path):
            self._check_file(Path(path))

    def _check_file(self, path: Path) -> None:
        check_name(self.name)
        if os.path.isdir(path):
            raise InputError(f"{path}: is a folder; name a file, or a series such as {path}/%05d.png")
        if not os.path.exists(path) and "%" not in path.name:
            raise InputError(f"{path}: no such file")
        if self._raw is None and is_headerless(path):
            raise UsageError(f"{path}: headerless video needs its size, frame rate and pixel format")
        if os.path.exists(path):
            self._head, self._length = read_head(path), path.stat().st_size
        if matroska_ends_early(self._head, self._length):
            raise InputError(f"{path}: cut off, the file is shorter than it says; repair it first, or get it again")
        if self._raw is not None:
            self._check_raw_size(self._raw)

    def _check_raw_size(self, raw: RawSpec) -> None:
        frame_bytes = _raw_frame_bytes(raw)
        if frame_bytes and self._length % frame_bytes:
            raise InputError(
                f"{self.name}: {self._length} bytes are not a whole number of frames of {frame_bytes} bytes; "
                "check size and pixel format, or the file is cut off"
            )

    def open(self) -> InputContainer:
        try:
            container = av.open(self._target, "r", format=self._format_name(), options=self._options())
        except (av.error.FFmpegError, ValueError) as error:
            raise InputError(f"{self.name}: {self._complaint()} ({_reason(error)})") from error
        if container.format.name in _TEXT_ART_FORMATS:
            container.close()
            raise InputError(f"{self.name}: {self._complaint()}")
        return container

    def _complaint(self) -> str:
        if self._raw is not None:
            return "cannot be read as headerless video; check size, frame rate and pixel format"
        return "is not a Y4M stream" if self.is_stream else "is not a readable video"

    def _format_name(self) -> str | None:
        if self._raw is not None:
            return "rawvideo"
        return "yuv4mpegpipe" if self.is_stream else None

    def _options(self) -> dict[str, str]:
        if self._raw is None:
            return {}
        return {
            "video_size": f"{self._raw.width}x{self._raw.height}",
            "framerate": str(self._raw.frame_rate),
            "pixel_format": self._raw.pixel_format,
        }

    def video_stream(self, container: InputContainer) -> VideoStream:
        moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not moving:
            raise InputError(f"{self.name}: holds no video track")
        stream = moving[0]
        if stream.codec_context is None:
            raise InputError(f"{self.name}: there is no decoder for its video; convert it first")
        stream.thread_type = "AUTO"
        # FFmpeg would otherwise allocate whatever size a hostile stream claims half-way.
        stream.codec_context.options = {"max_pixels": str(self._limits.max_pixels)}
        return stream

    def measure(self, container: InputContainer, stream: VideoStream) -> Timing:
        rates = _claimed_rates(stream)
        if container.format.name in _UNSTAMPED_FORMATS:
            return unstamped(rates[0], None if self.is_stream else stream.duration)
        meter = RateMeter(_fraction(stream.time_base) or Fraction(1, 1000), rates)
        with self.open() as scan:
            for pts in self._packet_stamps(scan, stream.index):
                meter.add(pts)
        return meter.timing()

    def _packet_stamps(self, container: InputContainer, stream_index: int) -> Iterator[int | None]:
        count = 0
        try:
            for packet in container.demux(container.streams[stream_index]):
                if packet.is_corrupt:
                    raise self._cut_off(count)
                if packet.size and not packet.is_discard:
                    count += 1
                    yield packet.pts
        except av.error.FFmpegError as error:
            raise self._cut_off(count) from error

    def _cut_off(self, count: int) -> InputError:
        return InputError(f"{self.name}: damaged or cut off after {count} frames; repair it first, or get it again")

    def decode(self, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        count = frame_bytes = 0
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    raise self._cut_off(count)
                frame_bytes = packet.size or frame_bytes
                for picture in packet.decode():
                    count += 1
                    yield picture
        except av.error.FFmpegError as error:
            raise self._cut_off(count) from error
        if container.format.name == "yuv4mpegpipe" and self._y4m_ends_early(count, frame_bytes):
            raise self._cut_off(count)

    def _y4m_ends_early(self, count: int, frame_bytes: int) -> bool:
        if isinstance(self._target, CountingReader):
            return y4m_ends_early(self._target.head, self._target.length, count, frame_bytes)
        return y4m_ends_early(self._head, self._length, count, frame_bytes)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _raw_frame_bytes(raw: RawSpec) -> int | None:
    """Return the bytes of one headerless frame, None where only FFmpeg knows them."""
    chroma = -(-raw.width // 2) * -(-raw.height // 2)
    samples = {"yuv420p": raw.width * raw.height + 2 * chroma}
    samples["yuv420p10le"] = 2 * samples["yuv420p"]
    return samples.get(raw.pixel_format)


def _fraction(value: object) -> Fraction | None:
    """Return PyAV's rational (a Fraction or its own type, by version) as a Fraction, None for an unset one."""
    if not value:
        return None
    return Fraction(value.numerator, value.denominator)  # type: ignore[attr-defined]


def _claimed_rates(stream: VideoStream) -> list[Fraction]:
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return [rate for rate in map(_fraction, rates) if rate] or [Fraction(25)]


def _stored_format(stream: VideoStream, timing: Timing) -> VideoFormat:
    """Return the format as far as it is known before anything is decoded."""
    return VideoFormat(stream.codec_context.width, stream.codec_context.height, timing.frame_rate, timing.time_base)


def _described_format(stream: VideoStream, timing: Timing, first: av.VideoFrame) -> VideoFormat:
    return VideoFormat(
        width=first.width,
        height=first.height,
        frame_rate=timing.frame_rate,
        time_base=timing.time_base,
        sample_aspect=_fraction(stream.sample_aspect_ratio) or Fraction(1),
        # FFmpeg turns counter-clockwise.
        rotation=round(-first.rotation / 90) * 90 % 360,
        colour=_colour(stream, first),
    )


def _colour(stream: VideoStream, first: av.VideoFrame) -> Colour:
    context = stream.codec_context
    if _is_rgb(first):
        return Colour(context.color_primaries, context.color_trc, _BT709, False)
    full = context.color_range == FULL_RANGE or first.format.name.startswith("yuvj")
    return Colour(context.color_primaries, context.color_trc, context.colorspace, full)


def _is_rgb(picture: av.VideoFrame) -> bool:
    return picture.format.is_rgb or picture.format.has_palette


def _planes(picture: av.VideoFrame, video: VideoFormat) -> tuple[Plane, Plane, Plane]:
    """Return the picture as Y [H, W], U and V [ceil(H/2), ceil(W/2)] of its own memory."""
    if picture.format.name.startswith("gray"):
        return _grey_planes(picture, video)
    if picture.format.name not in _PLANAR_420 or (picture.width, picture.height) != (video.width, video.height):
        picture = _to_planar_420(picture, video)
    y, u, v = (view_plane(plane).copy() for plane in picture.planes)
    return y, u, v


def _grey_planes(picture: av.VideoFrame, video: VideoFormat) -> tuple[Plane, Plane, Plane]:
    # FFmpeg takes grey for full range whatever it is tagged, so only the depth may be left to it.
    grey = picture.reformat(width=video.width, height=video.height, format="gray")
    chroma = np.full((-(-video.height // 2), -(-video.width // 2)), 128, np.uint8)
    return view_plane(grey.planes[0]).copy(), chroma, chroma.copy()


def _to_planar_420(picture: av.VideoFrame, video: VideoFormat) -> av.VideoFrame:
    target_range = range_number(video)
    rgb = _is_rgb(picture)
    return picture.reformat(
        width=video.width,
        height=video.height,
        format="yuvj420p" if video.colour.full_range else "yuv420p",
        # Naming one matrix on both sides keeps YCbCr as it is; it matters only where RGB is turned into YCbCr.
        src_colorspace=_BT709,
        dst_colorspace=_BT709,
        src_color_range=FULL_RANGE if rgb else target_range,
        dst_color_range=target_range,
    )
