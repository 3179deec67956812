"""What may be asked for instead of a quality, and the passes over a video that reach it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from imfcodec.codec.choices import Choice, Choices
from imfcodec.codec.control import LOG_RATE_SLOPE, MAX_QUALITY, Accounted, DialSearch, Feedback, Ledger, Steady
from imfcodec.errors import UsageError
from imfcodec.frames import VideoFormat

DECIBELS_SLOPE = 0.15  # dB by which PSNR grows with each unit of quality, before anything is measured
SAME_CHOICES = 12.0  # so far apart in quality, passes take the same decisions about the order of frames
TRIES = 6
MIDDLE_QUALITY = 40.0
TALKING_HEAD = 1500.0  # bits a second of 256x256 at 25 Hz and quality 0


@dataclass(frozen=True)
class Kind:
    """One kind of target.

    Attributes:
        option: how the user calls it.
        low, high: range of its values.
        unit: of its values.
        tolerance: how far off is still as asked for: a share of the value for rates, else in its unit.
    """

    option: str
    low: float
    high: float
    unit: str
    tolerance: float

    @property
    def is_rate(self) -> bool:
        """Whether bytes are what counts, not likeness."""
        return self.unit in ("bit/s", "bytes")


KINDS = {
    "bitrate": Kind("--bitrate", 100, 1e9, "bit/s", 0.025),
    "size": Kind("--target-size", 100, 1e12, "bytes", 0.025),
    "psnr": Kind("--target-psnr", 10, 60, "dB", 0.15),
    "ssim": Kind("--target-ssim", 0.1, 0.999, "", 0.004),
    "xpsnr": Kind("--target-xpsnr", 10, 70, "dB", 0.15),
    "vmaf": Kind("--target-vmaf", 1, 100, "", 0.5),
}


@dataclass(frozen=True)
class Target:
    """What is asked for.

    Attributes:
        name: one of `KINDS`.
        value: in its unit.
    Raises:
        UsageError: the value is out of range.
    """

    name: str
    value: float

    def __post_init__(self) -> None:
        if not self.kind.low <= self.value <= self.kind.high:
            low, high = (_plain(bound) for bound in (self.kind.low, self.kind.high))
            raise UsageError(
                f"{self.kind.option} {_plain(self.value)} is not within {low}..{high} {self.kind.unit}".rstrip()
            )

    @property
    def kind(self) -> Kind:
        """What kind of target it is."""
        return KINDS[self.name]

    def of(self, byte_count: int, seconds: float) -> float:
        """So many bytes of so many seconds, in the unit of a rate."""
        return byte_count * 8 / seconds if self.name == "bitrate" else float(byte_count)

    def describe(self, value: float) -> str:
        """A value in words."""
        if self.name == "bitrate":
            return f"{value / 1000:.2f} kbit/s"
        if self.name == "size":
            return f"{value:.0f} bytes"
        return f"{self.name.upper()} {value:.{3 if self.name == 'ssim' else 2}f}" + f" {self.kind.unit}".rstrip()


def _plain(value: float) -> str:
    return f"{value:.15g}"


class Result(Protocol):
    """What a pass over a video came to."""

    @property
    def byte_count(self) -> int:
        """Of the whole stream."""
        ...

    @property
    def sound_bytes(self) -> int:
        """Those of them that are sound, which no quality changes."""
        ...

    @property
    def duration_seconds(self) -> float:
        """Playing time."""
        ...

    @property
    def likeness(self) -> float | None:
        """Mean of the figure asked for; None where that is a rate."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What the packets took."""
        ...

    @property
    def choices(self) -> Sequence[Choice]:
        """What was decided about the order of frames."""
        ...


RunPass = Callable[[Accounted, Choices | None], Result]
"""Codes the video once; without choices, on the quick with a fixed order of frames, only to see what it takes."""


class Outcome(NamedTuple):
    """What the passes came to.

    Attributes:
        result: the pass that comes nearest.
        passes: how many there were.
        miss: a line about a target out of reach; empty if it is reached.
    """

    result: Result
    passes: int
    miss: str


def value_of(target: Target, result: Result) -> float:
    """What a pass reached, in the unit of the target."""
    if target.kind.is_rate:
        return target.of(result.byte_count, result.duration_seconds)
    assert result.likeness is not None, "passes measure what a target asks for"
    return result.likeness


class Aim:
    """Runs passes over one video until one comes as close to the target as asked for.

    Scouts come first: passes at little effort, to learn about where the quality must be. The first real pass takes its
    own decisions about the order of frames, and so does any that is far from it in quality. The others take them over,
    which makes them several times as fast, and rates are met by feedback within the pass.

    Args:
        run: codes the video once.
        start: quality to begin with.
        scouts: how many scouts may be sent.
    """

    def __init__(self, target: Target, run: RunPass, start: float, scouts: int = 0) -> None:
        self._target, self._run = target, run
        self._slope = LOG_RATE_SLOPE if target.kind.is_rate else DECIBELS_SLOPE
        if scouts:
            start = self._scout(start, scouts)
        self._search = DialSearch(0.0, self._tolerance(), self._slope, start, TRIES)
        self._decided: tuple[float, Sequence[Choice]] | None = None
        self._last: Result | None = None
        self._passes = 0

    def _scout(self, start: float, scouts: int) -> float:
        search = DialSearch(0.0, SAME_CHOICES / 2 * self._slope, self._slope, start, scouts)
        while (quality := search.propose()) is not None:
            search.learn(quality, self._distance(self._run(Steady(quality), None)))
        return search.estimate

    def reach(self) -> Outcome:
        """Run the passes."""
        best: Result | None = None
        while (quality := self._search.propose()) is not None:
            result = self._pass(quality)
            if best is None or abs(self._distance(result)) < abs(self._distance(best)):
                best = result
        assert best is not None, "a search begins with a proposal"
        return Outcome(best, self._passes, self._miss(best))

    def _pass(self, quality: float) -> Result:
        decided = self._decided
        taken_over = decided[1] if decided and abs(decided[0] - quality) <= SAME_CHOICES else None
        control = self._control(quality)
        result = self._last = self._run(control, Choices(taken_over))
        if taken_over is None:
            self._decided = result.ledger.mean_quality, result.choices
        self._search.learn(result.ledger.mean_quality, self._distance(result))
        self._passes += 1
        return result

    def _control(self, quality: float) -> Accounted:
        last = self._last
        if last and self._target.kind.is_rate and abs(last.ledger.mean_quality - quality) <= Feedback.REACH:
            budget = self._goal_bytes(last) - (last.byte_count - last.ledger.total)
            if budget > 0:
                return Feedback(last.ledger, budget, self._search.slope)
        return Steady(quality)

    def _goal_bytes(self, result: Result) -> float:
        value = self._target.value
        return value if self._target.name == "size" else value * result.duration_seconds / 8

    def _distance(self, result: Result) -> float:
        """How far above the target a pass is, in the measure of the search: logarithm of the rate, or dB."""
        if self._target.kind.is_rate:
            wanted = max(1.0, self._goal_bytes(result) - result.sound_bytes)
            return math.log((result.byte_count - result.sound_bytes) / wanted)
        return self._scale(value_of(self._target, result)) - self._scale(self._target.value)

    def _scale(self, value: float) -> float:
        """A likeness as decibels, in which it grows about evenly with quality."""
        return -10 * math.log10(max(1e-6, 1 - value)) if self._target.name == "ssim" else value

    def _tolerance(self) -> float:
        tolerance = self._target.kind.tolerance
        if self._target.kind.is_rate:
            return math.log1p(tolerance)
        return self._scale(self._target.value) - self._scale(self._target.value - tolerance)

    def _miss(self, result: Result) -> str:
        if self._search.found:
            return ""
        target, reached = self._target, value_of(self._target, result)
        asked, got = target.describe(target.value), target.describe(reached)
        sound = target.of(result.sound_bytes, result.duration_seconds) if reached > target.value else 0.0
        hint = sound_hint(target, sound)
        if result.ledger.mean_quality in (0.0, MAX_QUALITY):
            bound = "the least" if reached > target.value else "the most"
            return f"{asked} is out of reach: {got} is {bound} for this video{hint}"
        return f"{asked} is not met exactly: the nearest is {got}{hint}"


def sound_hint(target: Target, sound: float) -> str:
    """What brings a rate down, where sound takes most of what is asked for; else empty. `sound` is as the target is."""
    if not target.kind.is_rate or sound <= target.value / 2:
        return ""
    return f"; {target.describe(sound)} of it is sound, made smaller by --audio opus:RATE, left out by --audio none"


def guess(target: Target, video: VideoFormat) -> float:
    """A quality to begin with, by what talking heads take."""
    if target.name != "bitrate":
        return MIDDLE_QUALITY
    share = video.width * video.height / 256**2
    usual = TALKING_HEAD * share**0.75 * (float(video.frame_rate) / 25) ** 0.5
    return min(MAX_QUALITY, max(0.0, math.log(target.value / usual) / LOG_RATE_SLOPE))
