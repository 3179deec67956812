"""Write frames and sound to a file; the kind of file follows from the name.

| target | video | sound |
|---|---|---|
| `.mp4` | H.264, visually lossless (CRF 10); an odd size is padded to even by repeating the edge | copied |
| `.mkv` | FFV1, lossless; time stamps in milliseconds | copied |
| either | another codec, see `VideoCoding`; the subtitles and chapters of `Extras` | copied |
| `.y4m`, binary stream | the exact frames, evenly spaced | none |
| folder, `%05d.png` | one 8-bit RGB picture a frame, numbered from 1; `%%` is a percent sign | none |
| pipe or device without such a suffix | as `.y4m` | none |

Pixels are always written as stored. MP4 and MKV carry the rotation for the player to apply; Y4M and PNG do not, so
that pictures line up with the coded ones. Files are written as `imfcodec.files` says: complete or not at all. An MP4
that goes into a pipe is made of fragments.
"""

import contextlib
import os
import re
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
from av.video.frame import PictureType
from av.video.stream import VideoStream

from imfcodec.errors import InputError, OutputError, UsageError
from imfcodec.files import OutputFile, OutputFolder, check_name, named_errors, series_names, write_beside
from imfcodec.frames import AudioPacket, AudioTrack, Frame, Plane, VideoFormat
from imfcodec.video.adts import AdtsStripper
from imfcodec.video.audio import PcmFiller, add_copied_stream, make_packet
from imfcodec.video.coding import PictureEncoder, VideoCoding, picture_encoder
from imfcodec.video.extras import Extras
from imfcodec.video.matroska import set_display_aspect
from imfcodec.video.planes import FULL_RANGE, range_number, view_plane

_CONTAINERS = {".mp4": "mp4", ".mkv": "matroska"}
SOUND_SUFFIXES = frozenset(_CONTAINERS)
# The head waits for the first frames: their order, and the kind of AAC, are known only then.
_PIPE_OPTIONS = {".mp4": {"movflags": "frag_keyframe+delay_moov+default_base_moof"}}
_DEFAULT_PNG_NAME = "%05d.png"

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
    coding: VideoCoding | None = None,
    extras: Extras | None = None,
) -> "ClipWriter":
    """Open a target for writing; use the result as a context manager.

    Args:
        path: `.mp4`, `.mkv` or `.y4m` file, a folder (existing, or with a trailing slash) or "%05d.png" pattern for
            pictures, or a binary stream for Y4M.
        format: format of the frames to come.
        audio: sound track whose packets will come; left out where the target holds no sound.
        overwrite: replace what is there.
        coding: how pictures are coded in .mp4 and .mkv; None is as the table above has it.
        extras: what is to be copied into .mp4 and .mkv; the caller closes it.
    Raises:
        UsageError: unknown kind of target, it exists, its folder does not, or it cannot hold this sound or codec.
    """
    suffix = Path(path).suffix.lower() if isinstance(path, str | Path) else ""
    if (coding or extras) and suffix not in _CONTAINERS:
        raise UsageError(f"{path}: a codec, subtitles and chapters can be chosen for .mp4 and .mkv alone; name one")
    if not isinstance(path, str | Path):
        return _Y4mWriter(_StreamSink(path), format)
    check_name(path)
    if _is_series(path):
        return _PngWriter(path, format, overwrite)
    if suffix in _CONTAINERS:
        encoder = picture_encoder(coding or VideoCoding(), suffix, format.width, format.height, str(path))
        return _ContainerWriter(OutputFile(path, overwrite=overwrite), suffix, format, encoder, audio, extras)
    if suffix == ".y4m" or _is_pipe(path):
        return _Y4mWriter(OutputFile(path, overwrite=overwrite), format)
    raise UsageError(f"{path}: unknown kind of target; use .mp4, .mkv, .y4m, a folder/ or a %05d.png pattern")


def _is_series(path: str | Path) -> bool:
    if _is_folder(path):
        return True
    return "%" in Path(path).name and Path(path).suffix.lower() == ".png"


def _is_folder(path: str | Path) -> bool:
    is_video = Path(path).suffix.lower() in {*_CONTAINERS, ".y4m"}
    return str(path).endswith(os.sep) or (os.path.isdir(path) and not is_video)


def _is_pipe(path: str | Path) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)


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
        with write_errors(self._name):
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
            with write_errors(self._name):
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
def write_errors(name: str) -> Iterator[None]:
    """Turn failures of the disk and of FFmpeg into one-line errors that name the target."""
    try:
        with named_errors(name):
            yield
    except av.error.FFmpegError as error:
        raise OutputError(f"{name}: cannot be written: {error.strerror or error}") from error


class _StreamSink:
    """A stream of the caller's, which stays open."""

    def __init__(self, stream: BinaryIO) -> None:
        self.name = str(getattr(stream, "name", "stream"))
        self.file = stream

    def commit(self) -> None:
        self.file.flush()

    def discard(self) -> None:
        """Leave the stream alone: what has gone out cannot be taken back."""


class _Y4mWriter(ClipWriter):
    def __init__(self, sink: OutputFile | _StreamSink, format: VideoFormat) -> None:
        super().__init__(sink.name, format)
        self._sink = sink
        self._file = sink.file

    def _write(self, frame: Frame) -> None:
        if not self._frame_count:
            self._file.write(_y4m_header(self._format))
        self._file.write(b"FRAME\n")
        for plane in (frame.y, frame.u, frame.v):
            self._file.write(np.ascontiguousarray(plane).data)

    def _finish(self) -> None:
        self._sink.commit()

    def _discard(self) -> None:
        self._sink.discard()


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

    def __init__(
        self,
        sink: OutputFile,
        suffix: str,
        format: VideoFormat,
        encoder: PictureEncoder,
        audio: AudioTrack | None,
        extras: Extras | None,
    ) -> None:
        super().__init__(sink.name, format)
        self._sink = sink
        self._encoder = encoder
        self._audio = audio
        self._extras = extras
        self._frame_ticks = max(1, round(1 / (format.frame_rate * format.time_base)))
        self._pending: Frame | None = None  # a frame's duration is known when the next one comes
        self._fill = PcmFiller(audio) if audio else None
        container_name = _CONTAINERS[suffix]
        can_seek = sink.file.seekable()
        self._patches_aspect = can_seek and container_name == "matroska" and format.sample_aspect != 1
        extra = {} if can_seek else _PIPE_OPTIONS.get(suffix, {})
        if self._patches_aspect:
            # Checksums over the head would not survive that the shape of pixels is put into it.
            extra = {"write_crc32": "0"}
        try:
            with write_errors(self._name):
                self._container = av.open(f"file:{sink.path}", "w", format=container_name, container_options=extra)
            self._video_stream = self._add_video(self._container)
            self._audio_stream = add_copied_stream(self._container, audio) if audio else None
            if extras:
                extras.open(self._container, suffix)
            self._strip = AdtsStripper(self._audio_stream) if self._audio_stream and suffix == ".mp4" else None
            with write_errors(self._name):
                self._container.start_encoding()
        except BaseException:
            self.abort()
            raise

    def _add_video(self, container: OutputContainer) -> VideoStream:
        video, encoder = self._format, self._encoder
        stream = container.add_stream(encoder.name, rate=video.frame_rate, options=dict(encoder.options))
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        if encoder.tag:
            context.codec_tag = encoder.tag
        even = 2 if encoder.even else 1
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

    def _encode(self, frame: Frame, duration: int, *, alone: bool = False) -> None:
        context = self._video_stream.codec_context
        picture = _to_picture(frame, self._format, context.width, context.height)
        picture.duration = duration
        if alone:
            picture.pict_type = PictureType.I
        self._container.mux(self._video_stream.encode(picture))
        if self._extras:
            for packet in self._extras.until(float((frame.pts + duration) * self._format.time_base)):
                self._container.mux(packet)

    def write_audio(self, packet: AudioPacket) -> None:
        if self._audio is None or self._audio_stream is None or self._fill is None:
            raise UsageError(f"{self._name}: sound came, but no sound track was announced")
        for piece in self._fill(packet):
            copied = make_packet(piece, self._audio.time_base)
            copied.stream = self._audio_stream
            with write_errors(self._name):
                self._container.mux(self._strip(copied) if self._strip else copied)

    def _finish(self) -> None:
        if self._pending is not None:
            # MP4 counts durations in coding order: nothing may be coded after a frame that stays for longer.
            duration = self.last_duration or self._frame_ticks
            self._encode(self._pending, duration, alone=duration > self._frame_ticks)
        self._container.mux(self._video_stream.encode(None))
        self._container.close()
        if self._patches_aspect:
            self._patch_aspect()
        self._sink.commit()

    def _patch_aspect(self) -> None:
        aspect = self._format.sample_aspect * self._format.width / self._format.height
        with open(self._sink.path, "r+b") as file:
            set_display_aspect(file, aspect.limit_denominator(_MAX_ASPECT_TERM))

    def _discard(self) -> None:
        # A trailer that cannot be written does not matter for a file that goes away.
        with contextlib.suppress(av.error.FFmpegError, AttributeError):
            self._container.close()
        self._sink.discard()


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
    def __init__(self, path: str | Path, format: VideoFormat, overwrite: bool) -> None:
        folder, name = (Path(path), _DEFAULT_PNG_NAME) if _is_folder(path) else (Path(path).parent, Path(path).name)
        super().__init__(str(folder / name), format)
        self._file_name = name
        self._sink = OutputFolder(folder, _own_names(self._name, name), self._name, overwrite=overwrite)
        self._encoder = _open_png_encoder(format)

    def _write(self, frame: Frame) -> None:
        data = _to_png(self._encoder, frame, self._format)
        self._sink.write(self._file_name % (self._frame_count + 1), data)

    def _finish(self) -> None:
        self._sink.commit()

    def _discard(self) -> None:
        self._sink.discard()


def _own_names(path: str, pattern: str) -> re.Pattern[str]:
    """What names made with a pattern such as "shot_%03d.png" look like.

    Raises:
        UsageError: it has no number, or another percent sign.
    """
    own = series_names(pattern)
    if own is None:
        raise UsageError(f"{path}: needs one number such as %05d; write %% for a % that belongs to the name")
    return own


def write_picture(path: str | Path, frame: Frame, video: VideoFormat) -> None:
    """Write a frame as one PNG file; replaces what is there.

    Raises:
        UsageError: no file can have this name.
        OutputError: it cannot be written.
    """
    with write_beside(path) as file:
        file.write(png_bytes(frame, video))


def png_bytes(frame: Frame, video: VideoFormat) -> bytes:
    """A frame as the bytes of a PNG file."""
    return _to_png(_open_png_encoder(video), frame, video)


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


def _to_png(encoder: VideoCodecContext, frame: Frame, video: VideoFormat) -> bytes:
    return b"".join(bytes(packet) for packet in encoder.encode(_to_rgb(frame, video)))


def _to_rgb(frame: Frame, video: VideoFormat) -> av.VideoFrame:
    picture = _to_picture(frame, video, video.width, video.height)
    picture.colorspace = described_matrix(video)
    return picture.reformat(
        format="rgb24",
        src_color_range=range_number(video),
        dst_color_range=FULL_RANGE,
        interpolation=_SWS_FLAGS,
    )
