"""Constant or variable frame rate: what the time stamps of a whole video say.

Containers round time stamps (Matroska to milliseconds), so thirty frames a second may read 0, 33, 67, 100. Such
a video has a constant rate all the same. `RateMeter` finds that out in one pass with bounded memory; the
resulting `Timing` moves every frame back to its exact place.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

# Frames leave a decoder in another order than their packets came; no codec reorders further than this.
_REORDER_DEPTH = 64
# From this many ticks a frame on, one tick off is rounding; below, it would be a real change of rate.
_MIN_TICKS_TO_ROUND = 4
# Ticks a second at least, where a new time base has to be made: fine enough to keep the offset to the sound.
_MIN_TICK_RATE = 10_000

_FALLBACK_RATE = Fraction(25)


@dataclass(frozen=True)
class Timing:
    """Where the frames of one video lie in time.

    Attributes:
        frame_rate: frames per second; the mean rate where `variable`.
        time_base: seconds per tick of the placed time stamps.
        variable: False when frame n lies at first + n * `ticks_per_frame`.
        frame_count: number of frames, None where unknown.
        source_base: seconds per tick of the time stamps in the file; None where the file has none.
        source_first: first time stamp in the file, in ticks of `source_base`.
    """

    frame_rate: Fraction
    time_base: Fraction
    variable: bool
    frame_count: int | None
    source_base: Fraction | None = None
    source_first: int = 0

    @property
    def ticks_per_frame(self) -> int:
        """Ticks of `time_base` from one frame to the next, rounded where the rate varies."""
        return max(1, round(1 / (self.frame_rate * self.time_base)))

    def place(self, source_pts: int | None, index: int) -> int:
        """Return the time stamp, in ticks of `time_base`, of frame `index` that the file stamps `source_pts`."""
        if self.source_base is None:
            return index * self.ticks_per_frame
        if source_pts is None:
            return self._first + index * self.ticks_per_frame
        if self.variable:
            return source_pts
        elapsed = (source_pts - self.source_first) * self.source_base
        return self._first + round(elapsed * self.frame_rate) * self.ticks_per_frame

    @property
    def _first(self) -> int:
        return 0 if self.source_base is None else round(self.source_first * self.source_base / self.time_base)


def unstamped(frame_rate: Fraction, frame_count: int | None) -> Timing:
    """Timing of a video without time stamps (Y4M, raw): one tick a frame from zero on."""
    return Timing(frame_rate, 1 / frame_rate, False, frame_count)


class RateMeter:
    """Finds out from time stamps, in any nearly sorted order, whether the frame rate is constant.

    Args:
        time_base: seconds per tick of the time stamps.
        rates: frame rates the container claims, the most trusted first.
    """

    def __init__(self, time_base: Fraction, rates: Iterable[Fraction]) -> None:
        self._time_base = time_base
        self._claimed = list(dict.fromkeys(rate for rate in rates if rate > 0))
        self._alive = list(self._claimed)
        self._heap: list[int] = []
        self._unstamped = False
        self._count = 0
        self._sorted = 0
        self._first = 0
        self._last = 0

    def add(self, pts: int | None) -> None:
        """Take the time stamp of one more frame, None where the file gives none."""
        self._count += 1
        if pts is None:
            self._unstamped = True
        elif not self._unstamped:
            heapq.heappush(self._heap, pts)
            if len(self._heap) > _REORDER_DEPTH:
                self._take(heapq.heappop(self._heap))

    def timing(self) -> Timing:
        """Return what the time stamps added so far say; the meter is spent afterwards."""
        if self._unstamped:
            return unstamped(self._claimed[0] if self._claimed else _FALLBACK_RATE, self._count)
        while self._heap:
            self._take(heapq.heappop(self._heap))
        if self._alive or self._sorted < 2:
            return self._constant(self._alive[0] if self._alive else _FALLBACK_RATE)
        return Timing(self._mean_rate(), self._time_base, True, self._count, self._time_base, self._first)

    def _take(self, pts: int) -> None:
        if self._sorted == 0:
            self._first = pts
        elif self._sorted == 1 and pts > self._first:
            self._alive.append(1 / ((pts - self._first) * self._time_base))
        self._alive = [rate for rate in self._alive if self._fits(rate, pts)]
        self._last = pts
        self._sorted += 1

    def _fits(self, rate: Fraction, pts: int) -> bool:
        step = 1 / (rate * self._time_base)
        tolerance = 1 if step >= _MIN_TICKS_TO_ROUND else 0
        error = (pts - self._first) * step.denominator - self._sorted * step.numerator
        return abs(error) <= tolerance * step.denominator

    def _mean_rate(self) -> Fraction:
        span = (self._last - self._first) * self._time_base
        if span <= 0:
            return _FALLBACK_RATE
        return ((self._sorted - 1) / span).limit_denominator(1001) or _FALLBACK_RATE

    def _constant(self, rate: Fraction) -> Timing:
        base = self._time_base
        if (1 / (rate * base)).denominator != 1:
            base = Fraction(1, rate.numerator * -(-_MIN_TICK_RATE // rate.numerator))
        return Timing(rate, base, False, self._count, self._time_base, self._first)
