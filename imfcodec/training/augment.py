"""Rendering samples: from the frames of a clip to the uint8 frames of a group, by torch on any device.

What is only cut and mirrored has exactly the pixels of the clip; scaling, motion and colour compute new ones.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.nn.picture import position_grid
from imfcodec.training.dataset import NEAR_UNIT, Frames, Knowledge
from imfcodec.training.sampling import BLOCK, CONTROLS, Colour, Motion, Sample

MIDDLE = 128.0  # of luma, as the pivot of contrast; grey's chroma

Planes = tuple[Tensor, Tensor]  # luma [T, 1, h, w] and chroma [T, 2, h / 2, w / 2], 0..255


def render(sample: Sample, frames: Frames | Tensor, crop: int) -> Tensor:
    """Make the frames of one sample.

    Args:
        sample: what to do.
        frames: all frames of the sample's clip, uint8 [F, H * W * 3 / 2]: mapped from a file, or on any device.
        crop: height and width of the result.
    Returns:
        uint8 [T, crop * crop * 3 / 2], on the CPU where `frames` are mapped, otherwise where they are.
    """
    planes = _cut(sample, frames)
    if sample.motion is not None or sample.colour is not None or sample.scaled != sample.side:
        luma, chroma = _change(sample, planes, crop)
        planes = luma.round().clamp(0, 255).byte(), chroma.round().clamp(0, 255).byte()
    luma, chroma = (plane.flip(-1) for plane in planes) if sample.mirror else planes
    return torch.cat([luma.flatten(1), chroma.flatten(1)], 1)


def read_knowledge(samples: Sequence[Sample], crop: int) -> Knowledge | None:
    """What is known of the pairs among samples, on the CPU; None where there are none."""
    pairs = {i: sample for i, sample in enumerate(samples) if sample.clip.qindex >= 0}
    if not pairs:
        return None
    parts = []
    for name, unit in (("features", 1), ("near", NEAR_UNIT)):
        cuts = {i: _cut_map(getattr(sample.clip, name), sample, crop) / unit for i, sample in pairs.items()}
        zeros = torch.zeros_like(next(iter(cuts.values())))
        parts.append(torch.stack([cuts.get(i, zeros) for i in range(len(samples))]))
    return Knowledge(*parts)


def _cut_map(path: Path, sample: Sample, crop: int) -> Tensor:
    """The sample's window of a map [C, H / 16, W / 16], float32."""
    with path.open("rb") as file:
        whole = np.load(file)
    rows, columns = (slice(first // BLOCK, (first + crop) // BLOCK) for first in (sample.top, sample.left))
    return torch.from_numpy(whole[:, rows, columns].astype(np.float32))


def _cut(sample: Sample, frames: Frames | Tensor) -> Planes:
    """The window of the frames, uint8; of a photo in motion just the photo, T = 1."""
    height, width, top, left, side = sample.clip.height, sample.clip.width, sample.top, sample.left, sample.side
    half = slice(top // 2, (top + side) // 2), slice(left // 2, (left + side) // 2)
    luma, chroma = [], []
    # Slicing by plain numbers, not by a tensor of indices, spares a GPU the wait for a transfer.
    for number in sample.times if sample.motion is None else (0,):
        luma.append(frames[number, : height * width].reshape(1, height, width)[:, top : top + side, left : left + side])
        chroma.append(frames[number, height * width :].reshape(2, height // 2, width // 2)[:, half[0], half[1]])
    return _stack(luma), _stack(chroma)


def _stack(views: list) -> Tensor:
    return torch.stack(views) if isinstance(views[0], Tensor) else torch.from_numpy(np.stack(views))


def _change(sample: Sample, planes: Planes, crop: int) -> Planes:
    """Scale, move and colour; float, values may overshoot 0..255."""
    luma, chroma = (plane.float() for plane in planes)
    if sample.scaled != sample.side:
        luma, chroma = _resize(luma, sample.scaled), _resize(chroma, sample.scaled // 2)
    if sample.motion is not None:
        luma, chroma = _move((luma, chroma), sample.motion, sample.times, crop)
    if sample.colour is not None:
        luma, chroma = _recolour((luma, chroma), sample.colour)
    return luma, chroma


def _resize(plane: Tensor, side: int) -> Tensor:
    return F.interpolate(plane, size=(side, side), mode="bicubic", antialias=True)


def _move(planes: Planes, motion: Motion, times: tuple[int, ...], crop: int) -> Planes:
    """A photo at T times of its motion, cut to its middle; places outside the photo are mirrored in."""
    luma, chroma = planes
    places = _places(motion, times, crop, luma) * (2 / luma.shape[-1])  # -1..1 spans the photo, as grid_sample has it
    return _read(luma, places), _read(chroma, F.avg_pool2d(places, 2))


def _places(motion: Motion, times: tuple[int, ...], crop: int, like: Tensor) -> Tensor:
    """Where each pixel reads the photo, [T, 2, crop, crop]: (x, y) in luma pixels from the middle of the photo."""
    curves = torch.from_numpy(motion.at(times)).to(like.device, non_blocking=True)
    pan, turn, growth = curves[:, :2], curves[:, 2, None, None], curves[:, 3, None, None]
    x, y = (position_grid(crop, crop, like) - crop / 2)[0]
    turned = torch.stack([x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos()], 1)
    controls = curves[:, 4:].reshape(-1, 2, CONTROLS, CONTROLS)
    displacement = F.interpolate(controls, size=(crop, crop), mode="bicubic", align_corners=True)
    return turned * growth.exp()[:, None] + displacement + pan[:, :, None, None]


def _read(plane: Tensor, places: Tensor) -> Tensor:
    copies = plane.expand(len(places), -1, -1, -1)
    grid = places.permute(0, 2, 3, 1)
    return F.grid_sample(copies, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def _recolour(planes: Planes, colour: Colour) -> Planes:
    luma, (u, v) = planes[0], (planes[1] - MIDDLE).unbind(1)
    cos, sin = colour.saturation * math.cos(colour.hue), colour.saturation * math.sin(colour.hue)
    chroma = torch.stack([u * cos - v * sin, u * sin + v * cos], 1) + MIDDLE
    return (luma - MIDDLE) * colour.contrast + MIDDLE + colour.brightness, chroma
