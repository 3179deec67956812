"""Packets to frames with an exported model; imports no torch."""

from collections.abc import Iterator
from dataclasses import replace

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import PacketKind, VideoPacket
from imfcodec.codec.chunks import read_chunk, runs
from imfcodec.codec.concealment import blank_frame
from imfcodec.codec.groups import Group
from imfcodec.codec.losses import LossDecoder
from imfcodec.entropy.coder import RangeDecoder
from imfcodec.errors import CorruptStreamError, ModelError
from imfcodec.frames import Frame
from imfcodec.light.executor import Known, LightExecutor, Picture
from imfcodec.light.model import LightModel
from imfcodec.light.moving import LightMover
from imfcodec.light.planes import padded_size, to_frame
from imfcodec.models.structure import golden_levels, plan


class LightDecoder(LossDecoder[Known]):
    """Decodes one video; `codec.decoder.Decoder` with an exported model.

    Args:
        conceal: as of `LossDecoder`.

    Raises:
        ModelError: the stream was made with another model; while decoding, frames are lost and the model was exported
            before there was what moves them.
    """

    def __init__(self, model: LightModel, header: StreamHeader, *, conceal: bool = False) -> None:
        if model.model_id != header.model_id:
            wanted, given = header.model_id.hex(), model.model_id.hex()
            raise ModelError(f"the stream was made with model {wanted}, not with the exported one ({given})")
        self.model = model
        self._width, self._height = header.format.width, header.format.height
        self._padded = padded_size(self._width, self._height)
        super().__init__(LightMover(model), blank_frame(self._width, self._height), conceal=conceal)

    def pass_over(self, packet: VideoPacket) -> None:
        """Take from a packet what later ones build on, and make no frames of it; errors as for `decode`."""
        if not packet.golden or self._group is None:
            next(self._pictures(packet))
            return
        executor, group = self._open(packet), self._group
        chunk = read_chunk(packet, group.before, executor)
        for level in golden_levels(chunk):
            executor.run(level, group.known, packet.quantisers)
        group.pass_over(executor, chunk)

    def _decode_packet(self, packet: VideoPacket) -> Iterator[Frame]:
        for time, picture in zip(packet.pts, self._pictures(packet), strict=True):
            assert self._group is not None, "a packet that was decoded belongs to a group"
            frame = to_frame(picture, self._width, self._height, time)
            yield frame if self._group.intact else replace(frame, concealed=True)

    def _open(self, packet: VideoPacket) -> LightExecutor:
        check = packet.kind is not PacketKind.DELAY_TOKEN
        return LightExecutor(self.model, RangeDecoder(packet.payload, check=check), *self._padded)

    def _pictures(self, packet: VideoPacket) -> Iterator[Picture]:
        executor = self._open(packet)
        if packet.kind is not PacketKind.KEY:
            yield from self._chunk(packet, executor)
            return
        known = executor.key(packet.key_qindex)
        executor.range.finish()
        self._group = Group.open(known)
        yield _picture(known)

    def _chunk(self, packet: VideoPacket, executor: LightExecutor) -> Iterator[Picture]:
        group = self._group
        if group is None:
            raise CorruptStreamError("the stream does not start with a key frame; copy it again from its start")
        group.settle(packet.kind, self._period)
        chunk = read_chunk(packet, group.before, executor)
        if not chunk.golden and group.before not in group.known:
            raise CorruptStreamError("a token frame builds on one that was lost; decode with concealment")
        known, levels = group.known, plan(chunk)
        for level in levels:
            executor.run(level, known, packet.quantisers)
        executor.range.finish()
        if packet.kind is PacketKind.DELAY_GOLDEN:
            self._period = chunk.before + 1
        group.pass_over(executor, chunk)
        steps = sorted((step for level in levels for step in level), key=lambda step: step.position)
        for run in runs(steps):
            if run[0].latent:
                yield from (_picture(known[step.position]) for step in run)
            else:
                yield from executor.render(run, known, packet.quantisers)


def _picture(known: Known) -> Picture:
    assert known.reference is not None, "key and golden frames have a picture"
    return known.reference.picture
