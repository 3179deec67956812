"""A source's timeline: when each of its frames is shown, and for how long, from whatever stamps the file has.

The way of a time stamp, in this order:

1. `Rebaser` takes discontinuities out of the packets' stamps, all tracks together.
2. `StampGuesser` chooses between what the decoder hands out: presentation stamps, else the packets' decoding stamps,
   else the frame before. 1 and 2 do what FFmpeg's own command does, so that lengths agree with it.
3. `make_timeline` makes the stamps strictly rising, gives frames that would not decode their place, takes a common
   start off and finds out whether the rate is constant. Containers round stamps (Matroska to milliseconds), so thirty
   frames a second may read 0, 33, 67, 100; such a video has a constant rate all the same, and every frame moves back
   to its exact place.
"""

import bisect
import itertools
import statistics
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av

# From this many ticks a frame on, one tick off is rounding; below, it would be a real change of rate.
_MIN_TICKS_TO_ROUND = 4
# Ticks a second at least, where a new time base has to be made: fine enough to keep the offset to the sound.
_MIN_TICK_RATE = 10_000
_FALLBACK_RATE = Fraction(25)

# FFmpeg's thresholds for discontinuities, in microseconds.
_MICROSECONDS = 1_000_000
_MAX_STEP_BACK = _MICROSECONDS // 10
_MAX_JUMP_LIVE = 10 * _MICROSECONDS
_MAX_JUMP = 30 * 3600 * _MICROSECONDS
# Stamps further apart, and frames shown longer, are damaged.
_MAX_GAP_SECONDS = 30 * 3600
_MAX_STAMP = 1 << 62


class Rebaser:
    """Moves the stamps of packets after a discontinuity so that they go on where those before it ended.

    One discontinuity moves all tracks alike, so that pictures and sound stay together. Stamps that go back are one in
    any file; stamps that jump ahead by seconds are one only in formats made for broadcasting, where others may mean it.

    Args:
        live: whether the container is of a kind whose clock may restart (transport streams and the like).
    Attributes:
        count: discontinuities found so far.
    """

    def __init__(self, live: bool) -> None:
        self.count = 0
        self._max_jump = _MAX_JUMP_LIVE if live else _MAX_JUMP
        self._offset = 0
        self._last: int | None = None
        self._tracks: dict[int, tuple[int, int]] = {}

    def __call__(self, packet: av.Packet) -> None:
        """Move the stamps of the next packet, in file order, of any track that is used."""
        if self._offset:
            _shift(packet, self._offset)
        if packet.dts is None or packet.time_base is None:
            return
        dts = _microseconds(packet.dts, packet.time_base)
        delta = self._discontinuity(packet.stream.index, dts)
        if delta:
            self.count += 1
            self._offset -= delta
            _shift(packet, -delta)
            dts -= delta
        self._last = dts
        self._tracks[packet.stream.index] = (dts, dts + _microseconds(packet.duration or 0, packet.time_base))

    def _discontinuity(self, track: int, dts: int) -> int:
        """Return by how much a stamp is off, 0 where it follows on the one before."""
        if track in self._tracks:
            last, expected = self._tracks[track]
            delta = dts - expected
            return delta if abs(delta) > self._max_jump or dts + _MAX_STEP_BACK < last else 0
        delta = 0 if self._last is None else dts - self._last
        return delta if abs(delta) > self._max_jump else 0


def _microseconds(ticks: int, base: Fraction) -> int:
    return ticks * base.numerator * _MICROSECONDS // base.denominator


def _shift(packet: av.Packet, offset: int) -> None:
    base = packet.time_base
    assert base is not None
    ticks = round(Fraction(offset * base.denominator, base.numerator * _MICROSECONDS))
    packet.pts = _moved(packet.pts, ticks)
    packet.dts = _moved(packet.dts, ticks)


def _moved(stamp: int | None, ticks: int) -> int | None:
    return None if stamp is None or abs(stamp + ticks) > _MAX_STAMP else stamp + ticks


class StampGuesser:
    """Chooses the stamp of each decoded picture, in display order, as FFmpeg does ("best effort").

    Presentation stamps are taken as long as they rise at least as well as decoding stamps; files that have no
    presentation stamps (H.264 in AVI) are shown when their packets come.
    """

    def __init__(self) -> None:
        self._last_pts = self._last_dts = -(1 << 63)
        self._faulty_pts = self._faulty_dts = 0

    def __call__(self, pts: int | None, dts: int | None) -> int | None:
        """Return one of the two stamps of the next picture, None if it has neither."""
        if dts is not None:
            self._faulty_dts += dts <= self._last_dts
        if pts is not None:
            self._faulty_pts += pts <= self._last_pts
        self._last_dts = next((stamp for stamp in (dts, pts) if stamp is not None), self._last_dts)
        self._last_pts = next((stamp for stamp in (pts, dts) if stamp is not None), self._last_pts)
        return pts if pts is not None and (dts is None or self._faulty_pts <= self._faulty_dts) else dts


@dataclass
class Stamps:
    """What one pass over the pictures of a source found out about their times, in ticks of the source.

    Attributes:
        times: stamp of each picture in display order, None where the file gives none.
        durations: how long the file says each picture lasts, 0 where it does not.
        lost: for each picture that could not be decoded, its stamp (None: unknown) and how many came before it.
    """

    times: list[int | None] = field(default_factory=list)
    durations: array = field(default_factory=lambda: array("q"))
    lost: list[tuple[int | None, int]] = field(default_factory=list)

    def add(self, time: int | None, duration: int) -> None:
        """Note one more picture."""
        self.times.append(time if time is not None and abs(time) <= _MAX_STAMP else None)
        self.durations.append(duration if 0 < duration <= _MAX_STAMP else 0)


@dataclass(frozen=True)
class Timeline:
    """When the frames of one video are shown.

    Attributes:
        frame_rate: frames per second; the mean rate where `variable`.
        time_base: seconds per tick of the stamps and durations below.
        variable: False when frame n is shown at `first` + n * `ticks_per_frame`.
        frame_count: number of frames, repeated ones included; None where unknown.
        first: stamp of the first frame.
        last_duration: ticks the last frame is shown.
        repeats: numbers of frames that have no picture of their own: the one before is shown again.
        stamps: stamps of all frames where `variable`.
        offset: seconds that were taken off the clock of the source, for the sound.
        jumps: how often the stamps of pictures jumped too far to be meant; those after it follow without a gap.
    """

    frame_rate: Fraction
    time_base: Fraction
    variable: bool
    frame_count: int | None
    first: int = 0
    last_duration: int = 1
    repeats: frozenset[int] = frozenset()
    stamps: Sequence[int] = ()
    offset: Fraction = Fraction(0)
    jumps: int = 0

    @property
    def ticks_per_frame(self) -> int:
        """Ticks from one frame to the next, rounded where the rate varies."""
        return max(1, round(1 / (self.frame_rate * self.time_base)))

    def at(self, index: int) -> int:
        """Return the stamp of frame `index`."""
        return self.stamps[index] if self.variable else self.first + index * self.ticks_per_frame


def even_timeline(frame_rate: Fraction, frame_count: int | None, repeats: Iterable[int] = ()) -> Timeline:
    """Timeline of a video without time stamps (Y4M, raw, pictures): one tick a frame from zero on."""
    return Timeline(frame_rate, 1 / frame_rate, False, frame_count, repeats=frozenset(repeats))


def make_timeline(stamps: Stamps, base: Fraction, rates: Sequence[Fraction], start: Fraction | None = None) -> Timeline:
    """Decide when the pictures of a source are shown.

    Args:
        stamps: what a pass over the source found; at least one picture.
        base: seconds per tick of `stamps`.
        rates: frame rates the container claims, the most trusted first; may be empty.
        start: when the sound starts, in seconds on the same clock, None without sound.
    """
    claimed = [rate for rate in dict.fromkeys(rates) if rate > 0]
    if all(time is None for time in stamps.times):
        return _unstamped(stamps, (claimed or [_FALLBACK_RATE])[0])
    nominal = max(1, round(1 / ((claimed or [_FALLBACK_RATE])[0] * base)))
    furthest = round(_MAX_GAP_SECONDS / base)
    placed, jumps = _without_holes(stamps, nominal, furthest)
    times = strictly_rising(placed, nominal)
    step = _typical_step(times, nominal)
    lost = _lost_times(times, [time for time, _ in stamps.lost if time is not None], step)
    merged = sorted([*times, *lost])
    repeats = frozenset(bisect.bisect_left(merged, time) for time in lost)
    offset = common_start(merged[0] * base, start)
    rate = constant_rate(merged, base, claimed)
    last = _last_duration(stamps.durations[-1], merged, step, base) if not lost or lost[-1] < times[-1] else step
    if rate is None:
        return replace(_variable(merged, base, offset, last, repeats), jumps=jumps)
    return replace(_constant(rate, merged, base, offset, last, repeats), jumps=jumps)


def common_start(pictures: Fraction, sound: Fraction | None) -> Fraction:
    """Seconds to take off all stamps so that whichever track starts first starts at zero.

    Sound that starts before zero on its own (an encoder's look-ahead) may stay there: pictures decide then.
    """
    if sound is None or abs(pictures - sound) > _MAX_GAP_SECONDS:
        return pictures
    return min(pictures, max(sound, Fraction(0)))


def strictly_rising(times: Sequence[int], step: int) -> list[int]:
    """Return stamps that rise strictly: the longest rising series is believed, the others go evenly between."""
    believed = _longest_rising(times)
    placed: list[int] = []
    for index, (number, time) in enumerate(believed):
        if index == 0:
            placed += [time - step * (number - earlier) for earlier in range(number)]
        else:
            before, start = believed[index - 1]
            gap = number - before
            placed += [start + (time - start) * part // gap for part in range(1, gap)]
        placed.append(time)
    placed += [placed[-1] + step * (part + 1) for part in range(len(times) - len(placed))]
    return list(itertools.accumulate(placed, lambda last, time: max(time, last + 1)))


def _longest_rising(times: Sequence[int]) -> list[tuple[int, int]]:
    """Return the longest strictly rising subsequence as (index, stamp), by patience sorting."""
    tops: list[int] = []  # smallest last stamp of a rising series, by length
    holders: list[int] = []
    links: list[int] = []
    for index, time in enumerate(times):
        length = bisect.bisect_left(tops, time)
        if tops[length : length + 1] != [time]:  # of equal stamps, the first is believed
            tops[length : length + 1] = [time]
            holders[length : length + 1] = [index]
        links.append(holders[length - 1] if length else -1)
    chain = []
    index = holders[-1] if holders else -1
    while index >= 0:
        chain.append((index, times[index]))
        index = links[index]
    return chain[::-1]


def constant_rate(times: Sequence[int], base: Fraction, claimed: Sequence[Fraction]) -> Fraction | None:
    """Return the rate that explains all stamps up to rounding, None if there is none.

    Tried are the claimed rates, then the distance of the first two frames, then the mean distance.
    """
    if len(times) < 2:
        return claimed[0] if claimed else _FALLBACK_RATE
    span = (times[-1] - times[0]) * base
    tried = [*claimed, 1 / ((times[1] - times[0]) * base), _simple_rate((len(times) - 1) / span)]
    return next((rate for rate in tried if _explains(rate, times, base)), None)


def _explains(rate: Fraction, times: Sequence[int], base: Fraction) -> bool:
    step = 1 / (rate * base)
    tolerance = step.denominator if step >= _MIN_TICKS_TO_ROUND else 0
    first, up, down = times[0], step.numerator, step.denominator
    return all(abs((time - first) * down - index * up) <= tolerance for index, time in enumerate(times))


def _simple_rate(rate: Fraction) -> Fraction:
    return rate.limit_denominator(1001) or rate


def _unstamped(stamps: Stamps, rate: Fraction) -> Timeline:
    repeats = [before + earlier for earlier, (_, before) in enumerate(stamps.lost) if before]
    return even_timeline(rate, len(stamps.times) + len(repeats), repeats)


def _without_holes(stamps: Stamps, nominal: int, furthest: int) -> tuple[list[int], int]:
    """Give every picture a plausible stamp: one without follows the picture before by that one's duration.

    `Rebaser` misses a jump at the end of Matroska: FFmpeg makes decoding stamps of the stamps of pictures before it.

    Returns:
        The stamps, and how often they jumped too far.
    """
    times: list[int] = []
    jumps, is_far = 0, False
    for index, time in enumerate(stamps.times):
        was_far, is_far = is_far, time is not None and bool(times) and abs(time - times[-1]) > furthest
        jumps += is_far and not was_far
        if time is None or is_far:
            time = times[-1] + (stamps.durations[index - 1] or nominal) if times else 0
        times.append(time)
    return times, jumps


def _typical_step(times: Sequence[int], nominal: int) -> int:
    steps = [late - early for early, late in itertools.pairwise(times)]
    return statistics.median_low(steps) if steps else nominal


def _lost_times(times: Sequence[int], lost: Iterable[int], step: int) -> list[int]:
    """Those stamps of undecodable pictures where nothing else is shown, and something was before."""
    holes: list[int] = []
    for time in sorted(set(lost)):
        after = bisect.bisect_left(times, time)
        near = [*times[max(0, after - 1) : after + 1], *holes[-1:]]
        if after and min(abs(time - other) for other in near) * 4 >= step * 3:
            holes.append(time)
    return holes


def _last_duration(told: int, times: Sequence[int], step: int, base: Fraction) -> int:
    """Ticks the last frame is shown: what the file says, else as long as the frame before."""
    before = times[-1] - times[-2] if len(times) > 1 else step
    # One tick beside longer frames is what containers put where they know nothing.
    plausible = told * base <= _MAX_GAP_SECONDS and not (told == 1 and before > 2)
    return told if told and plausible else before


def _variable(times: list[int], base: Fraction, offset: Fraction, last: int, repeats: frozenset[int]) -> Timeline:
    shift = round(offset / base)
    rate = _simple_rate(len(times) / ((times[-1] - times[0] + last) * base))
    stamps = array("q", (time - shift for time in times))
    return Timeline(rate, base, True, len(times), stamps[0], last, repeats, stamps, shift * base)


def _constant(
    rate: Fraction, times: Sequence[int], base: Fraction, offset: Fraction, last: int, repeats: frozenset[int]
) -> Timeline:
    first, duration = times[0] * base - offset, last * base
    if (1 / (rate * base)).denominator == 1:
        fine = base
    elif first == 0 and abs(duration - 1 / rate) <= base:
        fine = 1 / rate
    else:
        fine = Fraction(1, rate.numerator * -(-_MIN_TICK_RATE // rate.numerator))
    frame = round(1 / (rate * fine))
    ticks = frame if abs(duration - 1 / rate) <= base else max(1, round(duration / fine))
    return Timeline(rate, fine, False, len(times), round(first / fine), ticks, repeats, offset=offset)
