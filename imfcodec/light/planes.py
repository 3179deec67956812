"""Frames to pictures and back: padding, cropping, sample values; `codec.planes` on arrays."""

import numpy as np

from imfcodec.frames import Frame, Plane
from imfcodec.light.executor import Picture
from imfcodec.light.model import Array

ALIGNMENT = 64  # the networks work on multiples of this many luma pixels


def padded_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) rounded up to what the networks take."""
    return -(-width // ALIGNMENT) * ALIGNMENT, -(-height // ALIGNMENT) * ALIGNMENT


def to_picture(frame: Frame) -> Picture:
    """A frame as a batch of one, borders repeated up to the padded size."""
    height, width = frame.y.shape
    width, height = padded_size(width, height)
    return Picture(_levels([frame.y], height, width), _levels([frame.u, frame.v], height // 2, width // 2))


def _levels(planes: list[Plane], height: int, width: int) -> Array:
    rows, columns = planes[0].shape
    padded = np.pad(np.array(planes)[None], ((0, 0), (0, 0), (0, height - rows), (0, width - columns)), mode="edge")
    return padded.astype(np.float32) / 255 - np.float32(0.5)


def to_frame(picture: Picture, width: int, height: int, pts: int) -> Frame:
    """A decoded picture as a frame: cropped, rounded to 8 bits."""
    luma = _samples(picture.luma[0, 0, :height, :width])
    chroma = _samples(picture.chroma[0, :, : (height + 1) // 2, : (width + 1) // 2])
    return Frame(luma, chroma[0], chroma[1], pts)


def _samples(plane: Array) -> Plane:
    return np.rint((plane + 0.5) * 255).clip(0, 255).astype(np.uint8)
