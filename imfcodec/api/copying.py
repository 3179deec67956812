"""Packets on their way from stream to stream, as they are but for their times."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import takewhile
from math import inf
from pathlib import Path

from imfcodec.api.places import Location, open_sink, open_source
from imfcodec.api.sound import Sound
from imfcodec.api.stats import EncodeStats, Meter
from imfcodec.bitstream.container import StreamReader, StreamWriter, find_group
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import AudioBatch, VideoPacket
from imfcodec.files import check_distinct, check_target
from imfcodec.frames import AudioPacket

Ticks = float | Fraction


def check_places(sources: Iterable[str | Path | None], target: Location, overwrite: bool) -> None:
    """UsageError unless the target can be written, and is none of the sources."""
    check_distinct(sources, [target])
    if isinstance(target, str | Path):
        check_target(target, overwrite=overwrite)


def video_of(reader: StreamReader) -> Iterator[VideoPacket]:
    """Packets of frames; errors as for a strict `StreamReader`."""
    return (item for item in reader if isinstance(item, VideoPacket))


def sound_of(source: str | Path, start_pts: int | None = None) -> Iterator[AudioPacket]:
    """Packets of sound of a file, without those before the group that holds `start_pts`."""
    with open_source(source) as file:
        reader = StreamReader(file)
        if start_pts is not None and (group := find_group(file, reader.header, start_pts)):
            reader.seek(group)
        for item in reader:
            if isinstance(item, AudioBatch):
                yield from item.packets


def sound_within(packets: Iterable[AudioPacket], start: Ticks, stop: Ticks, ticks: int) -> Iterator[AudioPacket]:
    """Those of sorted packets that begin from `start` on and before `stop`, in ticks, moved by some ticks."""
    for packet in takewhile(lambda packet: packet.pts < stop, packets):
        if packet.pts >= start:
            yield replace(packet, pts=packet.pts + ticks)


def moved(packets: Iterable[VideoPacket], ticks: int) -> Iterator[VideoPacket]:
    """Packets some ticks later."""
    return (replace(packet, pts=tuple(pts + ticks for pts in packet.pts)) for packet in packets)


def write_stream(
    header: StreamHeader,
    packets: Iterable[VideoPacket],
    sound: Iterable[AudioPacket],
    last_duration: Callable[[], int | None],
    target: Location,
    overwrite: bool,
) -> EncodeStats:
    """Write packets as a stream; where its rate is constant they get the times of their numbers.

    Args:
        last_duration: is asked after the last packet.
    """
    meter, waiting = Meter(header.format, None), Sound(header.audio, sound)
    with open_sink(target, overwrite) as sink:
        writer = StreamWriter(sink, header)
        for packet in packets:
            if not header.variable_rate:
                packet = replace(packet, pts=header.pts_from(writer.total_frames, packet.frame_count))
            writer.write_video(packet)
            meter.add(packet.pts)
            waiting.write(writer, meter.end_seconds)
        waiting.write(writer, inf)
        meter.end(last_duration())
        writer.close(last_duration=last_duration())
    sizes = dict(writer.bytes_by_kind)
    return EncodeStats(meter.frames, meter.duration_seconds, sum(sizes.values()), sizes, meter.elapsed_seconds)
