"""What encoder and decoder remember of a group of frames from one packet to the next. Needs no torch."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from imfcodec.bitstream.packet import DELAY_KINDS, LostPacket, PacketKind
from imfcodec.models.structure import Chunk

Known = TypeVar("Known")


class Advances(Protocol[Known]):
    """An executor of plans."""

    def advance(self, known: Known) -> Known:
        """A golden frame as the anchor of what follows."""


@dataclass
class Group(Generic[Known]):
    """The frames that later ones may build on.

    Attributes:
        known: the anchor at 0, and in low delay the token frames since.
        before: how many those are.
        intact: no frame that a later one may build on was lost.
        missing: frames lost since the last packet whose kinds nobody knows; None for no loss.
    """

    known: dict[int, Known]
    before: int = 0
    intact: bool = True
    missing: int | None = None

    @classmethod
    def open(cls, key: Known) -> "Group[Known]":
        """The group that a key frame opens."""
        return cls({0: key})

    def lose(self, packet: LostPacket) -> None:
        """Go on after a loss: what follows is predicted from the anchor before it."""
        if packet.frame_count == 0:
            return
        if packet.kind is None:
            self.missing = (self.missing or 0) + (packet.frame_count or 0)
        else:
            self._drop(packet.frame_count or 0, golden=packet.kind is not PacketKind.DELAY_TOKEN)

    def settle(self, kind: PacketKind, period: int) -> None:
        """Decide what frames of unknown kinds were, now that a packet comes after them.

        Args:
            kind: of that packet; one of low delay counts them in its distance from the anchor.
            period: frames from golden frame to golden frame in low delay, 0 where that is unknown.
        """
        if self.missing is None:
            return
        frames = self.before + self.missing
        if kind not in DELAY_KINDS or (period and frames >= period):
            self._drop(0, golden=True)
            self.before = frames % period if kind in DELAY_KINDS else 0
        else:
            self._drop(self.missing, golden=False)
        self.missing = None

    def take_usual_place(self, kind: PacketKind, period: int) -> bool:
        """Put a golden frame of low delay that cannot be decoded at the usual distance from its anchor.

        Its symbols depend on the distance, which is wrong where more or less was lost than was thought.

        Args:
            kind, period: as of `settle`.
        Returns:
            Whether that is another distance than before, and worth a try.
        """
        if kind is not PacketKind.DELAY_GOLDEN or period in (0, self.before + 1):
            return False
        self.before = period - 1
        return True

    def _drop(self, frames: int, *, golden: bool) -> None:
        """Let go of lost frames, if one of them was, or may have been, a golden frame of all that came before."""
        self.known = {0: self.known[0]}
        self.before = 0 if golden else self.before + frames
        self.intact = self.intact and not golden

    def pass_over(self, executor: Advances[Known], chunk: Chunk) -> None:
        """Go on after a chunk that was coded; a golden frame at its end becomes the anchor, and the rest is let go."""
        self.before += chunk.length
        if chunk.golden:
            self.known, self.before = {0: executor.advance(self.known[self.before])}, 0
