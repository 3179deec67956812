import itertools
import random
from fractions import Fraction

import pytest

from imfcodec.video.timing import RateMeter


def measure(stamps, time_base, rates):
    meter = RateMeter(time_base, rates)
    for pts in stamps:
        meter.add(pts)
    return meter.timing()


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001), Fraction(24), Fraction(60)])
def test_rounded_time_stamps_of_a_constant_rate(rate):
    stamps = [23 + round(n * 1000 / rate) for n in range(5000)]
    timing = measure(stamps, Fraction(1, 1000), [rate])
    assert (timing.frame_rate, timing.variable, timing.frame_count) == (rate, False, 5000)
    placed = [timing.place(pts, n) for n, pts in enumerate(stamps)]
    assert {b - a for a, b in itertools.pairwise(placed)} == {timing.ticks_per_frame}
    assert timing.ticks_per_frame * timing.time_base == 1 / rate
    assert abs(placed[0] * timing.time_base - Fraction(23, 1000)) <= timing.time_base / 2


def test_exact_time_stamps_are_kept_as_they_are():
    timing = measure(range(-512, 51200, 512), Fraction(1, 15360), [Fraction(29), Fraction(30)])
    assert (timing.frame_rate, timing.time_base, timing.variable) == (30, Fraction(1, 15360), False)
    assert timing.place(-512, 0) == -512


def test_a_wrong_claim_does_not_hide_a_constant_rate():
    timing = measure(range(0, 2500, 25), Fraction(1, 1000), [Fraction(30)])
    assert (timing.frame_rate, timing.variable) == (40, False)


def test_time_stamps_may_come_in_decoding_order():
    stamps = list(range(0, 51200, 512))
    for start in range(0, 100, 10):
        group = stamps[start : start + 10]
        random.Random(start).shuffle(group)
        stamps[start : start + 10] = group
    assert not measure(stamps, Fraction(1, 12800), [Fraction(25)]).variable


@pytest.mark.parametrize("stamps", [[0, 40, 80, 160], [0, 40, 90, 100], [0, 1, 2, 4]])
def test_a_missing_or_moved_frame_makes_the_rate_variable(stamps):
    timing = measure(stamps, Fraction(1, 1000) if stamps[-1] > 4 else Fraction(1, 25), [Fraction(25)])
    assert timing.variable
    assert [timing.place(pts, n) for n, pts in enumerate(stamps)] == stamps


def test_without_time_stamps_frames_are_counted():
    timing = measure([None, None, None], Fraction(1, 1000), [Fraction(24)])
    assert (timing.frame_count, timing.variable, timing.frame_rate) == (3, False, 24)
    assert [timing.place(None, n) for n in range(3)] == [0, 1, 2]
    assert measure([], Fraction(1, 1000), []).frame_rate == 25
