"""The order in which frames are coded, as data: what is predicted from what, and where each token's neighbours lie.

Positions count frames after the anchor, the reference frame that the packets before have left. Encoder, decoder and
training run the same plans (`models.executor`); nothing else knows the order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from imfcodec.models.roles import Role

END_LEVEL, PAST_LEVEL = 0, 1
MAX_LEVEL = 7

GROUP_PIXELS = 8 * 256 * 256
"""Luma pixels that go through the network at a time. The golden frames of a level are coded in groups of so many, at
least one: part of the format."""

MOTION_CHANNELS = 2
"""The first channels of u displace a frame to the anchor, so neighbours in time tell about them; what the others say
concerns the frame's own references."""

Interval = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """One frame to be coded.

    Attributes:
        position: frames after the anchor, from 1.
        role: GOLDEN or TOKEN.
        references: positions of the one or two frames it is predicted from, in display order (0 is the anchor).
        neighbours: positions of the one or two tokens that its own is guessed from, in display order.
        level: what its token's tables know of the distance of the neighbours, 0..7.
        latent: whether y follows the token, and the frame serves as reference: golden frames.
        depth: of a golden frame: 0 at the end of a chunk, then by halving.
    """

    position: int
    role: Role
    references: tuple[int, ...]
    neighbours: tuple[int, ...]
    level: int
    latent: bool
    depth: int = 0

    @property
    def span(self) -> int:
        """Frames between the references, with a single one from it to the frame."""
        return self.references[1] - self.references[0] if len(self.references) == 2 else self.position

    @property
    def place(self) -> float:
        """Where the frame lies between its references, 0..1; 0 with a single one."""
        return _share(self.position, self.references)

    @property
    def fraction(self) -> float:
        """Where the frame lies between its neighbours, 0..1; 0 with a single one."""
        return _share(self.position, self.neighbours)


Level = tuple[Step, ...]
"""Steps of one role that depend on earlier levels alone, left to right."""


@dataclass(frozen=True)
class Chunk:
    """Frames that are coded together.

    Attributes:
        length: frames, at least 1.
        golden: the last one is a golden frame; otherwise all are token frames predicted from the past.
        splits: whether each interval between two golden frames has a golden frame in its middle, by depth, left to
            right; intervals without a frame between have no entry. May end early while an encoder decides.
        before: frames since the anchor that were coded before, in low delay.
    """

    length: int
    golden: bool
    splits: tuple[bool, ...] = ()
    before: int = 0


def plan(chunk: Chunk) -> list[Level]:
    """The levels of a chunk in coding order: golden frames by depth, then token frames by halving.

    Intervals whose `splits` entry is missing count as not split.
    """
    if not chunk.golden:
        return [(_after(chunk.before + i + 1, Role.TOKEN, chunk.before + i),) for i in range(chunk.length)]
    goldens, leaves, _ = _halve(chunk)
    return [(_end(chunk),), *goldens, *token_levels(leaves)]


def golden_levels(chunk: Chunk) -> list[Level]:
    """Those levels of `plan` that are golden frames, in a chunk that ends with one."""
    return [(_end(chunk),), *_halve(chunk)[0]]


def undecided(chunk: Chunk) -> list[Interval]:
    """The intervals whose entries in `splits` come next; none when it is complete."""
    return _halve(chunk)[2]


def _end(chunk: Chunk) -> Step:
    """The golden frame that ends a chunk: predicted from the anchor, guessed from no motion."""
    return _after(chunk.before + chunk.length, Role.GOLDEN, 0)


def _after(position: int, role: Role, neighbour: int) -> Step:
    golden = role is Role.GOLDEN
    return Step(position, role, (0,), (neighbour,), END_LEVEL if golden else PAST_LEVEL, golden)


def _halve(chunk: Chunk) -> tuple[list[Level], list[Interval], list[Interval]]:
    """Golden frames by depth, intervals that are not split, and intervals of the first depth that is not decided."""
    decisions = iter(chunk.splits)
    intervals: list[Interval] = [(0, chunk.length)] if chunk.golden and chunk.before == 0 else []
    levels: list[Level] = []
    leaves: list[Interval] = []
    while intervals := [interval for interval in intervals if interval[1] - interval[0] > 1]:
        known = [next(decisions, None) for _ in intervals]
        if None in known:
            return levels, leaves + intervals, intervals
        split = [interval for interval, flag in zip(intervals, known, strict=True) if flag]
        leaves += [interval for interval, flag in zip(intervals, known, strict=True) if not flag]
        if split:
            levels.append(tuple(golden_between(interval, len(levels) + 1) for interval in split))
        intervals = [half for interval in split for half in halves(interval)]
    return levels, sorted(leaves), []


def golden_between(interval: Interval, depth: int) -> Step:
    """The golden frame in the middle of an interval."""
    return _middle(interval, interval, Role.GOLDEN, depth)


def token_levels(leaves: Sequence[Interval]) -> list[Level]:
    """Token frames between golden ones: the middles of all intervals first, then those of their halves."""
    levels: list[Level] = []
    nested = [(leaf, leaf) for leaf in sorted(leaves)]
    while nested := [(leaf, part) for leaf, part in nested if part[1] - part[0] > 1]:
        levels.append(tuple(_middle(leaf, part, Role.TOKEN) for leaf, part in nested))
        nested = [(leaf, half) for leaf, part in nested for half in halves(part)]
    return levels


def _middle(references: Interval, neighbours: Interval, role: Role, depth: int = 0) -> Step:
    position = sum(neighbours) // 2
    return Step(position, role, references, neighbours, interval_level(neighbours), role is Role.GOLDEN, depth)


def interval_level(neighbours: Interval) -> int:
    """Level of a token whose neighbours lie that far apart: 2 for 2 frames, 3 for 3-4, 4 for 5-8, ..."""
    return min(MAX_LEVEL, 1 + (neighbours[1] - neighbours[0] - 1).bit_length())


def halves(interval: Interval) -> tuple[Interval, Interval]:
    """What an interval is split into."""
    left, right = interval
    return (left, (left + right) // 2), ((left + right) // 2, right)


def _share(position: int, ends: tuple[int, ...]) -> float:
    return (position - ends[0]) / (ends[1] - ends[0]) if len(ends) == 2 else 0.0


def needed(levels: list[Level], position: int) -> list[Level]:
    """The part of a plan that the frame at `position` depends on, itself included."""
    steps = {step.position: step for level in levels for step in level}
    wanted, waiting = set(), [position]
    while waiting:
        step = steps.get(waiting.pop())
        if step is not None and step.position not in wanted:
            wanted.add(step.position)
            waiting += [*step.references, *step.neighbours]
    kept = (tuple(step for step in level if step.position in wanted) for level in levels)
    return [level for level in kept if level]
