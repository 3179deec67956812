"""Packets to frames. Sees the file's bytes and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import LostPacket, PacketKind, VideoPacket
from imfcodec.codec.chunks import read_chunk, runs
from imfcodec.codec.concealment import Concealment, Shown
from imfcodec.codec.groups import Group
from imfcodec.codec.planes import padded_size, to_frames
from imfcodec.codec.quantisers import to_qindices
from imfcodec.errors import CorruptStreamError
from imfcodec.frames import Frame
from imfcodec.latents.symbols import SymbolReader
from imfcodec.models.executor import Executor, Known, Observer, Qindices
from imfcodec.models.structure import Level, golden_levels, plan
from imfcodec.nn.picture import Picture
from imfcodec.zoo import LoadedModel


class Decoder:
    """Decodes one video.

    Args:
        observe: is told the bits of every step, see `models.executor.Observer`.
        conceal: go on after payloads that cannot be decoded; lost packets are covered in any case.

    Attributes:
        concealed_frames: frames made up for lost ones or predicted from such, so far.
    """

    def __init__(
        self, model: LoadedModel, header: StreamHeader, observe: Observer | None = None, *, conceal: bool = False
    ) -> None:
        self.model = model
        self._observe, self._conceals = observe, conceal
        self.concealed_frames = 0
        self._width, self._height = header.format.width, header.format.height
        width, height = padded_size(self._width, self._height)
        luma = torch.zeros(1, 1, height, width, device=model.device)
        self._like = Picture(luma, luma.new_zeros(1, 2, height // 2, width // 2))
        self._group: Group[Known] | None = None
        self._period = 0  # distance of the last golden frame of low delay from its anchor

    def decode(self, packets: Iterator[VideoPacket | LostPacket]) -> Iterator[Frame]:
        """Yield frames in display order.

        A lost packet costs its own frames, which `codec.concealment` makes up. What builds on them is predicted from
        the last good reference and counts as concealed until the next key frame.

        Raises:
            CorruptStreamError: a packet that cannot follow the ones before it, or a payload no encoder writes.
        """
        blank = to_frames(self._like, self._width, self._height, [0])[0]
        for frame in Concealment(self.model, blank).fill(_rising(self._shown(packets))):
            self.concealed_frames += frame.concealed
            yield frame

    def _shown(self, packets: Iterator[VideoPacket | LostPacket]) -> Iterator[Shown]:
        for packet in packets:
            if isinstance(packet, LostPacket):
                yield from self._lose(packet)
            elif self._conceals:
                yield from self._try_packet(packet)
            else:
                yield from self._decode_packet(packet)

    def _try_packet(self, packet: VideoPacket) -> Iterator[Shown]:
        """Decode a packet, or lose it where that fails, before or midway."""
        done = 0
        try:
            for frame in self._decode_packet(packet):
                done += 1
                yield frame
        except CorruptStreamError as error:
            if self._group is not None and self._group.take_usual_place(packet.kind, self._period):
                yield from self._try_packet(packet)
                return
            rest = packet.pts[done:]
            yield from self._lose(LostPacket(packet.kind, len(rest), str(error), rest))

    def _lose(self, packet: LostPacket) -> Iterator[int]:
        if self._group is not None:
            self._group.lose(packet)
        yield from packet.pts

    def _decode_packet(self, packet: VideoPacket) -> Iterator[Frame]:
        pictures = self._pictures(packet)
        for time in packet.pts:
            with torch.inference_mode(), self.model.autocast():
                frame = to_frames(next(pictures), self._width, self._height, [time])[0]
            assert self._group is not None, "a packet that was decoded belongs to a group"
            yield frame if self._group.intact else replace(frame, concealed=True)

    def _pictures(self, packet: VideoPacket) -> Iterator[Picture]:
        check = packet.kind is not PacketKind.DELAY_TOKEN
        reader = SymbolReader(self.model.tables, packet.payload, count=self._observe is not None, check=check)
        executor = Executor(self.model.network, reader, self._observe)
        if packet.kind is PacketKind.KEY:
            known = executor.key(torch.tensor([packet.key_qindex], device=self.model.device), self._like, None)
            reader.range.finish()
            self._group = Group.open(known)
            yield _picture(known)
        else:
            yield from self._chunk(packet, reader, executor)

    def _chunk(self, packet: VideoPacket, reader: SymbolReader, executor: Executor) -> Iterator[Picture]:
        group = self._group
        if group is None:
            raise CorruptStreamError("the stream does not start with a key frame; copy it again from its start")
        group.settle(packet.kind, self._period)
        chunk = read_chunk(packet, group.before, reader)
        if not chunk.golden and group.before not in group.known:
            raise CorruptStreamError("a token frame builds on one that was lost; decode with concealment")
        qindices, known, levels = to_qindices(packet.quantisers, self.model.device), group.known, plan(chunk)
        for level in levels:
            executor.run(level, known, qindices, None)
        reader.range.finish()
        if packet.kind is PacketKind.DELAY_GOLDEN:
            self._period = chunk.before + 1
        group.pass_over(executor, chunk)
        yield from shown(levels, known, qindices, executor)

    @torch.inference_mode()
    def pass_over(self, packet: VideoPacket) -> None:
        """Take from a packet what later ones build on, and make no frames of it; errors as for `decode`."""
        with self.model.autocast():
            if not packet.golden or self._group is None:
                next(self._pictures(packet))
                return
            group, reader = self._group, SymbolReader(self.model.tables, packet.payload)
            executor, qindices = Executor(self.model.network, reader), to_qindices(packet.quantisers, self.model.device)
            chunk = read_chunk(packet, group.before, reader)
            for level in golden_levels(chunk):
                executor.run(level, group.known, qindices, None)
            group.pass_over(executor, chunk)


def _rising(shown: Iterator[Shown]) -> Iterator[Shown]:
    """Leave out what is not later than everything before: a damaged frame count may have covered too many."""
    latest: int | None = None
    for item in shown:
        pts = item.pts if isinstance(item, Frame) else item
        if latest is None or pts > latest:
            latest = pts
            yield item


def shown(
    levels: Sequence[Level], known: Mapping[int, Known], qindices: Qindices, executor: Executor
) -> Iterator[Picture]:
    """The pictures of a chunk whose levels are known, in display order."""
    steps = {step.position: step for level in levels for step in level}
    for run in runs([steps[position] for position in sorted(steps)]):
        if run[0].latent:
            yield from (_picture(known[step.position]) for step in run)
        else:
            yield from executor.render(run, known, qindices)


def _picture(known: Known) -> Picture:
    assert known.reference is not None, "key and golden frames have a picture"
    return known.reference.picture
