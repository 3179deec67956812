"""Packets to frames with an exported model; imports no torch."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import LostPacket, PacketKind, VideoPacket
from imfcodec.codec.chunks import read_chunk, runs
from imfcodec.codec.groups import Group
from imfcodec.errors import CorruptStreamError, ModelError
from imfcodec.frames import Frame, Plane
from imfcodec.light.executor import Known, LightExecutor, Picture
from imfcodec.light.model import Array, LightModel
from imfcodec.models.structure import golden_levels, plan

ALIGNMENT = 64  # the networks work on multiples of this many luma pixels
GREY = 128


class LightDecoder:
    """Decodes one video; `codec.decoder.Decoder` with an exported model.

    Args:
        conceal: repeat the frame before where one cannot be decoded, instead of raising an error.

    Attributes:
        concealed_frames: frames made up for lost ones, or built on such, so far.

    Raises:
        ModelError: the stream was made with another model.
    """

    def __init__(self, model: LightModel, header: StreamHeader, *, conceal: bool = False) -> None:
        if model.model_id != header.model_id:
            wanted, given = header.model_id.hex(), model.model_id.hex()
            raise ModelError(f"the stream was made with model {wanted}, not with the exported one ({given})")
        self.model = model
        self.concealed_frames = 0
        self._conceals = conceal
        self._width, self._height = header.format.width, header.format.height
        self._padded = [-(-side // ALIGNMENT) * ALIGNMENT for side in (self._width, self._height)]
        self._group: Group[Known] | None = None
        self._period = 0  # distance of the last golden frame of low delay from its anchor
        self._last: Frame | None = None

    def decode(self, packets: Iterator[VideoPacket | LostPacket]) -> Iterator[Frame]:
        """Yield frames in display order.

        Raises:
            CorruptStreamError: a packet that cannot follow the ones before it, or a payload no encoder writes.
        """
        latest: int | None = None
        for frame in self._frames(packets):
            if latest is None or frame.pts > latest:  # a damaged frame count may have covered too many
                latest = frame.pts
                yield frame

    def pass_over(self, packet: VideoPacket) -> None:
        """Take from a packet what later ones build on, and make no frames of it; errors as for `decode`."""
        if not packet.golden or self._group is None:
            next(self._pictures(packet))
            return
        executor, group = LightExecutor(self.model, packet, *self._padded), self._group
        chunk = read_chunk(packet, group.before, executor)
        for level in golden_levels(chunk):
            executor.run(level, group.known, packet.quantisers)
        group.pass_over(executor, chunk)

    def _frames(self, packets: Iterator[VideoPacket | LostPacket]) -> Iterator[Frame]:
        for packet in packets:
            if isinstance(packet, LostPacket):
                yield from self._lose(packet)
            else:
                yield from self._try_packet(packet)

    def _try_packet(self, packet: VideoPacket) -> Iterator[Frame]:
        done = 0
        try:
            for time, picture in zip(packet.pts, self._pictures(packet), strict=True):
                done += 1
                intact = self._group is not None and self._group.intact
                self._last = replace(self._frame(picture, time), concealed=not intact)
                self.concealed_frames += self._last.concealed
                yield self._last
        except CorruptStreamError as error:
            if not self._conceals:
                raise
            if self._group is not None and self._group.take_usual_place(packet.kind, self._period):
                yield from self._try_packet(packet)
                return
            rest = packet.pts[done:]
            yield from self._lose(LostPacket(packet.kind, len(rest), str(error), rest))

    def _lose(self, packet: LostPacket) -> Iterator[Frame]:
        """Repeat the last frame; what follows is predicted from the anchor before."""
        if self._group is not None:
            self._group.lose(packet)
        last = self._last or self._grey()
        for time in packet.pts:
            self.concealed_frames += 1
            yield replace(last, pts=time, concealed=True)

    def _grey(self) -> Frame:
        luma = np.full((self._height, self._width), GREY, np.uint8)
        chroma = np.full(((self._height + 1) // 2, (self._width + 1) // 2), GREY, np.uint8)
        return Frame(luma, chroma, chroma, 0)

    def _pictures(self, packet: VideoPacket) -> Iterator[Picture]:
        executor = LightExecutor(self.model, packet, *self._padded)
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

    def _frame(self, picture: Picture, pts: int) -> Frame:
        luma = _samples(picture.luma[0, 0, : self._height, : self._width])
        chroma = _samples(picture.chroma[0, :, : (self._height + 1) // 2, : (self._width + 1) // 2])
        return Frame(luma, chroma[0], chroma[1], pts)


def _samples(plane: Array) -> Plane:
    return np.rint((plane + 0.5) * 255).clip(0, 255).astype(np.uint8)


def _picture(known: Known) -> Picture:
    assert known.reference is not None, "key and golden frames have a picture"
    return known.reference.picture
