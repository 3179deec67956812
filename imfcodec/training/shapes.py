"""Which frames of a group are coded, and how: drawn once a step, for all samples alike."""

from dataclasses import dataclass

import numpy as np

from imfcodec.models.structure import Chunk, Level, Step, needed, plan, undecided
from imfcodec.training.dataset import GroupShape


@dataclass(frozen=True)
class ChunkShape(GroupShape):
    """A key frame, a golden frame `lead` later (the anchor), and part of the chunk that follows it.

    Attributes:
        lead: frames from the key frame to the anchor; 0 makes the key frame the anchor.
        chunk: that follows the anchor.
        levels: the part of the chunk's plan that is coded.
    """

    lead: int
    chunk: Chunk
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, lead: int, chunk: Chunk, levels: list[Level]) -> "ChunkShape":
        """The shape with the offsets that follow from its parts."""
        ends = {0, lead} | {lead + step.position for level in levels for step in level}
        return cls(tuple(sorted(ends)), lead, chunk, tuple(levels))


@dataclass(frozen=True)
class PairShape(GroupShape):
    """Original references at both ends of `span` frames and a target between them (one reference: after the first).

    Attributes:
        span: frames between the references.
        target: how the target is coded.
    """

    span: int
    target: Step


def draw_chunk(generator: np.random.Generator, length: int, split_chance: float) -> Chunk:
    """A chunk of `length` frames whose intervals are each split with the same chance."""
    chunk = Chunk(length, True)
    while intervals := undecided(chunk):
        flags = tuple(bool(flag) for flag in generator.random(len(intervals)) < split_chance)
        chunk = Chunk(length, True, (*chunk.splits, *flags))
    return chunk


def draw_part(generator: np.random.Generator, chunk: Chunk) -> list[Level]:
    """What a random frame of a chunk depends on: its path through the tree, with one or more levels of each kind."""
    levels = plan(chunk)
    deepest = levels[-1]
    step = deepest[int(generator.integers(len(deepest)))]
    return needed(levels, step.position)
