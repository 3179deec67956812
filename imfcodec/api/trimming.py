"""A part of a stream as a stream: packets are copied, and only what a cut splits is encoded again."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from math import ceil, inf
from pathlib import Path
from typing import BinaryIO

from imfcodec.api.copying import check_places, moved, sound_of, sound_within, video_of, write_stream
from imfcodec.api.decoder import Decoder, Seconds, exact
from imfcodec.api.model import Model, as_model
from imfcodec.api.places import Location, open_source
from imfcodec.api.stats import EncodeStats
from imfcodec.bitstream.container import StreamReader, find_group
from imfcodec.bitstream.packet import DELAY_KINDS, PacketKind, VideoPacket
from imfcodec.codec.settings import EncoderSettings
from imfcodec.errors import UsageError
from imfcodec.frames import AudioPacket
from imfcodec.limits import DEFAULT_LIMITS, Limits


def trim(
    source: str | Path,
    target: Location,
    *,
    start: Seconds = 0,
    stop: Seconds | None = None,
    model: Model | str | Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    overwrite: bool = False,
) -> EncodeStats:
    """Cut a part out of a stream. A model is needed only where a cut splits a group or a chunk.

    A part that begins inside a group has its frames up to the next group encoded again, with their quantisers; one
    that ends inside a chunk, the frames of that chunk. All other packets are copied.

    Args:
        source: a file.
        start: seconds; the first frame shown then or later is the first one, at 0.
        stop: seconds on the clock of the source; frames shown then or later are left out.
        model: as for `Decoder`.
    Raises:
        UsageError: the part is empty, or the target exists.
        CorruptStreamError, LimitError, ModelError, OutputError: as for `decode`.
    """
    held = as_model(model)
    check_places([source, held.file], target, overwrite)
    if start < 0 or (stop is not None and stop <= start):
        raise UsageError(
            f"a part from {float(start):g} seconds on is empty or before the stream; start at 0, end later"
        )
    with open_source(source) as file:
        part = _Part(source, file, start, stop, held, limits)
        packets = part.packets()
        first = next(packets, None)
        if first is None:
            raise UsageError(f"{source}: has ended before {float(start):g} seconds; start earlier")
        shift = -first.pts[0]
        header = replace(part.header, first_pts=0)
        copied = moved(chain((first,), packets), shift)
        return write_stream(header, copied, part.sound(shift), part.last_duration, target, overwrite)


class _Part:
    """The packets of a part.

    Attributes:
        header: of the whole stream.
        start, stop: in ticks; frames from `start` on and before `stop` belong to the part.
        is_from_start: whether nothing is cut off before it.
    """

    def __init__(
        self, source: str | Path, file: BinaryIO, start: Seconds, stop: Seconds | None, model: Model, limits: Limits
    ) -> None:
        self._source, self._model, self._limits = source, model, limits
        self._reader = StreamReader(file)
        self.header = self._reader.header
        limits.check_format(self.header.format)
        base = self.header.format.time_base
        self.start, self.stop = ceil(exact(start) / base), None if stop is None else ceil(exact(stop) / base)
        if group := find_group(file, self.header, self.start):
            self._reader.seek(group)
        self.is_from_start = group is None and start == 0
        self._latest: int | None = None

    def sound(self, shift: int) -> Iterator[AudioPacket]:
        """The sound that plays with the frames, which move by `shift` ticks."""
        if self.header.audio is None:
            return iter(())
        ticks = self.header.format.time_base / self.header.audio.time_base
        begin = -inf if self.is_from_start else -shift * ticks
        end = inf if self.stop is None else self.stop * ticks
        return sound_within(sound_of(self._source, self.start), begin, end, round(shift * ticks))

    def last_duration(self) -> int | None:
        """Ticks the last frame is shown, after the last packet; None stands for one frame."""
        is_cut = self.stop is not None and (self._latest is None or self._latest >= self.stop)
        return None if is_cut else self._reader.last_duration

    def packets(self) -> Iterator[VideoPacket]:
        """Those of the part, with their times in the whole stream."""
        packets = self._read()
        key = next(packets, None)
        if key is not None and key.pts[0] < self.start:
            following, coming = next(packets, None), None
            kind = following.kind if following else PacketKind.CHUNK
            coming = next((packet for packet in chain([following], packets) if packet and _opens(packet)), None)
            if coming or (self._latest or 0) >= self.start:
                yield from self._encode_again(key, kind, self.start, coming.pts[0] if coming else None)
            key = coming
        if key is not None:
            yield from self._copy(key, packets)

    def _read(self) -> Iterator[VideoPacket]:
        for packet in video_of(self._reader):
            self._latest = packet.pts[-1]
            yield packet

    def _copy(self, key: VideoPacket, packets: Iterator[VideoPacket]) -> Iterator[VideoPacket]:
        for packet in chain((key,), packets):
            key = packet if _opens(packet) else key
            if self.stop is None or packet.pts[-1] < self.stop:
                yield packet
                continue
            if packet.pts[0] < self.stop:
                yield from self._encode_again(key, packet.kind, packet.pts[0], None)
            return

    def _encode_again(self, key: VideoPacket, kind: PacketKind, start: int, stop: int | None) -> Iterator[VideoPacket]:
        """Decode the frames from `start` on and before `stop`, or the end of the part, and encode them as they were."""
        from imfcodec.codec.encoder import Encoder, operating_point

        stops = [at for at in (stop, self.stop) if at is not None]
        base = self.header.format.time_base
        settings = EncoderSettings(structure="low-delay" if kind in DELAY_KINDS else "offline")
        point = replace(operating_point(settings), key=key.key_qindex, quantisers=key.quantisers)
        with Decoder(self._source, model=self._model, native=True, limits=self._limits) as frames:
            frames.seek(start * base, min(stops) * base if stops else None)
            encoder = Encoder(self._model.load(self.header.model_id), settings, point)
            yield from self._model.paced(encoder.encode(frames))


def _opens(packet: VideoPacket) -> bool:
    """Whether a packet opens a group."""
    return packet.kind is PacketKind.KEY
