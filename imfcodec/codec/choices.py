"""What an encoder decided about the order of frames, kept for another pass over the same frames."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """What was decided for one packet.

    Attributes:
        length: its frames.
        opens: it is a key frame.
        splits: which intervals have a golden frame in the middle, see `models.structure.Chunk`.
    """

    length: int
    opens: bool
    splits: tuple[bool, ...] = ()


class Choices:
    """The decisions of a pass: notes them, and hands out those of an earlier one where there is one.

    Args:
        earlier: decisions to be taken over, one for each packet.
    Attributes:
        made: the decisions of this pass so far.
    """

    def __init__(self, earlier: Sequence[Choice] | None = None) -> None:
        self._earlier = earlier
        self.made: list[Choice] = []

    @property
    def coming(self) -> Choice | None:
        """What was decided for the next packet; None where that is to be decided now."""
        if self._earlier is None or len(self.made) >= len(self._earlier):
            return None
        return self._earlier[len(self.made)]

    def note(self, choice: Choice) -> None:
        """Enter the decision for a packet that is done."""
        self.made.append(choice)
