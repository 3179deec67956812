"""Frames handed out group by group."""

from fractions import Fraction

import numpy as np

from imfcodec.codec.source import FrameSource
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
