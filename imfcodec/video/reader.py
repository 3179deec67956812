"""Read any video FFmpeg can read, as 8-bit 4:2:0 frames with exact time stamps.

- 8-bit 4:2:0 sources give their planes exactly as decoded. Everything else (10 bits, 4:2:2, 4:4:4, NV12) is
  converted within YCbCr: bits are rounded off and chroma is averaged, the matrix and the range stay. RGB sources
  become BT.709, limited range.
- Frames come as stored. Rotation is reported, not applied; mirroring is ignored. Interlaced pictures are deinterlaced.
- When is decided by `timeline`, from one pass over the decoded pictures when a file is opened. Frames stream: memory
  does not depend on the length but for some bytes a frame.
- Damage and what is left out do not end the reading: `notes` says it, one line each.
- A pipe can carry Y4M, or raw video with a `RawSpec`, without sound.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from imfcodec.errors import InputError, UsageError
from imfcodec.frames import AudioPacket, AudioTrack, Colour, Frame, Plane, VideoFormat
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.adts import mpeg_codec, read_adts_head
from imfcodec.video.audio import SoundDecoder, read_packets, track_of
from imfcodec.video.filters import deinterlaced
from imfcodec.video.journal import Journal
from imfcodec.video.notes import container_notes, damage_notes, picture_notes
from imfcodec.video.planes import FULL_RANGE, range_number, view_plane
from imfcodec.video.source import (
    USELESS,
    RawSpec,
    Source,
    SourceOptions,
    claimed_end,
    is_headerless,
    listening,
    note_complaints,
    rebased_packets,
)
from imfcodec.video.timeline import Timeline, even_timeline, make_timeline
from imfcodec.video.tracks import Track, choose_audio, choose_video, left_out, list_tracks

__all__ = ["ClipReader", "RawSpec", "SourceOptions", "is_headerless", "open_clip", "tracks_of"]

_DEFAULT_BASE = Fraction(1, 1000)
_PLANAR_420 = {"yuv420p", "yuvj420p"}
# Codecs whose headers give the ticks of a clock for a frame rate.
_TICK_RATED = {"mpeg4"}

# H.273 code point and swscale's number alike.
_BT709 = 1


def open_clip(
    path: str | Path | BinaryIO,
    *,
    raw: RawSpec | None = None,
    audio: bool = True,
    options: SourceOptions | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> "ClipReader":
    """Open a video file or a pipe for reading; use the result as a context manager.

    Args:
        path: a file, a numbered picture series such as "shots/%05d.png", or a binary stream that holds Y4M (raw
            video if `raw` is given) and need not be seekable.
        raw: size, rate and pixel format of headerless video.
        audio: False leaves the sound alone, whatever it is.
        options: which tracks, what to do about damage and interlacing; None stands for the defaults.
        limits: frames may have so many pixels, and there may be so many of them.
    Raises:
        UsageError: headerless video without `raw`, a track that is not there, a rate for a source that has stamps.
        InputError: the file is missing, not a video, without a single frame or, with `strict`, damaged.
        LimitError: the frame size is outside what can be coded, or a limit is exceeded.
    """
    return ClipReader(path, raw=raw, audio=audio, options=options or SourceOptions(), limits=limits)


def tracks_of(path: str | Path) -> tuple[str, int, list[Track]]:
    """Return the name of a media file's container, its number of chapters and its tracks, without decoding anything.

    Raises:
        InputError: FFmpeg cannot read the file.
    """
    with Source(path, None, SourceOptions(), DEFAULT_LIMITS).open() as container:
        return container.format.name, len(container.chapters()), list_tracks(container)


class ClipReader:
    """One opened video.

    Attributes:
        format: size, rate, colour and so on of the frames.
        variable_rate: True if the frames are not evenly spaced.
        frame_count_hint: number of frames, None for a pipe.
        last_duration: how long the last frame is shown, in ticks of the format's time base.
        audio: the sound track, None where there is none or it was not asked for.
        notes: lines for the user about what is left out or damaged; one about the end of a pipe comes when it is read.
    """

    def __init__(
        self, path: str | Path | BinaryIO, *, raw: RawSpec | None, audio: bool, options: SourceOptions, limits: Limits
    ) -> None:
        self._source = Source(path, raw, options, limits)
        self._options, self._limits = options, limits
        self._containers: list[InputContainer] = []
        self._journal = Journal()
        self._has_adts_heads = False
        self.notes: list[str] = []
        try:
            self._start(audio)
        except BaseException:
            self.close()
            raise

    def _start(self, want_audio: bool) -> None:
        container = self._open()
        stream = self._choose_tracks(container, want_audio)
        self._even = self._source.is_even(container)
        self._timeline = self._measure(container, stream)
        self.variable_rate = self._timeline.variable
        self.frame_count_hint = self._timeline.frame_count
        self.last_duration = self._timeline.last_duration
        pictures = self._source.decode(container, stream, None, self._journal if self._even else Journal())
        first = next(pictures, None)
        if first is None:
            raise self._nothing_to_see(stream)
        self.format = _described_format(stream, self._timeline, first)
        self._limits.check_format(self.format)
        self.notes += picture_notes(self._journal, self._timeline, self._options.deinterlace)
        self._check_strict()
        self._pictures: Iterator[av.VideoFrame] | None = itertools.chain([first], pictures)

    def _open(self) -> InputContainer:
        container = self._source.open()
        self._containers.append(container)
        return container

    def _choose_tracks(self, container: InputContainer, want_audio: bool) -> VideoStream:
        name, tracks = self._source.name, list_tracks(container)
        video, sound = choose_video(tracks, self._options.video_track, name), None
        if want_audio and not self._source.is_stream:
            sound = choose_audio(container, tracks, self._options.audio_track, name)
        if self._options.rate and not self._source.is_unstamped(container):
            raise UsageError(f"{name}: has time stamps of its own; leave out --rate")
        self._video_index, self._audio_index = video.index, sound.index if sound else None
        self.audio = self._describe_sound(container, sound.index) if sound else None
        others = [track for track in tracks if want_audio or track.kind != "audio"]
        pages = self._source.further_pages() if video.codec == "tiff" else 0
        self.notes += container_notes(left_out(others, [video, sound]), len(container.chapters()), pages)
        return self._source.video_stream(container, video.index)

    def _describe_sound(self, container: InputContainer, index: int) -> AudioTrack:
        """The sound track; what each of its packets says of itself (AAC in transport streams) is said once."""
        track = track_of(_audio_stream(container, index), self._source.name)
        if track.codec == "aac" and not track.extradata:
            with self._source.open() as again:
                head = read_adts_head(_first_packet(again, index))
            self._has_adts_heads = head is not None
            track = replace(track, extradata=head.config if head else b"")
        return track

    def _measure(self, container: InputContainer, stream: VideoStream) -> Timeline:
        unstamped = self._source.is_unstamped(container)
        rates = _claimed_rates(stream, self._options.rate, unstamped)
        context = stream.codec_context
        if context.width and context.height:
            self._limits.check_format(VideoFormat(context.width, context.height, rates[0], Fraction(1)))
        if self._even:
            return even_timeline(rates[0], None if self._source.is_stream else stream.duration)
        self._scan()
        stamps = self._journal.stamps
        if not stamps.times:
            raise self._nothing_to_see(stream)
        if unstamped:
            stamps.times = [None] * len(stamps.times)
        return make_timeline(stamps, _fraction(stream.time_base) or _DEFAULT_BASE, rates, self._journal.sound_start)

    def _scan(self) -> None:
        """Decode everything once, for what the journal says then."""
        with listening() as opening:  # which of a short file is reading it to its end
            opened = self._source.open()
        with opened as container:
            video = self._source.video_stream(container, self._video_index)
            audio = None if self._audio_index is None else _audio_stream(container, self._audio_index)
            with listening() as reading:
                for _ in self._limits.counted(self._source.decode(container, video, audio, self._journal)):
                    pass
            note_complaints(self._journal, container, video, opening, reading)
            self._journal.compare_end(claimed_end(container, video), _fraction(video.time_base) or _DEFAULT_BASE)
            if video.metadata.get("alpha_mode") == "1":
                self._journal.extras["transparency"] = None

    def _nothing_to_see(self, stream: VideoStream) -> InputError:
        codec = stream.codec_context.name
        if self._journal.cut_off:
            return InputError(f"{self._source.name}: {USELESS}")
        if codec == "webp":
            return InputError(
                f"{self._source.name}: FFmpeg cannot decode animated WebP; convert it to GIF or PNG first"
            )
        if self._journal.damaged or not stream.codec_context.width:
            return InputError(
                f"{self._source.name}: none of its pictures can be decoded; it is damaged, or of a kind of {codec} "
                "that FFmpeg does not know; get it again, or convert it first"
            )
        return InputError(f"{self._source.name}: holds no video frames; give a file with pictures")

    def _check_strict(self) -> None:
        wrong = damage_notes(self._journal, len(self._timeline.repeats))
        if self._options.strict and wrong:
            raise InputError(f"{self._source.name}: {'; '.join(wrong)} (--strict refuses that)")

    @property
    def damaged_frames(self) -> int:
        """Frames that are not as they were coded, as far as the source was looked at."""
        return len(self._journal.damaged)

    @property
    def repeated_frames(self) -> int:
        """Frames that show the one before, for want of a picture of their own."""
        return len(self._timeline.repeats)

    @property
    def sound_changes(self) -> bool:
        """Whether rate or channels of the sound change midway in a way that its packets tell but `audio` cannot."""
        return len(self._journal.sound_kinds) > 1

    @property
    def cut_off(self) -> bool:
        """Whether the source ends too early; of a pipe and of Y4M, known at its end."""
        return self._journal.cut_off

    @property
    def duration_seconds(self) -> float:
        """From the first frame's start to the last one's end; of a file, for a pipe does not tell."""
        assert self.frame_count_hint is not None, "files tell how many frames they hold"
        ticks = self._timeline.at(self.frame_count_hint - 1) - self._timeline.at(0) + self.last_duration
        return float(ticks * self.format.time_base)

    def coded_bytes(self) -> int:
        """Bytes of the coded pictures, without those of the container and of other tracks."""
        if self._source.series is not None:
            return sum(file.stat().st_size for file in self._source.series if file)
        container = self._open()
        stream = self._source.video_stream(container, self._video_index)
        return sum(packet.size for packet in rebased_packets(container, [stream], Journal()))

    def frames(self) -> Iterator[Frame]:
        """Yield all frames in display order with strictly increasing time stamps.

        A file can be iterated again and again, a pipe once.

        Raises:
            InputError: with `strict`, a pipe turns out to be cut off.
            LimitError: there are more frames than allowed.
            UsageError: a pipe is iterated a second time.
        """
        return self._limits.counted(self._timed_frames())

    def _timed_frames(self) -> Iterator[Frame]:
        index, last = 0, None
        for picture in itertools.chain(self._take_pictures(), (None,)):
            while last is not None and index in self._timeline.repeats:
                yield Frame(last.y.copy(), last.u.copy(), last.v.copy(), self._timeline.at(index))
                index += 1
            if picture is None or (not self._even and index == self._timeline.frame_count):
                break  # a second pass shows no more than the first
            last = Frame(*_planes(picture, self.format), self._timeline.at(index))
            yield last
            index += 1
        if self._even and self._journal.cut_off:
            self.notes += damage_notes(self._journal, 0)
            self._check_strict()

    def _take_pictures(self) -> Iterator[av.VideoFrame]:
        pictures, self._pictures = self._pictures, None
        if pictures is None:
            if self._source.is_stream:
                raise UsageError(f"{self._source.name}: a pipe can be read only once; give a file")
            container = self._open()
            stream = self._source.video_stream(container, self._video_index)
            pictures = self._source.decode(container, stream, None, Journal())
        if self._options.deinterlace is False or not (self._options.deinterlace or self._journal.interlaced):
            return pictures
        return deinterlaced(pictures, everything=bool(self._options.deinterlace))

    def audio_packets(self) -> Iterator[AudioPacket]:
        """Yield the packets of the sound track, nothing where `audio` is None; damage ends them early."""
        if self._audio_index is not None and self.audio is not None:
            container = self._open()
            packets = read_packets(self._raw_sound(container), self.audio.time_base, self._timeline.offset)
            yield from map(_without_head, packets) if self._has_adts_heads else packets

    def decoded_audio(self) -> Iterator[av.AudioFrame]:
        """Yield the sound track decoded, with stamps on the clock of the frames; what is damaged is left out."""
        if self._audio_index is None or self.audio is None:
            return
        container = self._open()
        context = _audio_stream(container, self._audio_index).codec_context
        base = self.audio.time_base
        decode = SoundDecoder(context, base, round(self._timeline.offset / base))
        for packet in itertools.chain(self._raw_sound(container), (None,)):
            yield from decode(packet)
        if decode.lost:
            self.notes.append(f"{decode.lost} packets of sound cannot be decoded: silence instead")

    def _raw_sound(self, container: InputContainer) -> Iterator[av.Packet]:
        assert self._audio_index is not None
        # Discontinuities concern both tracks, so both have to be read.
        both = [container.streams[self._video_index], _audio_stream(container, self._audio_index)]
        packets = rebased_packets(container, both, Journal())
        foreign = self._journal.foreign_sound
        for packet in packets:
            if packet.stream.index == self._audio_index and not (foreign and mpeg_codec(bytes(packet)) in foreign):
                yield packet

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


def _fraction(value: object) -> Fraction | None:
    """Return PyAV's rational (a Fraction or its own type, by version) as a Fraction, None for an unset one."""
    if not value:
        return None
    return Fraction(value.numerator, value.denominator)  # type: ignore[attr-defined]


def _claimed_rates(stream: VideoStream, wanted: Fraction | None, unstamped: bool) -> list[Fraction]:
    """Frame rates that speak for themselves, the most trusted first; a guess is best where there are no stamps."""
    rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    if unstamped:
        header = stream.codec_context.framerate if stream.codec_context.name not in _TICK_RATED else None
        rates = [wanted, header, stream.guessed_rate, stream.average_rate]
    return [rate for rate in map(_fraction, rates) if rate] or [Fraction(25)]


def _first_packet(container: InputContainer, index: int) -> bytes:
    """The first packet of a sound track, empty where there is none that can be read."""
    try:
        packets = container.demux(_audio_stream(container, index))
        return next((bytes(packet) for packet in packets if packet.size), b"")
    except av.error.FFmpegError:
        return b""


def _without_head(packet: AudioPacket) -> AudioPacket:
    head = read_adts_head(packet.data)
    return replace(packet, data=packet.data[head.size :]) if head else packet


def _audio_stream(container: InputContainer, index: int) -> AudioStream:
    stream = container.streams[index]
    assert isinstance(stream, AudioStream)
    return stream


def _described_format(stream: VideoStream, timeline: Timeline, first: av.VideoFrame) -> VideoFormat:
    return VideoFormat(
        width=first.width,
        height=first.height,
        frame_rate=timeline.frame_rate,
        time_base=timeline.time_base,
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
