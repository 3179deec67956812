"""What is shown for lost frames, whatever computes the pictures. Needs no torch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from imfcodec.bitstream.packet import Quantisers
from imfcodec.frames import Frame
from imfcodec.models.structure import Step, token_levels

GREY = 128
LONGEST_MOVE = 64  # frames; over more of them nobody can tell what moved, and a hostile stream would make them dear
QUANTISERS = Quantisers(golden=100, deeper=0, token=100)
"""Those at which motion between two pictures is found and rendered."""

Shown = Frame | int
"""A frame, or the time stamp of one that is lost."""


class Mover(Protocol):
    """Makes pictures between two others: their motion is found as an encoder finds it, and `moving_steps` rendered."""

    def __call__(self, before: Frame, after: Frame, stamps: Sequence[int]) -> Iterator[Frame]:
        """Frames with these time stamps, evenly spread from the one to the other."""
        ...


def moving_steps(count: int) -> list[Step]:
    """Token frames between two good ones, at 0 and `count` + 1, in display order."""
    levels = token_levels([(0, count + 1)])
    return sorted((step for level in levels for step in level), key=lambda step: step.position)


def blank_frame(width: int, height: int) -> Frame:
    """What is shown where no frame at all can be decoded: grey."""
    chroma = np.full(((height + 1) // 2, (width + 1) // 2), GREY, np.uint8)
    return Frame(np.full((height, width), GREY, np.uint8), chroma, chroma, 0)


class Concealment:
    """Makes up lost frames.

    They wait for the next good frame and are moved from the good one before to it. At the end, and where more than
    `LONGEST_MOVE` frames are lost in a row, the last good frame is repeated; at the start the first good one.

    Args:
        blank: what is shown where there is none.
    """

    def __init__(self, move: Mover, blank: Frame) -> None:
        self._move, self._blank = move, blank
        self._before: Frame | None = None
        self._lost: list[int] = []

    def fill(self, shown: Iterable[Shown]) -> Iterator[Frame]:
        """Yield every frame in display order, those that are made up marked as concealed.

        What is not later than everything before is left out: a damaged frame count may have covered too many.
        """
        for item in _rising(shown):
            if isinstance(item, Frame):
                yield from self._bridge(item)
                yield item
                self._before = item
            else:
                self._lost.append(item)
                if len(self._lost) > LONGEST_MOVE and self._before is not None:
                    yield from self._repeat(self._before)
        yield from self._repeat(self._before or self._blank)

    def _bridge(self, after: Frame) -> Iterator[Frame]:
        """The lost frames up to a good one."""
        if not self._lost or self._before is None:
            yield from self._repeat(after)
            return
        lost, self._lost = self._lost, []
        for frame in self._move(self._before, after, lost):
            yield replace(frame, concealed=True)

    def _repeat(self, frame: Frame) -> Iterator[Frame]:
        lost, self._lost = self._lost, []
        for pts in lost:
            yield replace(frame, pts=pts, concealed=True)


def _rising(shown: Iterable[Shown]) -> Iterator[Shown]:
    latest: int | None = None
    for item in shown:
        pts = item.pts if isinstance(item, Frame) else item
        if latest is None or pts > latest:
            latest = pts
            yield item
