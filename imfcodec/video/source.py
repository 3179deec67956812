"""Where a video comes from: opened, demultiplexed and decoded by FFmpeg, with everything said about it noted.

Damage does not end a pass: what FFmpeg can still decode is taken, what it cannot is counted and leaves a hole for the
timeline to fill. What is cut off ends where it ends.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import Flags, InputContainer
from av.format import Flags as FormatFlags
from av.stream import Stream
from av.video.stream import VideoStream

from imfcodec.errors import InputError, UsageError
from imfcodec.files import check_name, open_input
from imfcodec.frames import VideoFormat
from imfcodec.limits import Limits
from imfcodec.video.journal import Journal
from imfcodec.video.series import is_series, list_series
from imfcodec.video.tiff import count_pages
from imfcodec.video.timeline import Rebaser, StampGuesser
from imfcodec.video.truncation import CountingReader, ends_early, y4m_ends_early

# What a file is called that ends before its first picture.
USELESS = "is cut off before what its reader needs, nothing of it can be used; get the file again"

_RAW_SUFFIXES = {".yuv", ".raw", ".rgb"}
# FFmpeg shows almost any file as text art; nobody means that by "video".
_TEXT_ART_FORMATS = {"tty", "bin", "xbin", "adf", "idf"}
# FFmpeg's lines about a file that does not say how long it is, and ends within something.
_CUT_OFF_LINES = {"File ended prematurely", "Failed to get packet for obu"}
# Those that speak of the container under another name than its own.
_OTHER_NAMES = {"obu": "AV1 Annex B/low overhead OBU demuxer"}
# A line of FFmpeg's: level, who says it, and what.
Complaint = tuple[int, str, str]
# Formats whose pictures follow each other evenly, and whose number FFmpeg knows from the start.
_EVEN_FORMATS = {"yuv4mpegpipe", "rawvideo"}


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


@dataclass(frozen=True)
class SourceOptions:
    """How a source is to be read.

    Attributes:
        rate: frames per second of sources without time stamps (picture series, elementary streams, Y4M); None leaves
            it to their own headers, else 25.
        video_track: number of the video track among the video tracks, from 1; None takes the default one.
        audio_track: number of the sound track, from 1, or its language; None takes the default one.
        strict: damage is an error.
        allow_gaps: missing pictures of a series are replaced by the one before instead of being an error.
        deinterlace: True treats every picture as interlaced, False none, None those that are marked so.
    """

    rate: Fraction | None = None
    video_track: int | None = None
    audio_track: str | None = None
    strict: bool = False
    allow_gaps: bool = False
    deinterlace: bool | None = None


def is_headerless(path: str | Path | BinaryIO) -> bool:
    """Whether a file's name says that it holds raw samples, which need a `RawSpec`."""
    return isinstance(path, str | Path) and Path(path).suffix.lower() in _RAW_SUFFIXES


class Source:
    """A file, a picture series or a pipe, and how FFmpeg is to open it.

    Attributes:
        name: for messages.
        is_stream: whether it is a pipe, which can be read once and holds no sound.
        series: the pictures of a series, None for anything else.
    """

    def __init__(
        self, path: str | Path | BinaryIO, raw: RawSpec | None, options: SourceOptions, limits: Limits
    ) -> None:
        self.is_stream = not isinstance(path, str | Path)
        self.name = str(getattr(path, "name", "stream")) if self.is_stream else str(path)
        self.series: list[Path | None] | None = None
        self._raw, self._options, self._limits = raw, options, limits
        # The prefix keeps FFmpeg from taking "a:b.mp4" for a network address.
        self._target = f"file:{path}" if isinstance(path, str | Path) else CountingReader(path)
        self._path = Path(path) if isinstance(path, str | Path) else None
        if raw is not None:
            limits.check_format(VideoFormat(raw.width, raw.height, raw.frame_rate, Fraction(1)))
        if self._path is not None:
            self._check_file(self._path)

    def _check_file(self, path: Path) -> None:
        check_name(self.name)
        if self._raw is None and is_series(path):
            self.series = list_series(path, allow_gaps=self._options.allow_gaps)
            return
        if os.path.isdir(path):
            raise InputError(f"{path}: is a folder; name a file, or a series such as {path}/%05d.png")
        if not os.path.exists(path):
            raise InputError(f"{path}: no such file")
        if self._raw is None and is_headerless(path):
            raise UsageError(f"{path}: headerless video needs its size, frame rate and pixel format")
        if self._raw is not None:
            self._check_raw_size(self._raw, path.stat().st_size)

    def _check_raw_size(self, raw: RawSpec, length: int) -> None:
        frame_bytes = _raw_frame_bytes(raw)
        if frame_bytes and length % frame_bytes:
            raise InputError(
                f"{self.name}: {length} bytes are not a whole number of frames of {frame_bytes} bytes; "
                "check size and pixel format, or the file is cut off"
            )

    def further_pages(self) -> int:
        """How many pages TIFF files hold after the first, which alone is decoded."""
        files = self.series if self.series is not None else [self._path]
        return sum(max(0, count_pages(file) - 1) for file in files if file is not None)

    def open(self, file: Path | None = None) -> InputContainer:
        """Open the source; of a series the first picture, or the given one.

        Raises:
            InputError: FFmpeg cannot read it.
        """
        file = file or next(filter(None, self.series or ()), None)
        target = self._target if file is None else f"file:{file}"
        try:
            container = av.open(target, "r", format=self._format_name(), options=self._format_options())
        except (av.error.FFmpegError, ValueError) as error:
            raise InputError(f"{file or self.name}: {self._complaint()} ({_reason(error)})") from error
        if container.format.name in _TEXT_ART_FORMATS:
            container.close()
            raise InputError(f"{self.name}: {self._complaint()}")
        # PyAV asks for made-up presentation stamps, which are worse than none.
        container.flags &= ~_number(Flags.gen_pts)
        return container

    def _complaint(self) -> str:
        file = self._path if self.series is None else None
        if file is not None and os.path.isfile(file) and not file.stat().st_size:
            return "is empty; get the file again"
        if self.name.endswith(".imf"):
            return "is no video; turn streams into one first: imfcodec decode"
        if file is not None and ends_early(file):
            return USELESS
        if self._raw is not None:
            return "cannot be read as headerless video; check size, frame rate and pixel format"
        return "is not a Y4M stream" if self.is_stream else "is not a readable video"

    def _format_name(self) -> str | None:
        if self._raw is not None:
            return "rawvideo"
        return "yuv4mpegpipe" if self.is_stream else None

    def _format_options(self) -> dict[str, str]:
        if self._raw is None:
            return {}
        return {
            "video_size": f"{self._raw.width}x{self._raw.height}",
            "framerate": str(self._raw.frame_rate),
            "pixel_format": self._raw.pixel_format,
        }

    def is_even(self, container: InputContainer) -> bool:
        """Whether the pictures follow each other evenly from zero on, so that no pass over them is needed."""
        return self.series is None and container.format.name in _EVEN_FORMATS

    def is_unstamped(self, container: InputContainer) -> bool:
        """Whether the stamps FFmpeg gives are its own invention: pictures and elementary streams have none."""
        name = container.format.name
        pictures = self.series is not None or name == "image2" or name.endswith("_pipe")
        return pictures or self.is_even(container) or _has_flag(container, FormatFlags.no_timestamps)

    def video_stream(self, container: InputContainer, index: int) -> VideoStream:
        """Return the video track at `index`, ready to be decoded.

        Raises:
            InputError: FFmpeg does not know its codec.
        """
        stream = container.streams[index]
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            raise InputError(f"{self.name}: there is no decoder for its video; convert it first")
        # Threads by frame would report an error late, and take good pictures with it.
        stream.thread_type = "SLICE"
        # FFmpeg would otherwise allocate whatever size a hostile stream claims half-way.
        stream.codec_context.options = {"max_pixels": str(self._limits.max_pixels)}
        return stream

    def decode(
        self, container: InputContainer, video: VideoStream, audio: AudioStream | None, journal: Journal
    ) -> Iterator[av.VideoFrame]:
        """Yield the pictures of a track in display order, and note in `journal` what there is to know about them."""
        if self.series is not None:
            yield from self._decode_series(journal)
            return
        count = frame_bytes = 0
        journal.cut_off = self._path is not None and ends_early(self._path)
        guess = StampGuesser()
        for packet in self._packets(container, [video, audio] if audio else [video], journal):
            if packet is not None and packet.stream.index != video.index:
                journal.note_sound(packet)
                continue
            frame_bytes = packet.size if packet else frame_bytes
            for picture in _decode_packet(video, packet, journal):
                count += 1
                journal.note_picture(picture, guess(picture.pts, picture.dts))
                if aspect := video.codec_context.sample_aspect_ratio:
                    journal.aspects[Fraction(aspect.numerator, aspect.denominator)] = None
                yield picture
        if container.format.name == "yuv4mpegpipe" and self._y4m_ends_early(count, frame_bytes):
            journal.cut_off = True

    def _packets(
        self, container: InputContainer, streams: list[VideoStream | AudioStream], journal: Journal
    ) -> Iterator[av.Packet | None]:
        """Yield the packets of some tracks with their stamps rebased, then None."""
        yield from rebased_packets(container, streams, journal)
        yield None

    def _decode_series(self, journal: Journal) -> Iterator[av.VideoFrame]:
        for file in self.series or ():
            picture = self._decode_single(file) if file else None
            if picture is None:
                journal.note_loss(None)
            else:
                journal.note_picture(picture, None)
                yield picture

    def _decode_single(self, file: Path) -> av.VideoFrame | None:
        """Return one picture of a series, None if it cannot be decoded."""
        with contextlib.suppress(av.error.FFmpegError, InputError), self.open(file) as container:
            stream = self.video_stream(container, 0)
            return next(container.decode(stream), None)
        return None

    def _y4m_ends_early(self, count: int, frame_bytes: int) -> bool:
        if isinstance(self._target, CountingReader):
            return y4m_ends_early(self._target.head, self._target.length, count, frame_bytes)
        assert self._path is not None
        with open_input(self._path) as file:
            return y4m_ends_early(file.read(4096), self._path.stat().st_size, count, frame_bytes)


def rebased_packets(container: InputContainer, streams: Sequence[Stream], journal: Journal) -> Iterator[av.Packet]:
    """Yield the packets of some tracks in file order, discontinuities taken out of their stamps.

    To find the same discontinuities, name the same tracks.
    """
    rebase = Rebaser(_has_flag(container, FormatFlags.ts_discont))
    broken: av.Packet | None = None
    try:
        for packet in container.demux(list(streams)):
            if not packet.size:  # stands for a frame that was dropped when the file was made, or for the end
                continue
            rebase(packet)
            journal.discontinuities = rebase.count
            if broken is not None:
                yield broken
            broken = packet if packet.is_corrupt else None
            if broken is None:
                yield packet
    except av.error.FFmpegError:
        journal.cut_off = True
    # A last packet that is broken was to go on behind the end of the file.
    journal.cut_off = journal.cut_off or broken is not None


def _decode_packet(video: VideoStream, packet: av.Packet | None, journal: Journal) -> list[av.VideoFrame]:
    """Decode one packet, or with None what the decoder still holds."""
    if packet is not None and packet.is_corrupt:
        journal.note_damage(packet)
    try:
        return video.codec_context.decode(packet)
    except av.error.FFmpegError:
        if packet is not None:
            journal.note_loss(packet.pts if packet.pts is not None else packet.dts)
        return []


@contextlib.contextmanager
def listening() -> Iterator[list[Complaint]]:
    """Hear what FFmpeg says is wrong meanwhile."""
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=False) as lines:
            yield lines
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)


def note_complaints(
    journal: Journal, container: InputContainer, video: VideoStream, opening: list[Complaint], reading: list[Complaint]
) -> None:
    """Note in `journal` what FFmpeg complained of where it passed over damage without any other sign.

    The decoder of the pictures is heard only if nothing is known to be damaged or missing, which it would tell again;
    of what was said while opening, which may be guesses at the format, only that the file ends there.
    """
    demuxer = {container.format.name, _OTHER_NAMES.get(container.format.name, "")}
    heard = set(demuxer)
    if not journal.damaged and not journal.cut_off:
        heard.add(video.codec_context.codec.name)
    own = [text.strip() for _, who, text in reading if who in heard]
    ends = {text.strip() for _, who, text in (*opening, *reading) if who in demuxer} & _CUT_OFF_LINES
    journal.cut_off = journal.cut_off or bool(ends)
    journal.complaints += [text for text in own if text not in _CUT_OFF_LINES]


def claimed_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """When a Matroska track ends, in seconds, as the tags of its writer tell; None for other files.

    Tags outlive cuts, so that the end of the whole file counts if it is earlier.
    """
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if match is None or not container.duration:
        return None
    return min(int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3]), Fraction(container.duration, 1_000_000))


def _has_flag(container: InputContainer, flag: FormatFlags) -> bool:
    return bool(container.format.flags & _number(flag))


def _number(flag: Any) -> int:
    return int(flag.value)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _raw_frame_bytes(raw: RawSpec) -> int | None:
    """Return the bytes of one headerless frame, None where only FFmpeg knows them."""
    chroma = -(-raw.width // 2) * -(-raw.height // 2)
    samples = {"yuv420p": raw.width * raw.height + 2 * chroma}
    samples["yuv420p10le"] = 2 * samples["yuv420p"]
    return samples.get(raw.pixel_format)
