"""Subtitles and chapters of a source on their way into the file of its decoded pictures."""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer

from imfcodec.errors import InputError
from imfcodec.files import check_name
from imfcodec.video.timeline import common_start
from imfcodec.video.tracks import list_tracks

# FFmpeg's names of what each kind of file holds as it is, and of what other text becomes there.
_HELD = {
    ".mp4": frozenset({"mov_text"}),
    ".mkv": frozenset({"ass", "dvb_subtitle", "dvd_subtitle", "hdmv_pgs_subtitle", "ssa", "subrip", "webvtt"}),
}
_TEXT = frozenset({"ass", "mov_text", "ssa", "subrip", "text", "webvtt"})
_BECOMES = {".mp4": "mov_text", ".mkv": "subrip"}
_TICK = Fraction(1, 1000)

Convert = Callable[[av.Packet], av.Packet | None]


class Extras:
    """The subtitles and chapters of a file; a context manager. They lose what comes before time 0.

    Subtitles are copied; text of a kind that the target does not hold is turned into its own.

    Args:
        source: the file that was coded.
        start: seconds from the start of its stream that are left out.
    Attributes:
        notes: a line for whatever the target cannot hold, after `open`.
    Raises:
        InputError: the file cannot be read.
    """

    def __init__(self, source: str | Path, start: float | Fraction = 0) -> None:
        check_name(source)
        self._name = str(source)
        self.notes: list[str] = []
        try:
            self._container = av.open(str(source))
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"{source}: cannot be read: {error.strerror or error}") from error
        self._start = _start(self._container) + Fraction(start)
        self._streams: dict[int, Convert] = {}
        self._packets: Iterator[av.Packet] | None = None
        self._next: av.Packet | None = None

    def open(self, target: OutputContainer, suffix: str) -> None:
        """Announce everything to a target of this kind, before anything is written to it."""
        target.set_chapters([self._moved(chapter) for chapter in self._container.chapters()])
        self._streams, left = {}, []
        for track in list_tracks(self._container):
            stream: Any = self._container.streams[track.index]
            if track.kind != "subtitle":
                continue
            if track.codec in _HELD[suffix]:
                self._streams[track.index] = _copied(stream, target)
            elif track.codec in _TEXT:
                self._streams[track.index] = _converted(stream, target, _BECOMES[suffix])
            else:
                left.append(str(track))
        if left:
            self.notes.append(f"{suffix} holds no such subtitles, left out: {', '.join(left)}")

    def until(self, seconds: float) -> Iterable[av.Packet]:
        """Yield the packets that are shown before `seconds`, ready for the target."""
        if self._packets is None:
            self._packets = self._read()
            self._next = next(self._packets, None)
        while self._next is not None and _seconds(self._next) < seconds:
            yield self._next
            self._next = next(self._packets, None)

    def _read(self) -> Iterator[av.Packet]:
        streams = [self._container.streams[index] for index in self._streams]
        try:
            for packet in self._container.demux(streams) if streams else ():
                if packet.pts is None or not packet.size or not packet.time_base:
                    continue
                packet.pts -= round(self._start / packet.time_base)
                packet.dts = packet.pts
                ready = self._streams[packet.stream.index](packet) if packet.pts >= 0 else None
                if ready is not None:
                    yield ready
        except av.error.FFmpegError as error:
            raise InputError(f"{self._name}: its subtitles are damaged: {error.strerror}") from error

    def _moved(self, chapter: Any) -> Any:
        shift = round(self._start / chapter["time_base"])
        return {**chapter, "start": max(0, chapter["start"] - shift), "end": max(0, chapter["end"] - shift)}

    def __enter__(self) -> "Extras":
        return self

    def __exit__(self, *unused: object) -> None:
        self._container.close()


def _copied(stream: Any, target: OutputContainer) -> Convert:
    """Add a stream of the same kind to the target."""
    copy: Any = target.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(stream.metadata)

    def convert(packet: av.Packet) -> av.Packet:
        packet.stream = copy
        return packet

    return convert


def _converted(stream: Any, target: OutputContainer, codec: str) -> Convert:
    """Add a stream of text in another codec to the target."""
    decoder = stream.codec_context
    decoder.open(strict=False)
    other: Any = target.add_stream(codec)
    other.metadata.update(stream.metadata)
    other.codec_context.subtitle_header = decoder.subtitle_header
    other.codec_context.time_base = _TICK

    def convert(packet: av.Packet) -> av.Packet | None:
        text = decoder.decode2(packet)
        if text is None:
            return None
        coded: av.Packet = other.codec_context.encode_subtitle(text)
        coded.stream, coded.time_base = other, _TICK
        coded.pts = coded.dts = round(_seconds(packet) / _TICK)
        coded.duration = round((packet.duration or 0) * (packet.time_base or _TICK) / _TICK)
        return coded

    return convert


def _start(container: InputContainer) -> Fraction:
    """The time that has become 0 in the stream, see `timeline.common_start`."""
    starts = [
        stream.start_time * stream.time_base
        for stream in (*container.streams.video[:1], *container.streams.audio[:1])
        if stream.start_time is not None and stream.time_base
    ]
    return common_start(starts[0], starts[1] if len(starts) > 1 else None) if starts else Fraction(0)


def _seconds(packet: av.Packet) -> Fraction:
    assert packet.pts is not None and packet.time_base is not None  # `_read` has seen to it
    return packet.pts * packet.time_base
