"""Packets to frames. Sees the file's bytes and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import PacketKind, VideoPacket
from imfcodec.codec.chunks import read_chunk, runs
from imfcodec.codec.concealment import blank_frame
from imfcodec.codec.groups import Group
from imfcodec.codec.losses import LossDecoder
from imfcodec.codec.moving import TorchMover
from imfcodec.codec.planes import padded_size, to_frames
from imfcodec.codec.quantisers import to_qindices
from imfcodec.errors import CorruptStreamError
from imfcodec.frames import Frame
from imfcodec.latents.symbols import SymbolReader
from imfcodec.models.executor import Executor, Known, Observer, Qindices
from imfcodec.models.structure import Level, golden_levels, plan
from imfcodec.nn.picture import Picture
from imfcodec.zoo import LoadedModel


class Decoder(LossDecoder[Known]):
    """Decodes one video.

    Args:
        observe: is told the bits of every step, see `models.executor.Observer`.
        conceal: as of `LossDecoder`.
    """

    def __init__(
        self, model: LoadedModel, header: StreamHeader, observe: Observer | None = None, *, conceal: bool = False
    ) -> None:
        self.model = model
        self._observe = observe
        self._width, self._height = header.format.width, header.format.height
        width, height = padded_size(self._width, self._height)
        luma = torch.zeros(1, 1, height, width, device=model.device)
        self._like = Picture(luma, luma.new_zeros(1, 2, height // 2, width // 2))
        super().__init__(TorchMover(model), blank_frame(self._width, self._height), conceal=conceal)

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
