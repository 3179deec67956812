"""Frames to pictures and back: padding, cropping, sample values."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.frames import Frame, Plane
from imfcodec.nn.picture import Picture

ALIGNMENT = 64  # the network works on multiples of this many luma pixels
CELL = 16  # luma pixels to a side of one place of y


def padded_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) rounded up to what the network takes."""
    return -(-width // ALIGNMENT) * ALIGNMENT, -(-height // ALIGNMENT) * ALIGNMENT


def to_picture(frames: Sequence[Frame], device: torch.device) -> Picture:
    """Frames of one size as a batch, borders repeated up to the padded size."""
    height, width = frames[0].y.shape
    padded_width, padded_height = padded_size(width, height)
    luma = _stack([[f.y] for f in frames], padded_height, padded_width, device)
    chroma = _stack([[f.u, f.v] for f in frames], padded_height // 2, padded_width // 2, device)
    return Picture(luma, chroma)


def _stack(planes: list[list[Plane]], height: int, width: int, device: torch.device) -> Tensor:
    rows, columns = planes[0][0].shape
    padding = ((0, 0), (0, 0), (0, height - rows), (0, width - columns))
    return torch.from_numpy(np.pad(np.array(planes), padding, mode="edge")).to(device).float() / 255 - 0.5


def to_weights(frame: Frame, strength: float, device: torch.device) -> Tensor | None:
    """How much each place of y counts, float32 [1, 1, H / 16, W / 16] of the padded size; None where all count alike.

    Args:
        strength: how many times as much a place counts whose weight is 255 as one whose weight is 0.
    """
    if frame.weight is None or strength == 1:
        return None
    height, width = frame.y.shape
    padded_width, padded_height = padded_size(width, height)
    levels = torch.from_numpy(frame.weight).to(device)[None, None].float() / 255
    spread = F.interpolate(levels, size=(height, width), mode="nearest")
    spread = F.pad(spread, (0, padded_width - width, 0, padded_height - height))
    return 1 / strength + (1 - 1 / strength) * F.avg_pool2d(spread, CELL)


def to_frames(picture: Picture, width: int, height: int, pts: Sequence[int]) -> list[Frame]:
    """Decoded pictures as frames: cropped, rounded to 8 bits."""
    luma = _samples(picture.luma[..., :height, :width])
    chroma = _samples(picture.chroma[..., : (height + 1) // 2, : (width + 1) // 2])
    return [Frame(y[0], uv[0], uv[1], time) for y, uv, time in zip(luma, chroma, pts, strict=True)]


def _samples(plane: Tensor) -> Plane:
    return ((plane.float() + 0.5) * 255).round().clamp(0, 255).byte().cpu().numpy()
