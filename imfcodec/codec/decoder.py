"""Packets to frames. Sees the file's bytes and nothing else."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import LostPacket, PacketKind, VideoPacket
from imfcodec.codec.chunks import read_chunk, runs
from imfcodec.codec.groups import Group, to_qindices
from imfcodec.codec.planes import padded_size, to_frames
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

    Attributes:
        concealed_frames: frames made up for lost ones, so far.
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
        self._group: Group | None = None
        self._last: Frame | None = None

    def decode(self, packets: Iterator[VideoPacket | LostPacket]) -> Iterator[Frame]:
        """Yield frames in display order.

        A lost packet costs its own frames: the last good frame is repeated. What builds on them is predicted from the
        last good reference and counts as concealed until the next key frame.

        Raises:
            CorruptStreamError: a packet that cannot follow the ones before it, or a payload no encoder writes.
        """
        latest: int | None = None
        for frame in self._frames(packets):
            if latest is None or frame.pts > latest:  # a damaged frame count may have covered too many
                latest = frame.pts
                yield frame

    def _frames(self, packets: Iterator[VideoPacket | LostPacket]) -> Iterator[Frame]:
        for packet in packets:
            if isinstance(packet, LostPacket):
                yield from self._lose(packet.pts, golden=packet.kind is not PacketKind.DELAY_TOKEN)
            elif packet.kind is not PacketKind.KEY and self._group is None:
                if self._last is None and not self.concealed_frames:
                    raise CorruptStreamError("the stream does not start with a key frame; copy it again from its start")
                yield from self._conceal(packet.pts)
            else:
                yield from self._try_packet(packet)

    def _try_packet(self, packet: VideoPacket) -> Iterator[Frame]:
        """Decode a packet; where that fails, conceal it if that is asked for."""
        done = 0
        try:
            for frame in self._decode_packet(packet):
                done += 1
                yield frame
        except CorruptStreamError:
            if not self._conceals:
                raise
            yield from self._lose(packet.pts[done:], golden=packet.kind is not PacketKind.DELAY_TOKEN)

    def _lose(self, pts: Sequence[int], *, golden: bool) -> Iterator[Frame]:
        if pts and self._group is not None:
            self._group.lose(len(pts), golden=golden)
        yield from self._conceal(pts)

    def _conceal(self, pts: Sequence[int]) -> Iterator[Frame]:
        if self._last is None:
            self._last = to_frames(self._like, self._width, self._height, [0])[0]
        for time in pts:
            self.concealed_frames += 1
            yield Frame(self._last.y, self._last.u, self._last.v, time)

    def _decode_packet(self, packet: VideoPacket) -> Iterator[Frame]:
        pictures = self._pictures(packet)
        for time in packet.pts:
            with torch.inference_mode(), self.model.autocast():
                frame = to_frames(next(pictures), self._width, self._height, [time])[0]
            self._last = frame
            assert self._group is not None, "a packet that was decoded belongs to a group"
            self.concealed_frames += not self._group.intact
            yield frame

    def _pictures(self, packet: VideoPacket) -> Iterator[Picture]:
        reader = SymbolReader(self.model.tables, packet.payload, count=self._observe is not None)
        executor = Executor(self.model.network, reader, self._observe)
        if packet.kind is PacketKind.KEY:
            known = executor.key(torch.tensor([packet.key_qindex], device=self.model.device), self._like, None)
            reader.range.check()
            self._group = Group.open(known)
            yield _picture(known)
        else:
            yield from self._chunk(packet, reader, executor)

    def _chunk(self, packet: VideoPacket, reader: SymbolReader, executor: Executor) -> Iterator[Picture]:
        group = self._group
        assert group is not None, "checked by decode"
        chunk = read_chunk(packet, group.before, reader)
        if not chunk.golden and group.before not in group.known:
            raise CorruptStreamError("a token frame builds on one that was lost; decode with concealment")
        qindices, known, levels = to_qindices(packet.quantisers, self.model.device), group.known, plan(chunk)
        for level in levels:
            executor.run(level, known, qindices, None)
        if packet.kind is not PacketKind.DELAY_TOKEN:
            reader.range.check()
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
