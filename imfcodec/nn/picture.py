"""Pictures as tensors: 4:2:0 planes, their 8x8 patches, and sampling them along a displacement field."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 8
PATCH_CHANNELS = PATCH * PATCH + 2 * (PATCH // 2) ** 2
# Weight of a chroma sample in the patch domain; squared errors of patches are then Y + (U + V) / 8 per luma pixel.
CHROMA_GAIN = 0.5**0.5


class Picture(NamedTuple):
    """A batch of 4:2:0 pictures, float, -0.5..0.5 for the sample values 0..255.

    Attributes:
        luma: [B, 1, H, W]; H and W multiples of 64 inside the codec.
        chroma: [B, 2, H / 2, W / 2].
    """

    luma: Tensor
    chroma: Tensor


def to_patches(picture: Picture) -> Tensor:
    """Orthonormal rearrangement to [B, 96, H / 8, W / 8]: 64 luma samples, then 2 x 16 weighted chroma samples."""
    return torch.cat([_cells(picture.luma, PATCH), _cells(picture.chroma, PATCH // 2) * CHROMA_GAIN], -1).movedim(-1, 1)


def from_patches(patches: Tensor) -> Picture:
    """Inverse of `to_patches`."""
    luma, chroma = patches.split([PATCH * PATCH, PATCH_CHANNELS - PATCH * PATCH], 1)
    return Picture(F.pixel_shuffle(luma, PATCH), F.pixel_shuffle(chroma, PATCH // 2) / CHROMA_GAIN)


def _cells(plane: Tensor, side: int) -> Tensor:
    """[B, C, H, W] -> [B, H / side, W / side, C * side^2] in the order of channel, row, column."""
    batch, channels, height, width = plane.shape
    cells = plane.reshape(batch, channels, height // side, side, width // side, side)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, height // side, width // side, channels * side * side)


def position_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Cell centres [1, 2, height, width] as (x, y) in cells, first centre at 0.5, on the device of `like`, float32."""
    y = torch.arange(height, device=like.device, dtype=torch.float32) + 0.5
    x = torch.arange(width, device=like.device, dtype=torch.float32) + 0.5
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1])[None]


def sample(plane: Tensor, displacement: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample `plane` where each place points to.

    Args:
        plane: float [B, C, h, w].
        displacement: float [B, 2, h, w], (x, y) in cells of the plane; place p reads plane(p + displacement(p)).
        mode: "bilinear" or "bicubic".
    Returns:
        [B, C, h, w]; places outside the plane read its border.
    """
    height, width = plane.shape[-2:]
    size = torch.tensor([width, height], device=plane.device, dtype=torch.float32)
    grid = (position_grid(height, width, plane) + displacement.float()).permute(0, 2, 3, 1) * 2 / size - 1
    return F.grid_sample(plane, grid.to(plane.dtype), mode=mode, padding_mode="border", align_corners=False)


def move(picture: Picture, displacement: Tensor) -> Picture:
    """The moved copy: `picture` sampled along a displacement field.

    Args:
        picture: the reference.
        displacement: float [B, 2, h, w] at any coarser scale, in luma pixels.
    """
    field = F.interpolate(displacement.float(), size=picture.luma.shape[-2:], mode="bilinear", align_corners=False)
    half = F.avg_pool2d(field, 2) / 2
    return Picture(sample(picture.luma, field, "bicubic"), sample(picture.chroma, half))
