"""Scaling: sizes, time stamps, and pictures that come back."""

import numpy as np
import pytest

from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame
from imfcodec.video.scaling import rescale


def test_sizes_and_time_stamps():
    """Luma gets the size asked for, chroma half of it."""
    [frame] = rescale(talking_face(talking_face_format(96, 64), 1, seed=2), 48, 34)
    assert (frame.y.shape, frame.u.shape, frame.v.shape, frame.pts) == ((34, 48), (17, 24), (17, 24), 0)


@pytest.mark.parametrize("value", [16, 128, 235])
def test_even_pictures_stay_even(value):
    """No range is converted, no edge is darkened."""
    frame = Frame(np.full((64, 64), value, np.uint8), *np.full((2, 32, 32), value, np.uint8), pts=7)
    [small] = rescale([frame], 32, 32)
    [back] = rescale([small], 64, 64)
    assert back.pts == 7 and all((plane == value).all() for plane in (back.y, back.u, back.v))


def test_down_and_up_shifts_no_plane():
    """A linear ramp comes back where it was, away from the borders."""
    ramp = np.tile(np.arange(32, 160, 2, dtype=np.uint8), (64, 1))
    frame = Frame(ramp, ramp[::2, ::2].copy(), ramp[::2, ::2].T.copy(), pts=0)
    [back] = rescale(rescale([frame], 32, 32), 64, 64)
    for before, after in ((frame.y, back.y), (frame.u, back.u), (frame.v, back.v)):
        error = after.astype(int) - before
        assert np.abs(error[8:-8, 8:-8]).max() <= 1
