"""The order in which a group's frames are coded, and where each token's neighbours lie."""

from dataclasses import dataclass

LOW_DELAY_LEVEL = 1
MAX_LEVEL = 7


@dataclass(frozen=True)
class TokenPlace:
    """One token of a chunk.

    Attributes:
        position: frames after the anchor, from 1.
        left, right: positions of its two coded neighbours (0 is the anchor).
    """

    position: int
    left: int
    right: int

    @property
    def fraction(self) -> float:
        """How far from the left to the right neighbour the token lies."""
        return (self.position - self.left) / (self.right - self.left)


def dyadic_levels(length: int) -> list[list[TokenPlace]]:
    """The tokens between an anchor at 0 and a golden frame at `length`, middle first, level by level.

    Tokens of one level depend only on earlier levels.
    """
    levels, intervals = [], [(0, length)]
    while intervals := [(left, right) for left, right in intervals if right - left > 1]:
        level = [TokenPlace((left + right) // 2, left, right) for left, right in intervals]
        levels.append(level)
        intervals = [pair for t in level for pair in ((t.left, t.position), (t.position, t.right))]
    return levels


def interval_level(interval: int) -> int:
    """Level of a token whose neighbours lie `interval` frames apart: 2 for 2, 3 for 3-4, 4 for 5-8, ..."""
    return min(MAX_LEVEL, 1 + (interval - 1).bit_length())
