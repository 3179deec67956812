"""Packets to frames with an exported model; imports no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import LostPacket, PacketKind, VideoPacket
from imfcodec.codec.chunks import read_chunk, runs
from imfcodec.errors import CorruptStreamError, ModelError
from imfcodec.frames import Frame, Plane
from imfcodec.light.executor import Known, LightExecutor, Picture
from imfcodec.light.model import Array, LightModel
from imfcodec.models.structure import Chunk, golden_levels, plan

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
        self._known: dict[int, Known] = {}  # the anchor at 0, and in low delay the token frames since
        self._before = 0  # how many those are
        self._intact = True
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
        if not packet.golden or not self._known:
            next(self._pictures(packet))
            return
        executor = LightExecutor(self.model, packet, *self._padded)
        chunk = read_chunk(packet, self._before, executor)
        for level in golden_levels(chunk):
            executor.run(level, self._known, packet.quantisers)
        self._go_on(executor, chunk)

    def _frames(self, packets: Iterator[VideoPacket | LostPacket]) -> Iterator[Frame]:
        for packet in packets:
            if isinstance(packet, LostPacket):
                yield from self._lose(packet.kind, packet.pts)
            else:
                yield from self._try_packet(packet)

    def _try_packet(self, packet: VideoPacket) -> Iterator[Frame]:
        done = 0
        try:
            for time, picture in zip(packet.pts, self._pictures(packet), strict=True):
                done += 1
                self._last = replace(self._frame(picture, time), concealed=not self._intact)
                self.concealed_frames += self._last.concealed
                yield self._last
        except CorruptStreamError:
            if not self._conceals:
                raise
            yield from self._lose(packet.kind, packet.pts[done:])

    def _lose(self, kind: PacketKind | None, pts: Sequence[int]) -> Iterator[Frame]:
        """Repeat the last frame; what follows is predicted from the anchor before."""
        if pts and self._known:
            golden = kind is not PacketKind.DELAY_TOKEN
            self._known = {0: self._known[0]}
            self._before = 0 if golden else self._before + len(pts)
            self._intact = self._intact and not golden
        last = self._last or self._grey()
        for time in pts:
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
        self._known, self._before, self._intact = {0: known}, 0, True
        yield _picture(known)

    def _chunk(self, packet: VideoPacket, executor: LightExecutor) -> Iterator[Picture]:
        if not self._known:
            raise CorruptStreamError("the stream does not start with a key frame; copy it again from its start")
        chunk = read_chunk(packet, self._before, executor)
        if not chunk.golden and self._before not in self._known:
            raise CorruptStreamError("a token frame builds on one that was lost; decode with concealment")
        known, levels = self._known, plan(chunk)
        for level in levels:
            executor.run(level, known, packet.quantisers)
        executor.range.finish()
        self._go_on(executor, chunk)
        steps = sorted((step for level in levels for step in level), key=lambda step: step.position)
        for run in runs(steps):
            if run[0].latent:
                yield from (_picture(known[step.position]) for step in run)
            else:
                yield from executor.render(run, known, packet.quantisers)

    def _go_on(self, executor: LightExecutor, chunk: Chunk) -> None:
        """Go on after a chunk; a golden frame at its end becomes the anchor."""
        self._before += chunk.length
        if chunk.golden:
            self._known, self._before = {0: executor.advance(self._known[self._before])}, 0

    def _frame(self, picture: Picture, pts: int) -> Frame:
        luma = _samples(picture.luma[0, 0, : self._height, : self._width])
        chroma = _samples(picture.chroma[0, :, : (self._height + 1) // 2, : (self._width + 1) // 2])
        return Frame(luma, chroma[0], chroma[1], pts)


def _samples(plane: Array) -> Plane:
    return np.rint((plane + 0.5) * 255).clip(0, 255).astype(np.uint8)


def _picture(known: Known) -> Picture:
    assert known.reference is not None, "key and golden frames have a picture"
    return known.reference.picture
