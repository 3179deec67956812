"""Packets to frames where some are lost, whatever computes the pictures. Needs no torch."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic

from imfcodec.bitstream.packet import LostPacket, VideoPacket
from imfcodec.codec.concealment import Concealment, Mover, Shown
from imfcodec.codec.groups import Group, Known
from imfcodec.errors import CorruptStreamError
from imfcodec.frames import Frame


class LossDecoder(ABC, Generic[Known]):
    """A decoder that covers lost packets; what computes pictures is derived from it.

    Args:
        move: makes up lost frames between good ones.
        blank: what is shown where no frame at all can be decoded.
        conceal: go on after payloads that cannot be decoded; lost packets are covered in any case.

    Attributes:
        concealed_frames: frames made up for lost ones or predicted from such, so far.
    """

    def __init__(self, move: Mover, blank: Frame, *, conceal: bool) -> None:
        self.concealed_frames = 0
        self._move, self._blank, self._conceals = move, blank, conceal
        self._group: Group[Known] | None = None
        self._period = 0  # distance of the last golden frame of low delay from its anchor

    def decode(self, packets: Iterator[VideoPacket | LostPacket]) -> Iterator[Frame]:
        """Yield frames in display order.

        A lost packet costs its own frames, which `codec.concealment` makes up. What builds on them is predicted from
        the last good reference and counts as concealed until the next key frame.

        Raises:
            CorruptStreamError: a packet that cannot follow the ones before it, or a payload no encoder writes.
        """
        for frame in Concealment(self._move, self._blank).fill(self._shown(packets)):
            self.concealed_frames += frame.concealed
            yield frame

    @abstractmethod
    def _decode_packet(self, packet: VideoPacket) -> Iterator[Frame]:
        """The frames of a packet, those marked as concealed that build on lost ones; errors as for `decode`."""

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
