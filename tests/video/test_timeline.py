import itertools
import random
from array import array
from fractions import Fraction
from types import SimpleNamespace

import pytest

from imfcodec.video.timeline import Rebaser, StampGuesser, Stamps, make_timeline, strictly_rising

MS = Fraction(1, 1000)


def timeline(times, base=MS, rates=(Fraction(25),), start=None, durations=None, lost=()):
    stamps = Stamps(list(times), array("q", durations or [0] * len(times)), list(lost))
    return make_timeline(stamps, base, list(rates), start)


def shown(line):
    return [line.at(index) * line.time_base for index in range(line.frame_count)]


def packet(dts, track=0, duration=40, base=MS):
    return SimpleNamespace(pts=dts, dts=dts, duration=duration, time_base=base, stream=SimpleNamespace(index=track))


def rebased(packets, live=True):
    rebase = Rebaser(live)
    for item in packets:
        rebase(item)
    return [item.dts for item in packets], rebase.count


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001), Fraction(24), Fraction(60)])
def test_rounded_time_stamps_of_a_constant_rate(rate):
    line = timeline([23 + round(n * 1000 / rate) for n in range(5000)], rates=[rate], start=Fraction(0))
    assert (line.frame_rate, line.variable, line.frame_count) == (rate, False, 5000)
    placed = [line.at(index) for index in range(5000)]
    assert {b - a for a, b in itertools.pairwise(placed)} == {line.ticks_per_frame}
    assert line.ticks_per_frame * line.time_base == 1 / rate == line.last_duration * line.time_base
    assert abs(placed[0] * line.time_base - Fraction(23, 1000)) <= line.time_base / 2


def test_a_wrong_claim_does_not_hide_a_constant_rate():
    line = timeline(range(0, 2500, 25), rates=[Fraction(30)])
    assert (line.frame_rate, line.variable) == (40, False)


@pytest.mark.parametrize("times", [[0, 40, 80, 160], [0, 40, 90, 100]])
def test_a_missing_or_moved_frame_makes_the_rate_variable(times):
    line = timeline(times)
    assert line.variable and shown(line) == [time * MS for time in times]


def test_a_common_start_is_taken_off_and_the_distance_to_the_sound_kept():
    assert shown(timeline([50_000_000, 50_000_040]))[0] == 0
    late = timeline([50_000_400, 50_000_440], start=Fraction(50_000))
    assert (shown(late)[0], late.offset) == (Fraction(2, 5), 50_000)
    early = timeline([400, 440, 500], start=Fraction(1))
    assert (shown(early)[0], early.offset) == (0, Fraction(2, 5))
    look_ahead = timeline([0, 40], start=Fraction(-7, 1000))
    assert (shown(look_ahead)[0], look_ahead.offset) == (0, 0)


def test_the_last_frame_lasts_as_long_as_the_file_says():
    slides = timeline([0, 1000, 2000], durations=[1000, 1000, 5000], rates=[Fraction(1)])
    assert (slides.variable, slides.last_duration * slides.time_base) == (False, 5)
    assert timeline([0, 40, 1000], durations=[40, 960, 2500]).last_duration == 2500
    assert timeline([0, 40, 1000], durations=[1, 1, 1]).last_duration == 960  # a tick is no duration
    assert timeline([0, 40, 1000], durations=[0, 0, 1 << 60]).last_duration == 960
    assert timeline([0, 33, 67], durations=[33, 33, 33], rates=[Fraction(30)]).last_duration == 1


def test_without_time_stamps_frames_are_counted():
    line = timeline([None] * 3, rates=[Fraction(24)], lost=[(None, 0), (None, 2)])
    assert (line.frame_count, line.variable, line.frame_rate, set(line.repeats)) == (4, False, 24, {3})
    assert shown(line) == [Fraction(n, 24) for n in range(4)]
    assert timeline([None], rates=[]).frame_rate == 25


def test_undecodable_frames_leave_no_hole():
    line = timeline([0, 40, 120, 160], lost=[(80, 2)])
    assert (line.frame_count, line.variable, set(line.repeats)) == (5, False, {2})
    again = timeline([0, 40, 80], lost=[(42, 1), (-40, 0)])
    assert (again.frame_count, set(again.repeats)) == (3, set())
    end = timeline([0, 40, 80], lost=[(120, 3), (160, 3)])
    assert (end.frame_count, set(end.repeats)) == (5, {3, 4})


@pytest.mark.parametrize(
    "times,rising",
    [
        ([0, 40, 40, 120], [0, 40, 80, 120]),
        ([0, 40, 9999, 120, 160], [0, 40, 80, 120, 160]),
        ([0, 40, 80, 10, 160], [0, 40, 80, 120, 160]),
        ([7, 7, 7], [7, 47, 87]),
        ([0, 1, 1, 1, 2], [0, 1, 2, 3, 4]),
    ],
)
def test_stamps_are_made_to_rise(times, rising):
    assert strictly_rising(times, 40) == rising


def test_any_stamps_give_strictly_rising_ones():
    source = random.Random(1)
    for _ in range(200):
        wild = [None, source.randrange(-50, 50), source.randrange(1 << 40), 1 << 62, -(1 << 62)]
        line = timeline([source.choice(wild) for _ in range(12)])
        assert all(abs(line.at(index)) < 1 << 60 for index in range(12))
        placed = shown(line)
        assert line.frame_count == 12 and all(a < b for a, b in itertools.pairwise(placed)) and line.last_duration > 0


def test_stamps_that_jump_are_moved_for_all_tracks_together():
    pictures = [packet(n * 40) for n in range(4)] + [packet(n * 40) for n in range(4)]
    sound = [packet(n * 40 + 3, track=1) for n in range(4)] + [packet(n * 40 + 3, track=1) for n in range(4)]
    both = [item for pair in zip(pictures, sound, strict=True) for item in pair]
    stamps, count = rebased(both)
    assert count == 1
    assert stamps[::2] == [n * 40 for n in range(8)] and stamps[1::2] == [n * 40 + 3 for n in range(8)]


@pytest.mark.parametrize("jump", [20_000_000, -20_000_000, 95_443_717])
def test_jumps_ahead_and_back_go_on_without_a_gap(jump):
    times = [n * 40 + (jump if n >= 5 else 0) for n in range(10)]
    assert rebased([packet(time) for time in times]) == ([n * 40 for n in range(10)], 1)


def test_files_that_are_no_broadcasts_may_show_a_frame_for_a_minute():
    assert rebased([packet(0), packet(60_000)], live=False) == ([0, 60_000], 0)
    assert rebased([packet(1000), packet(0)], live=False) == ([1000, 1040], 1)


def test_decoding_stamps_stand_in_for_presentation_stamps():
    guess = StampGuesser()
    assert [guess(pts, dts) for pts, dts in [(None, 2), (None, 3), (None, None)]] == [2, 3, None]
    good = StampGuesser()
    assert [good(pts, dts) for pts, dts in [(0, -80), (40, -40), (80, 0)]] == [0, 40, 80]
    frozen = StampGuesser()
    assert [frozen(5, dts) for dts in (0, 40, 80)] == [5, 40, 80]
