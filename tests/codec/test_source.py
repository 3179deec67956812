"""Frames handed out group by group."""

from fractions import Fraction

import numpy as np

from imfcodec.codec.source import FrameSource, GroupForecast
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame


def two_scenes(count: int) -> list[Frame]:
    """A face, and its negative from the middle on."""
    frames = list(talking_face(talking_face_format(64, 64, Fraction(25)), count))
    return [Frame(255 - f.y if i >= count // 2 else f.y, f.u, f.v, f.pts) for i, f in enumerate(frames)]


def groups(source: FrameSource, at_once: int) -> list[list[int]]:
    """Times of all frames by group."""
    found = []
    while (first := source.open_group()) is not None:
        found.append([first.pts])
        while frames := source.take(at_once):
            found[-1] += [frame.pts for frame in frames]
    return found


def test_a_scene_cut_ends_a_group_wherever_it_lies():
    for at_once in (1, 3, 32):
        source = FrameSource(iter(two_scenes(12)), scene_cuts=True, key_interval=None)
        assert groups(source, at_once) == [list(range(6)), list(range(6, 12))]
    source = FrameSource(iter(two_scenes(12)), scene_cuts=False, key_interval=None)
    assert groups(source, 5) == [list(range(12))]


def test_an_interval_ends_groups_beside_cuts():
    source = FrameSource(iter(two_scenes(12)), scene_cuts=True, key_interval=4)
    assert groups(source, 3) == [[0, 1, 2, 3], [4, 5], [6, 7, 8, 9], [10, 11]]


def test_steady_motion_is_no_cut():
    noise = np.random.randint(0, 256, (64, 640), np.uint8)
    moving = [Frame(noise[:, 8 * i : 8 * i + 64], noise[:32, :32], noise[:32, :32], i) for i in range(20)]
    assert groups(FrameSource(iter(moving), scene_cuts=True, key_interval=None), 4) == [list(range(20))]


def test_what_is_given_back_opens_the_next_group():
    source = FrameSource(iter(two_scenes(8)), scene_cuts=True, key_interval=None)
    assert source.open_group().pts == 0
    taken = source.take(3)
    source.give_back(taken[1:])
    assert source.take(5) == []
    assert groups(source, 2) == [[2, 3], [4, 5, 6, 7]]


def test_no_frame_is_read_before_it_is_asked_for():
    frames = iter(two_scenes(8))
    source = FrameSource(frames, scene_cuts=True, key_interval=None)
    source.open_group()
    source.take(2)
    assert next(frames).pts == 3


def test_pictures_foretell_groups_that_no_trial_ends():
    """From wherever an encoder goes on; reads no further than it has to."""
    frames = two_scenes(12)
    for interval in (4, 1000):
        source = FrameSource(iter(frames), scene_cuts=True, key_interval=interval)
        starts = [group[0] for group in groups(source, 3)]
        forecast = GroupForecast(iter(frames), 0, scene_cuts=True, key_interval=interval)
        assert [forecast.end_of(start) for start in starts] == [*starts[1:], None]
    coming = iter(frames[3:])
    forecast = GroupForecast(coming, 3, scene_cuts=True, key_interval=4)
    assert forecast.end_of(3) == 6 and next(coming).pts == 7
    forecast = GroupForecast(iter(frames), 0, scene_cuts=False, key_interval=5)
    assert [forecast.end_of(start) for start in (0, 2, 5, 7)] == [5, 7, 10, None]
    forecast.read_all()
    assert forecast.position == 12


def test_a_source_knows_its_place_and_its_end():
    source = FrameSource(iter(two_scenes(8)), scene_cuts=False, key_interval=None)
    source.pass_over(3)
    assert source.open_group().pts == source.position - 1 == 3
    source.give_back(source.take(3))
    assert source.position == 4 and not source.is_at_end() and source.position == 4
    source.pass_over(20)
    assert source.is_at_end() and source.position == 8 and source.open_group() is None
