"""Write frames and sound to a file; the kind of file follows from the name.

| target | video | sound |
|---|---|---|
| `.mp4` | H.264, visually lossless (CRF 10); an odd size is padded to even by repeating the edge | copied |
| `.mkv` | FFV1, lossless; time stamps in milliseconds | copied |
| `.y4m`, binary stream | the exact frames, evenly spaced | none |
| folder, `%05d.png` | one 8-bit RGB picture a frame, numbered from 1 | none |

Pixels are always written as stored. MP4 and MKV carry the rotation for the player to apply; Y4M and PNG do not, so
that pictures line up with the coded ones. Files are written beside the target and renamed when complete: a failure
leaves nothing behind.
"""

import contextlib
import os
import re
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags as CodecFlags
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from imfcodec.errors import ImfError, InputError, UsageError
from imfcodec.frames import AudioPacket, AudioTrack, Frame, Plane, VideoFormat
from imfcodec.video.audio import PcmFiller, add_copied_stream, make_packet
from imfcodec.video.matroska import set_display_aspect
from imfcodec.video.planes import FULL_RANGE, range_number, view_plane

_CONTAINERS = {
    ".mp4": ("mp4", "libx264", {"crf": "10", "preset": "medium"}),
    ".mkv": ("matroska", "ffv1", {"level": "3"}),
}
SOUND_SUFFIXES = frozenset(_CONTAINERS)
_DEFAULT_PNG_NAME = "%05d.png"
_PNG_NUMBER = re.compile(r"%0?(\d*)d")

_MAX_ASPECT_TERM = 1 << 16

# H.273 code points of the matrices swscale can apply.
_KNOWN_MATRICES = {1, 4, 5, 6, 7, 9, 10}
_BT709, _BT601 = 1, 6
# The same coefficients under two codes.
_BT601_ALIKE = {5, 6}
UNSPECIFIED = 2
# What players assume where nothing is said: BT.709 from this height on, BT.601 below.
_HD_HEIGHT = 720
# Bicubic, full horizontal chroma, accurate rounding.
_SWS_FLAGS = 0x4 | 0x2000 | 0x40000


def open_writer(
    path: str | Path | BinaryIO,
    format: VideoFormat,
    *,
    audio: AudioTrack | None = None,
    overwrite: bool = False,
) -> "ClipWriter":
    """Open a target for writing; use the result as a context manager.

    Args:
        path: `.mp4`, `.mkv` or `.y4m` file, a folder (existing, or with a trailing slash) or "%05d.png" pattern for
            pictures, or a binary stream for Y4M.
        format: format of the frames to come.
        audio: sound track whose packets will come; left out where the target holds no sound.
        overwrite: replace what is there.
    Raises:
        UsageError: unknown kind of target, it exists, its folder does not, or it cannot hold this sound.
    """
    if not isinstance(path, str | Path):
        return _Y4mWriter(_StreamSink(path), format)
    target = Path(path)
    if _is_series(path):
        return _PngWriter(target, format, overwrite)
    if target.suffix.lower() not in {*_CONTAINERS, ".y4m"}:
        raise UsageError(f"{path}: unknown kind of target; use .mp4, .mkv, .y4m, a folder/ or a %05d.png pattern")
    sink = _FileSink(target, overwrite)
    if target.suffix.lower() == ".y4m":
        return _Y4mWriter(sink, format)
    return _ContainerWriter(sink, format, audio)


def _is_series(path: str | Path) -> bool:
    if str(path).endswith(("/", os.sep)):
        return True
    return Path(path).is_dir() if not Path(path).suffix else bool(re.search(r"%\d*d.*\.png$", Path(path).name, re.I))


class ClipWriter(ABC):
    """One target being written. Leaving the context closes it, or aborts it after an exception.

    Attributes:
        holds_audio: whether `write_audio` has an effect.
        holds_times: whether the target says when each frame is shown.
        last_duration: ticks the last frame is shown, to be set before `close`; None stands for one frame.
    """

    holds_audio = False
    holds_times = False
    last_duration: int | None = None

    def __init__(self, name: str, format: VideoFormat) -> None:
        self._name = name
        self._format = format
        self._frame_count = 0
        self._done = False

    def write(self, frame: Frame) -> None:
        """Write the next frame in display order.

        Raises:
            UsageError: the planes do not have the size of the format.
            ImfError: the target cannot be written.
        """
        self._check_shape(frame)
        with _named_errors(self._name):
            self._write(frame)
        self._frame_count += 1

    def write_audio(self, packet: AudioPacket) -> None:
        """Write one packet of the sound track, roughly in time with the frames; dropped without `holds_audio`.

        Raises:
            UsageError: the target holds sound, but no track was announced.
            ImfError: the target cannot be written.
        """
        return

    def close(self) -> None:
        """Complete the target and give it its name.

        Raises:
            InputError: no frame was written.
            ImfError: the target cannot be written.
        """
        if self._done:
            return
        try:
            if not self._frame_count:
                raise InputError(f"{self._name}: nothing to write, there are no frames")
            with _named_errors(self._name):
                self._finish()
        except BaseException:
            self.abort()
            raise
        self._done = True

    def abort(self) -> None:
        """Give up and remove what was written so far. Has no effect after `close`."""
        if not self._done:
            self._done = True
            self._discard()

    @abstractmethod
    def _write(self, frame: Frame) -> None: ...

    @abstractmethod
    def _finish(self) -> None: ...

    @abstractmethod
    def _discard(self) -> None: ...

    def _check_shape(self, frame: Frame) -> None:
        width, height = self._format.width, self._format.height
        chroma = (-(-height // 2), -(-width // 2))
        if frame.y.shape != (height, width) or frame.u.shape != chroma or frame.v.shape != chroma:
            raise UsageError(f"{self._name}: frame {self._frame_count} is not {width}x{height} in 4:2:0")

    def __enter__(self) -> "ClipWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


@contextlib.contextmanager
def _named_errors(name: str) -> Iterator[None]:
    """Turn failures of the disk and of FFmpeg into one-line errors that name the target."""
    try:
        yield
    except BrokenPipeError:
        raise  # a reader that closes its end of a pipe is for the command line to handle
    except (OSError, av.error.FFmpegError) as error:
        raise ImfError(f"{name}: cannot be written: {error.strerror or error}") from error


def _part_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")


def _check_target(target: Path) -> None:
    if not target.parent.is_dir():
        raise UsageError(f"{target}: the folder {target.parent} does not exist; create it first")


class _FileSink:
    """A file written under a temporary name beside its target."""

    def __init__(self, target: Path, overwrite: bool) -> None:
        _check_target(target)
        if target.is_dir():
            raise UsageError(f"{target}: is a folder; name a file")
        if target.exists() and not overwrite:
            raise UsageError(f"{target}: exists already; name another target or allow overwriting")
        self.target = target
        self.name = str(target)
        self.part = _part_path(target)

    def open(self) -> BinaryIO:
        with _named_errors(self.name):
            return open(self.part, "xb")

    def commit(self, file: BinaryIO | None) -> None:
        if file is not None:
            file.close()
        os.replace(self.part, self.target)

    def discard(self, file: BinaryIO | None) -> None:
        if file is not None:
            file.close()
        self.part.unlink(missing_ok=True)


class _StreamSink:
    """A stream of the caller's, which stays open."""

    def __init__(self, stream: BinaryIO) -> None:
        self.name = str(getattr(stream, "name", "stream"))
        self._stream = stream

    def open(self) -> BinaryIO:
        return self._stream

    def commit(self, file: BinaryIO | None) -> None:
        self._stream.flush()

    def discard(self, file: BinaryIO | None) -> None:
        """Leave the stream alone: what has gone out cannot be taken back."""


class _Y4mWriter(ClipWriter):
    def __init__(self, sink: _FileSink | _StreamSink, format: VideoFormat) -> None:
        super().__init__(sink.name, format)
        self._sink = sink
        self._file = sink.open()

    def _write(self, frame: Frame) -> None:
        if not self._frame_count:
            self._file.write(_y4m_header(self._format))
        self._file.write(b"FRAME\n")
        for plane in (frame.y, frame.u, frame.v):
            self._file.write(np.ascontiguousarray(plane).data)

    def _finish(self) -> None:
        self._sink.commit(self._file)

    def _discard(self) -> None:
        self._sink.discard(self._file)


def _y4m_header(video: VideoFormat) -> bytes:
    rate, aspect = video.frame_rate, video.sample_aspect
    extent = "FULL" if video.colour.full_range else "LIMITED"
    return (
        f"YUV4MPEG2 W{video.width} H{video.height} F{rate.numerator}:{rate.denominator} Ip "
        f"A{aspect.numerator}:{aspect.denominator} C420jpeg XYSCSS=420JPEG XCOLORRANGE={extent}\n"
    ).encode()


class _ContainerWriter(ClipWriter):
    holds_audio = True
    holds_times = True

    def __init__(self, sink: _FileSink, format: VideoFormat, audio: AudioTrack | None) -> None:
        super().__init__(sink.name, format)
        self._sink = sink
        self._audio = audio
        self._frame_ticks = max(1, round(1 / (format.frame_rate * format.time_base)))
        self._pending: Frame | None = None  # a frame's duration is known when the next one comes
        self._fill = PcmFiller(audio) if audio else None
        container_name, codec, options = _CONTAINERS[sink.target.suffix.lower()]
        self._patches_aspect = container_name == "matroska" and format.sample_aspect != 1
        with _named_errors(self._name):
            # Checksums over the head would not survive that the shape of pixels is put into it.
            checksums = {"write_crc32": "0"} if self._patches_aspect else {}
            self._container = av.open(str(sink.part), "w", format=container_name, options=checksums)
        try:
            self._video_stream = self._add_video(self._container, codec, options)
            self._audio_stream = add_copied_stream(self._container, audio) if audio else None
            with _named_errors(self._name):
                self._container.start_encoding()
        except BaseException:
            self.abort()
            raise

    def _add_video(self, container: OutputContainer, codec: str, options: dict[str, str]) -> VideoStream:
        video = self._format
        stream = container.add_stream(codec, rate=video.frame_rate, options=options)
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        even = 2 if codec == "libx264" else 1
        context.width = -(-video.width // even) * even
        context.height = -(-video.height // even) * even
        context.pix_fmt = "yuv420p"
        context.flags |= int(CodecFlags.frame_duration)
        context.time_base = video.time_base
        context.sample_aspect_ratio = video.sample_aspect
        _tag_colour(context, video)
        if video.rotation:
            stream.set_display_rotation(-video.rotation)  # FFmpeg turns counter-clockwise
        return stream

    def _write(self, frame: Frame) -> None:
        if self._pending is not None:
            self._encode(self._pending, frame.pts - self._pending.pts)
        self._pending = frame

    def _encode(self, frame: Frame, duration: int) -> None:
        context = self._video_stream.codec_context
        picture = _to_picture(frame, self._format, context.width, context.height)
        picture.duration = duration
        self._container.mux(self._video_stream.encode(picture))

    def write_audio(self, packet: AudioPacket) -> None:
        if self._audio is None or self._audio_stream is None or self._fill is None:
            raise UsageError(f"{self._name}: sound came, but no sound track was announced")
        for piece in self._fill(packet):
            copied = make_packet(piece, self._audio.time_base)
            copied.stream = self._audio_stream
            with _named_errors(self._name):
                self._container.mux(copied)

    def _finish(self) -> None:
        if self._pending is not None:
            self._encode(self._pending, self.last_duration or self._frame_ticks)
        self._container.mux(self._video_stream.encode(None))
        self._container.close()
        if self._patches_aspect:
            video = self._format
            with open(self._sink.part, "r+b") as file:
                aspect = video.sample_aspect * video.width / video.height
                set_display_aspect(file, aspect.limit_denominator(_MAX_ASPECT_TERM))
        self._sink.commit(None)

    def _discard(self) -> None:
        # A trailer that cannot be written does not matter for a file that goes away.
        with contextlib.suppress(av.error.FFmpegError):
            self._container.close()
        self._sink.discard(None)


def _tag_colour(context: VideoCodecContext, video: VideoFormat) -> None:
    context.color_primaries = video.colour.primaries
    context.color_trc = video.colour.transfer
    context.colorspace = video.colour.matrix
    context.color_range = range_number(video)


def _to_picture(frame: Frame, video: VideoFormat, width: int, height: int) -> av.VideoFrame:
    """Return the frame as PyAV's, padded to width x height by repeating its last row and column."""
    picture = av.VideoFrame(width, height, "yuv420p")
    for plane, source in zip(picture.planes, (frame.y, frame.u, frame.v), strict=True):
        _fill(view_plane(plane), source)
    picture.pts = frame.pts
    picture.time_base = video.time_base
    picture.color_range = range_number(video)
    return picture


def _fill(target: Plane, source: Plane) -> None:
    height, width = source.shape
    target[:height, :width] = source
    target[height:, :width] = source[-1]
    target[:, width:] = target[:, width - 1 : width]


class _PngWriter(ClipWriter):
    def __init__(self, target: Path, format: VideoFormat, overwrite: bool) -> None:
        folder, name = (target, _DEFAULT_PNG_NAME) if "%" not in target.name else (target.parent, target.name)
        super().__init__(str(folder / name), format)
        _check_target(folder)
        self._folder = folder
        self._file_name = name
        self._check_existing(overwrite)
        self._part = _part_path(folder)
        with _named_errors(self._name):
            self._part.mkdir()
        self._encoder = _open_png_encoder(format)

    def _check_existing(self, overwrite: bool) -> None:
        if self._folder.exists() and not self._folder.is_dir():
            raise UsageError(f"{self._folder}: is a file; name a folder for the pictures")
        if self._existing() and not overwrite:
            raise UsageError(f"{self._name}: pictures exist already; name another folder or allow overwriting")

    def _existing(self) -> list[Path]:
        """Return the files of an earlier series under the same names."""
        before, after = _PNG_NUMBER.split(self._file_name)[0::2]
        own = re.compile(re.escape(before) + r"\d+" + re.escape(after))
        return [file for file in self._folder.glob("*") if own.fullmatch(file.name)] if self._folder.is_dir() else []

    def _write(self, frame: Frame) -> None:
        data = b"".join(bytes(packet) for packet in self._encoder.encode(_to_rgb(frame, self._format)))
        (self._part / (self._file_name % (self._frame_count + 1))).write_bytes(data)

    def _finish(self) -> None:
        for old in self._existing():
            old.unlink()
        if not self._folder.exists():
            os.replace(self._part, self._folder)
            return
        for file in sorted(self._part.iterdir()):
            os.replace(file, self._folder / file.name)
        self._part.rmdir()

    def _discard(self) -> None:
        shutil.rmtree(self._part, ignore_errors=True)


def rgb_pixels(frame: Frame, video: VideoFormat) -> npt.NDArray[np.uint8]:
    """The pixels the PNG of a frame holds: uint8 RGB [H, W, 3]."""
    return _to_rgb(frame, video).to_ndarray().astype(np.uint8, copy=False)


def _open_png_encoder(video: VideoFormat) -> VideoCodecContext:
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height = video.width, video.height
    encoder.pix_fmt = "rgb24"
    encoder.time_base = Fraction(1, 25)
    return encoder


def described_matrix(video: VideoFormat) -> int:
    """H.273 code of the matrix that turns samples into RGB; what players assume where none is named."""
    if video.colour.matrix not in _KNOWN_MATRICES:
        return _BT709 if video.height >= _HD_HEIGHT else _BT601
    return _BT601 if video.colour.matrix in _BT601_ALIKE else video.colour.matrix


def _to_rgb(frame: Frame, video: VideoFormat) -> av.VideoFrame:
    picture = _to_picture(frame, video, video.width, video.height)
    picture.colorspace = described_matrix(video)
    return picture.reformat(
        format="rgb24",
        src_color_range=range_number(video),
        dst_color_range=FULL_RANGE,
        interpolation=_SWS_FLAGS,
    )
