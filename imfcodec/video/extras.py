"""Subtitles and chapters of a source on their way into the file of its decoded pictures."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer

from imfcodec.errors import InputError
from imfcodec.files import check_name
from imfcodec.video.timeline import common_start
from imfcodec.video.tracks import list_tracks

# FFmpeg's names of what each kind of file holds as it is.
_HELD = {
    ".mp4": frozenset({"mov_text"}),
    ".mkv": frozenset({"ass", "dvb_subtitle", "dvd_subtitle", "hdmv_pgs_subtitle", "ssa", "subrip", "webvtt"}),
}


class Extras:
    """The subtitles and chapters of a file; a context manager. They are copied, and lose what comes before time 0.

    Args:
        source: the file that was coded.
    Attributes:
        notes: a line for whatever the target cannot hold, after `open`.
    Raises:
        InputError: the file cannot be read.
    """

    def __init__(self, source: str | Path) -> None:
        check_name(source)
        self._name = str(source)
        self.notes: list[str] = []
        try:
            self._container = av.open(str(source))
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"{source}: cannot be read: {error.strerror or error}") from error
        self._start = _start(self._container)
        self._packets: Iterator[av.Packet] = iter(())
        self._next: av.Packet | None = None

    def open(self, target: OutputContainer, suffix: str) -> None:
        """Announce everything to a target of this kind, before anything is written to it."""
        target.set_chapters([self._moved(chapter) for chapter in self._container.chapters()])
        held, left = {}, []
        for track in list_tracks(self._container):
            if track.kind != "subtitle":
                continue
            stream = self._container.streams[track.index]
            if track.codec not in _HELD[suffix]:
                left.append(str(track))
                continue
            copy = target.add_stream_from_template(stream, opaque=True)  # type: ignore[call-overload]
            copy.metadata.update(stream.metadata)
            held[track.index] = copy
        if left:
            self.notes.append(f"{suffix} holds no such subtitles, left out: {', '.join(left)}")
        if held:
            self._packets = self._read(held)
            self._next = next(self._packets, None)

    def until(self, seconds: float) -> Iterable[av.Packet]:
        """Yield the packets that are shown before `seconds`, ready for the target."""
        while self._next is not None and _seconds(self._next) < seconds:
            yield self._next
            self._next = next(self._packets, None)

    def _read(self, held: dict[int, Any]) -> Iterator[av.Packet]:
        streams = [self._container.streams[index] for index in held]
        try:
            for packet in self._container.demux(streams):
                if packet.pts is None or not packet.size or not packet.time_base:
                    continue
                packet.pts -= round(self._start / packet.time_base)
                packet.dts = packet.pts
                packet.stream = held[packet.stream.index]
                if packet.pts >= 0:
                    yield packet
        except av.error.FFmpegError as error:
            raise InputError(f"{self._name}: its subtitles are damaged: {error.strerror}") from error

    def _moved(self, chapter: Any) -> Any:
        shift = round(self._start / chapter["time_base"])
        return {**chapter, "start": max(0, chapter["start"] - shift), "end": max(0, chapter["end"] - shift)}

    def __enter__(self) -> "Extras":
        return self

    def __exit__(self, *unused: object) -> None:
        self._container.close()


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
