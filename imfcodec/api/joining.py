"""Streams joined to one, every packet copied."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

from imfcodec.api.copying import check_places, moved, sound_of, sound_within, video_of, write_stream
from imfcodec.api.places import Location, open_source
from imfcodec.api.short import probe
from imfcodec.api.stats import EncodeStats
from imfcodec.bitstream.container import StreamReader, StreamSummary
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import VideoPacket
from imfcodec.errors import UsageError
from imfcodec.frames import AudioPacket
from imfcodec.limits import DEFAULT_LIMITS, Limits


def concat(
    sources: Sequence[str | Path], target: Location, *, limits: Limits = DEFAULT_LIMITS, overwrite: bool = False
) -> EncodeStats:
    """Join streams of one model, size, rate and kind of sound. Needs no model, and no quality is lost.

    Raises:
        UsageError: there is nothing to join, the streams differ in what has to be one, or the target exists.
        CorruptStreamError, LimitError, OutputError: as for `probe`.
    """
    check_places(sources, target, overwrite)
    parts: list[_Part] = []
    for source in sources:
        if (summary := probe(source, limits=limits)).total_frames:
            parts.append(_Part(source, summary, parts[-1].end if parts else 0))
    if not parts:
        raise UsageError("there are no frames to join; give streams")
    limits.check_count(sum(part.summary.total_frames for part in parts))
    for part in parts[1:]:
        _check_alike(parts[0], part)
    is_even = not any(part.summary.header.variable_rate for part in parts)
    is_even = is_even and all(part.is_nominal for part in parts[:-1])
    header = replace(parts[0].summary.header, first_pts=0, variable_rate=not is_even)
    packets = chain.from_iterable(part.packets() for part in parts)
    last = parts[-1].summary.last_duration
    return write_stream(header, packets, _sound(parts), lambda: last, target, overwrite)


@dataclass(frozen=True)
class _Part:
    """One of the streams, and the tick at which it begins in the whole."""

    source: str | Path
    summary: StreamSummary
    start: int

    @property
    def end(self) -> int:
        """The tick at which the next one begins."""
        return self.start + round(Fraction(self.summary.duration_seconds) / self.summary.header.format.time_base)

    @property
    def is_nominal(self) -> bool:
        """Whether its last frame is shown as long as the others."""
        return self.summary.last_duration == self.summary.header.nominal_ticks

    @property
    def shift(self) -> int:
        """Ticks by which it moves."""
        return self.start - self.summary.header.first_pts

    def packets(self) -> Iterator[VideoPacket]:
        """Its packets of frames at their times in the whole."""
        with open_source(self.source) as file:
            yield from moved(video_of(StreamReader(file)), self.shift)


def _sound(parts: Sequence[_Part]) -> Iterator[AudioPacket]:
    """The sound of all parts at its times in the whole; of what overlaps, the earlier part is heard."""
    header = parts[0].summary.header
    if header.audio is None:
        return
    ticks = header.format.time_base / header.audio.time_base
    end = float("-inf")
    for part in parts:
        for packet in sound_within(sound_of(part.source), float("-inf"), float("inf"), round(part.shift * ticks)):
            if packet.pts >= end:
                yield packet
                end = packet.pts + packet.duration


def _check_alike(first: _Part, other: _Part) -> None:
    """UsageError where streams differ in what has to be one in a stream."""
    for (name, one), (_, another) in zip(_essence(first.summary.header), _essence(other.summary.header), strict=True):
        if one != another:
            raise UsageError(
                f"{other.source}: {name} is {another}, that of {first.source} is {one}; only streams that agree join"
            )


def _essence(header: StreamHeader) -> list[tuple[str, object]]:
    video, audio = header.format, header.audio
    return [
        ("the model", header.model_id.hex()),
        ("the size", f"{video.width}x{video.height}"),
        ("the shown size", header.shown_size),
        ("the frame rate", str(video.frame_rate)),
        ("the time base", str(video.time_base)),
        ("the distance of frames", str(header.frame_ticks)),
        ("the shape of pixels", str(video.sample_aspect)),
        ("the rotation", video.rotation),
        ("the colour", video.colour),
        ("the sound", audio and f"{audio.codec}, {audio.sample_rate} Hz, {audio.channels} channels"),
        ("the sound", audio),
    ]
