"""Warping error: what flickers is seen, what moves or is uncovered is not."""

import sys

import cv2
import numpy as np
import pytest

from imfcodec.errors import UsageError
from imfcodec.evaluation.flicker import MotionStore, WarpingMeter

SIDE = 96


@pytest.fixture(scope="module")
def texture():
    """Smooth patterns, larger than a frame: easy to follow."""
    noise = np.random.default_rng(0).normal(128, 600, (2 * SIDE, 2 * SIDE))
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 4), 20, 235).astype(np.uint8)


def view(texture, shift):
    """What a camera sees that has moved by so many samples."""
    return np.ascontiguousarray(texture[shift : shift + SIDE, 2 * shift : 2 * shift + SIDE])


def measure(reference, distorted):
    """Errors of the second pair of planes."""
    meter = WarpingMeter()
    assert meter.measure(reference[0], distorted[0]) is None
    return meter.measure(reference[1], distorted[1])


def test_movement_is_no_flicker(texture):
    """The picture moves by 3 and 6 samples; the error is that of interpolation, far below the plain difference."""
    frames = [view(texture, 0), view(texture, 3)]
    error, of_reference = measure(frames, frames)
    assert error == of_reference < 1
    assert np.abs(np.subtract(*frames, dtype=float)).mean() > 20


def test_flicker_is_measured_in_levels(texture):
    """Frames in turn 4 levels too bright and 4 too dark."""
    frames = [view(texture, 0), view(texture, 3)]
    error, of_reference = measure(frames, [frames[0] + 4, frames[1] - 4])
    assert error == pytest.approx(8, abs=0.5) and of_reference < 1


def test_the_mean_error_of_a_still_picture_is_exact(texture):
    """Without movement nothing is interpolated."""
    still = view(texture, 0)
    error, of_reference = measure([still, still], [still, still + np.uint8(5)])
    assert error == 5 and of_reference == 0


def test_what_is_uncovered_does_not_count(texture):
    """A square moves over the texture; new to see is only what it leaves, and there the decoder errs by 90 levels."""
    background, square = view(texture, 0), view(texture, 40)[:32, :32]
    before, now = background.copy(), background.copy()
    before[32:64, 20:52], now[32:64, 32:64] = square, square
    wrong = now.copy()
    wrong[34:62, 22:30] ^= 0x5A
    error, of_reference = measure([before, now], [before, wrong])
    share = 28 * 8 / SIDE**2
    unmasked = share * np.abs(np.subtract(wrong, now, dtype=float))[34:62, 22:30].mean()
    assert error - of_reference < 0.35 * unmasked


def test_nothing_is_visible_across_a_cut_to_another_place(monkeypatch, texture):
    """Where no point finds its way back, there is no error to speak of."""
    meter = WarpingMeter()
    monkeypatch.setattr(
        meter._flow, "follow", lambda before, now: (np.zeros((*now.shape, 2), np.float32), np.zeros(now.shape, bool))
    )
    plane = view(texture, 0)
    assert meter.measure(plane, plane) is None and meter.measure(plane, plane) is None


def test_motion_is_found_once_for_all_measurements_of_a_video(texture):
    """A store gives the same errors without a flow; what it has no room for is found anew."""
    frames = [view(texture, shift) for shift in (0, 3, 5)]
    kept, lost = MotionStore(), MotionStore(limit=SIDE**2)
    first, again, without = (WarpingMeter(motions) for motions in (kept, kept, lost))
    errors = [first.measure(frame, frame) for frame in frames]
    again._flow.follow = None
    assert [again.measure(frame, frame) for frame in frames] == errors
    assert [without.measure(frame, frame) for frame in frames] == errors
    found = []
    lost.get(1, lambda: found.append(1) or (np.zeros((2, 2), np.float32), np.ones((2, 2), bool)))
    assert found


@pytest.mark.parametrize("shape", [(16, 16), (17, 33), (16, 300)])
def test_small_pictures(shape):
    """Down to the smallest the codec takes."""
    plane = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert measure([plane, plane], [plane, plane]) == (0, 0)


def test_without_opencv_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match=r"install it with: pip install 'imfcodec\[bench\]'"):
        WarpingMeter()
