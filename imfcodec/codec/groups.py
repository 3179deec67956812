"""What encoder and decoder remember of a group of frames from one packet to the next."""

from dataclasses import dataclass

import torch

from imfcodec.bitstream.packet import Quantisers
from imfcodec.models.executor import Executor, Known, Qindices
from imfcodec.models.structure import Chunk


@dataclass
class Group:
    """The frames that later ones may build on.

    Attributes:
        known: the anchor at 0, and in low delay the token frames since.
        before: how many those are.
        intact: no frame that a later one may build on was lost.
    """

    known: dict[int, Known]
    before: int = 0
    intact: bool = True

    @classmethod
    def open(cls, key: Known) -> "Group":
        """The group that a key frame opens."""
        return cls({0: key})

    def lose(self, frames: int | None, *, golden: bool) -> None:
        """Go on after a loss: what follows is predicted from the anchor before it.

        Args:
            frames: how many were lost, None if unknown.
            golden: one of them was, or may have been, a golden frame.
        """
        self.known = {0: self.known[0]}
        self.before = 0 if golden else self.before + (frames or 0)
        self.intact = self.intact and not golden

    def pass_over(self, executor: Executor, chunk: Chunk) -> None:
        """Go on after a chunk that was coded; a golden frame at its end becomes the anchor, and the rest is let go."""
        self.before += chunk.length
        if chunk.golden:
            self.known, self.before = {0: executor.advance(self.known[self.before])}, 0


def to_qindices(quantisers: Quantisers, device: torch.device) -> Qindices:
    """A packet's quantiser indices for a batch of one."""
    return Qindices(
        *(torch.tensor([value], device=device) for value in (quantisers.golden, quantisers.deeper, quantisers.token))
    )
