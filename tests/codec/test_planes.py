"""Frames to pictures and back."""

import numpy as np
import pytest
import torch

from imfcodec.codec.planes import padded_size, to_frames, to_picture
from imfcodec.frames import Frame


def random_frame(width: int, height: int, pts: int = 0) -> Frame:
    random = np.random.default_rng(pts)
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return Frame(*(random.integers(0, 256, s, dtype=np.uint8) for s in ((height, width), chroma, chroma)), pts)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (64, 64), (65, 63), (127, 129), (256, 144)])
def test_every_sample_survives(width, height):
    frames = [random_frame(width, height, pts) for pts in (3, 7)]
    picture = to_picture(frames, torch.device("cpu"))
    padded = padded_size(width, height)
    assert picture.luma.shape == (2, 1, padded[1], padded[0]) and padded[0] % 64 == 0 == padded[1] % 64
    back = to_frames(picture, width, height, [3, 7])
    for before, after in zip(frames, back, strict=True):
        assert after.pts == before.pts
        for name in "yuv":
            assert np.array_equal(getattr(after, name), getattr(before, name))


def test_padding_repeats_the_border():
    frame = random_frame(40, 20)
    luma = to_picture([frame], torch.device("cpu")).luma[0, 0]
    assert torch.equal(luma[19, :40], luma[50, :40]) and torch.equal(luma[:20, 39], luma[:20, 60])


def test_values_out_of_range_are_clipped():
    picture = to_picture([random_frame(64, 64)], torch.device("cpu"))
    bright = to_frames(type(picture)(picture.luma + 9, picture.chroma - 9), 64, 64, [0])[0]
    assert (bright.y == 255).all() and (bright.u == 0).all()
