"""Which frames of a group are coded, and from which references: drawn once a step, for all samples alike."""

from dataclasses import dataclass

import numpy as np

from imfcodec.models.structure import TokenPlace
from imfcodec.training.dataset import GroupShape

LOW_DELAY_REACH = 3  # a low-delay frame is drawn this soon after the anchor


@dataclass(frozen=True)
class ChunkShape(GroupShape):
    """A key frame, a golden frame `span` later (the anchor), and what follows it.

    Attributes:
        span: frames between golden frames.
        places: token frames after the anchor, in coding order.
        low_delay: they are predicted from the past alone; else a second golden frame lies `span` after the anchor.
        refine: token frames have y.
    """

    span: int
    places: tuple[TokenPlace, ...]
    low_delay: bool
    refine: bool

    @classmethod
    def of(cls, span: int, places: tuple[TokenPlace, ...], low_delay: bool, refine: bool) -> "ChunkShape":
        """The shape with the offsets that follow from its parts."""
        ends = {0, span} if low_delay else {0, span, 2 * span}
        offsets = tuple(sorted(ends | {span + place.position for place in places}))
        return cls(offsets, span, places, low_delay, refine)


@dataclass(frozen=True)
class PairShape(GroupShape):
    """Original references at both ends of `span` frames and a target between them (one reference: after the first).

    Attributes:
        span: frames between the references.
        position: of the target.
    """

    span: int
    position: int


def dyadic_places(generator: np.random.Generator, span: int, depth: int) -> tuple[TokenPlace, ...]:
    """One place a level, each beside the one before, at random on either side."""
    places: list[TokenPlace] = []
    left, right = 0, span
    while len(places) < depth and right - left > 1:
        middle = (left + right) // 2
        places.append(TokenPlace(middle, left, right))
        left, right = (left, middle) if generator.random() < 0.5 else (middle, right)
    return tuple(places)


def delay_places(generator: np.random.Generator) -> tuple[TokenPlace, ...]:
    """A low-delay frame soon after the anchor and the next one."""
    first = int(generator.integers(1, LOW_DELAY_REACH + 1))
    return TokenPlace(first, 0, 0), TokenPlace(first + 1, first, first)
