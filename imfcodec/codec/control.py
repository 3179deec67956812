"""From the rate, size or quality asked for to a quality of the dial: the search between passes, and rules within one.

Everything here is plain arithmetic. Rates are searched in logarithms, since equal steps of the dial are about equal
steps of those.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from imfcodec.bitstream.packet import PacketKind, VideoPacket

MIN_QUALITY, MAX_QUALITY = 0.0, 100.0
LOG_RATE_SLOPE = 0.035
"""By which the logarithm of a rate grows with each unit of quality where nothing better is known."""
DIAL_STEP = 0.2
"""Qualities closer to each other than this give streams that are nearly the same."""
PACKET_BYTES = 5  # what the container adds to a payload, roughly


class Control(Protocol):
    """What decides on the quality of each packet of a pass."""

    def quality(self) -> float:
        """That of the next packet."""
        ...

    def takes(self, packet: VideoPacket) -> bool:
        """Count a packet; False where it must be coded again, at what `quality` says then."""
        ...


def packet_bytes(packet: VideoPacket) -> int:
    """About how many bytes of the stream a packet takes."""
    return len(packet.payload) + PACKET_BYTES


class DialSearch:
    """Finds the quality at which a figure that grows with it takes a value, from as few trials as it can.

    Args:
        goal: what the figure is to be.
        tolerance: how far from the goal will do.
        slope: by how much the figure grows with each unit of quality, as a first guess.
        start: quality to begin with.
        tries: trials at most.
    """

    def __init__(self, goal: float, tolerance: float, slope: float, start: float, tries: int = 6) -> None:
        self.goal = goal
        self._tolerance, self._slope, self._tries = tolerance, slope, tries
        self._start = _within(start)
        self._trials: list[tuple[float, float]] = []  # quality, figure

    @property
    def slope(self) -> float:
        """Growth of the figure by quality near the goal, from the trials so far."""
        near = sorted(sorted(self._trials, key=self._distance)[:2])
        if len(near) < 2 or near[1][0] - near[0][0] < 2 * DIAL_STEP:
            return self._slope
        measured = (near[1][1] - near[0][1]) / (near[1][0] - near[0][0])
        return min(3 * self._slope, max(self._slope / 3, measured))

    def learn(self, quality: float, figure: float) -> None:
        """Take the result of a trial."""
        self._trials.append((quality, figure))

    def propose(self) -> float | None:
        """The quality to try next; None where no further trial would help."""
        if not self._trials:
            return self._start
        if len(self._trials) >= self._tries or self.found:
            return None
        low, high = self._ends()
        if low and high:
            return self._between(low, high)
        coming = self.estimate
        return None if coming in {quality for quality, _ in self._trials} else coming

    @property
    def estimate(self) -> float:
        """Where the goal should lie, going by the nearest trial."""
        quality, figure = min(self._trials, key=self._distance)
        return _within(quality + (self.goal - figure) / self.slope)

    @property
    def found(self) -> bool:
        """Whether a trial came close enough."""
        return any(self._distance(trial) <= self._tolerance for trial in self._trials)

    def _distance(self, trial: tuple[float, float]) -> float:
        return abs(trial[1] - self.goal)

    def _ends(self) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        """The best trial below the goal and the lowest one above it."""
        below = [trial for trial in self._trials if trial[1] < self.goal]
        above = [trial for trial in self._trials if trial[1] >= self.goal]
        return max(below, default=None), min(above, default=None)

    def _between(self, low: tuple[float, float], high: tuple[float, float]) -> float | None:
        span = high[0] - low[0]
        if span < 2 * DIAL_STEP:
            return None
        share = (self.goal - low[1]) / (high[1] - low[1])
        return low[0] + span * min(0.9, max(0.1, share))


def _within(quality: float) -> float:
    return min(MAX_QUALITY, max(MIN_QUALITY, quality))


@dataclass
class Ledger:
    """What the packets of a pass took, in order.

    Attributes:
        frames, byte_counts, qualities: of each packet.
    """

    frames: list[int]
    byte_counts: list[int]
    qualities: list[float]

    @classmethod
    def empty(cls) -> "Ledger":
        """Nothing coded yet."""
        return cls([], [], [])

    def note(self, packet: VideoPacket, quality: float) -> None:
        """Enter a packet."""
        self.frames.append(packet.frame_count)
        self.byte_counts.append(packet_bytes(packet))
        self.qualities.append(quality)

    @property
    def total(self) -> int:
        """Bytes of all packets."""
        return sum(self.byte_counts)

    @property
    def mean_quality(self) -> float:
        """The one quality that would have taken about as many bytes: the mean weighted by them."""
        weighted = sum(q * count for q, count in zip(self.qualities, self.byte_counts, strict=True))
        return weighted / self.total if self.total else 0.0


class Accounted(Control, Protocol):
    """A control that keeps account.

    Attributes:
        ledger: what was coded.
    """

    ledger: Ledger


class Steady:
    """One quality from the first packet to the last.

    Attributes:
        ledger: what was coded.
    """

    def __init__(self, quality: float) -> None:
        self._quality, self.ledger = quality, Ledger.empty()

    def quality(self) -> float:
        return self._quality

    def takes(self, packet: VideoPacket) -> bool:
        self.ledger.note(packet, self._quality)
        return True


class Feedback:
    """Steers a pass to a number of bytes, with an earlier pass over the same frames as the map.

    What the coming frames took then, corrected by what the frames so far took more or less than expected, says which
    quality the rest of the budget buys.

    Args:
        earlier: the earlier pass.
        budget: bytes of all packets, in the measure of `packet_bytes`.
        slope: of the logarithm of the rate over quality.
    Attributes:
        ledger: what was coded.
    """

    CAUTION = 0.15  # weight of the expectation, as a share of the whole, against what was measured so far
    DEAD_BAND = 0.5  # a change smaller than this is not worth the bytes that tell it
    REACH = 12.0  # changes go so far from the quality of the start

    def __init__(self, earlier: Ledger, budget: float, slope: float = LOG_RATE_SLOPE) -> None:
        self._budget, self._slope, self._base = budget, slope, earlier.mean_quality
        self._frames = earlier.frames
        # What each packet would have taken at one and the same quality.
        self._costs = [
            byte_count * math.exp(slope * (self._base - quality))
            for byte_count, quality in zip(earlier.byte_counts, earlier.qualities, strict=True)
        ]
        self._expected = 0.0
        self.ledger = Ledger.empty()
        self._start = self._quality = _within(self._buys(budget, 0))

    def quality(self) -> float:
        return self._quality

    def takes(self, packet: VideoPacket) -> bool:
        done = sum(self.ledger.frames)
        self._expected += self._cost(done, done + packet.frame_count, self._quality)
        self.ledger.note(packet, self._quality)
        wanted = self._buys(self._budget - self.ledger.total, done + packet.frame_count)
        if abs(wanted - self._quality) >= self.DEAD_BAND:
            self._quality = _within(min(self._start + self.REACH, max(self._start - self.REACH, wanted)))
        return True

    def _buys(self, byte_count: float, done: int) -> float:
        """The quality at which the frames after the first `done` take so many bytes."""
        left = self._left(done)
        if left <= 0:
            return self._quality if done else self._base
        caution = self.CAUTION * self._budget
        correction = (self.ledger.total + caution) / (self._expected + caution)
        return self._base + math.log(max(byte_count, 1) / (left * correction)) / self._slope

    def _cost(self, start: int, end: int, quality: float) -> float:
        """What the frames from number `start` to before `end` should take at a quality."""
        return (self._left(start) - self._left(end)) * math.exp(self._slope * (quality - self._base))

    def _left(self, done: int) -> float:
        """Bytes of the earlier pass for the frames after the first `done`."""
        left = 0.0
        for frames, cost in zip(self._frames, self._costs, strict=True):
            left += cost * (1 - min(1.0, done / frames))
            done = max(0, done - frames)
        return left


class LeakyBucket:
    """Fits frames that are sent one by one to a channel of constant rate, with a buffer of bounded size.

    Each packet fills the buffer, time drains it. The quality follows from how full it is and from what packets of
    either kind took of late; a packet that would make it overflow is coded again at less.

    Args:
        rate: bits per second.
        size: bits the buffer holds.
        start: quality to begin with.
        interval: of a quality, frames from one golden frame to the next.
        frame_seconds: time a frame is shown.
    Attributes:
        level: bits in the buffer.
        overflows: packets that did not fit even at the lowest quality.
    """

    FILL = 0.4  # share of the buffer that is kept full: room for golden frames above, for savings below
    KEY_FILL = 0.85  # share that a key frame may fill
    SLACK = 1.0  # how strongly the level pulls, in logarithm of the rate for a buffer too full by its whole size
    PACE = 1.5  # change of quality a frame, at most

    def __init__(
        self, rate: float, size: float, start: float, interval: Callable[[float], int], frame_seconds: float
    ) -> None:
        self._drain, self._size = rate * frame_seconds, size
        self._interval = interval
        self._quality = _within(start)
        self._usual: dict[bool, float] = {}  # logarithm of bits at quality 0, of golden frames and of token frames
        self.level = 0.0
        self.overflows = 0

    def quality(self) -> float:
        return self._quality

    def takes(self, packet: VideoPacket) -> bool:
        bits = 8 * packet_bytes(packet)
        is_key = packet.kind is PacketKind.KEY
        room = (self.KEY_FILL if is_key else 1.0) * self._size - self.level
        if bits > room + self._drain and self._quality > MIN_QUALITY:
            self._lower(bits, room + self._drain)
            return False
        self.overflows += self.level + bits - self._drain > self._size
        self.level = max(0.0, self.level + bits - self._drain)
        if not is_key:
            self._follow(packet.kind is PacketKind.DELAY_GOLDEN, bits)
        return True

    def _lower(self, bits: float, room: float) -> None:
        """Take the quality down to where the packet at hand should fit."""
        excess = math.log(bits / max(room, 1.0)) / LOG_RATE_SLOPE
        self._quality = _within(self._quality - max(1.0, excess))

    def _follow(self, golden: bool, bits: float) -> None:
        """Learn from a packet, and choose the quality at which the frames to come fill the buffer as wanted."""
        seen = math.log(bits) - LOG_RATE_SLOPE * self._quality
        self._usual[golden] = seen + 0.7 * (self._usual.get(golden, seen) - seen)
        pull = self.SLACK * (self.FILL - self.level / self._size)
        wanted = self._drain * math.exp(pull)
        golden_share = 1 / self._interval(self._quality)
        usual = [self._usual.get(kind, seen) for kind in (True, False)]
        at_zero = math.exp(usual[0]) * golden_share + math.exp(usual[1]) * (1 - golden_share)
        change = math.log(wanted / at_zero) / LOG_RATE_SLOPE - self._quality
        self._quality = _within(self._quality + min(self.PACE, max(-self.PACE, change)))
