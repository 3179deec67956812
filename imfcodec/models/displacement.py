"""Displacements in canonical coordinates: one field of the frame serves all of its references.

Place p of the frame and place p' of a reference show the same thing when p + d_c(p) = p' + d_r(p'). The anchor of a
group has d_r = 0. The fields live at 1/8 scale, in luma pixels.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.models.structure import MOTION_CHANNELS
from imfcodec.nn.cosine import inverse_cosine_transform
from imfcodec.nn.picture import sample

GRID = 32  # luma pixels per local token
FIELD = 8  # luma pixels per place of a displacement field
BLEND = slice(4, 5)  # the channel of u that says which of two references each place is taken from


def canonical_field(u: Tensor) -> Tensor:
    """d_c [B, 2, H / 8, W / 8] of a token's local part u [B, D, H / 32, W / 32]."""
    return spread(u[:, :MOTION_CHANNELS])


def spread(grid: Tensor) -> Tensor:
    """From the token grid [B, C, H / 32, W / 32] to that of the fields, [B, C, H / 8, W / 8], float32: bicubic."""
    return F.interpolate(grid.float(), scale_factor=GRID // FIELD, mode="bicubic", align_corners=False)


def bases(height: int, width: int, cell: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What each frequency along rows and along columns of the token grid adds to samples, one each `cell` luma pixels.

    Samples are those of `spread`, bilinear between its places.

    Returns:
        [height * 32 / cell, height] and [width * 32 / cell, width], float32.
    """
    return _basis(height, cell, device), _basis(width, cell, device)


@functools.lru_cache
def _basis(places: int, cell: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        waves = inverse_cosine_transform(torch.eye(places, device=device)[:, None, None])
        field = spread(waves.expand(-1, 1, places, -1))
        dense = F.interpolate(field, size=(1, places * GRID // cell), mode="bilinear", align_corners=False)
        return dense[:, 0, 0].t().contiguous()


def both_sides(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """down.t() @ x @ across, as products of two matrices each: batched ones are slow."""
    return ((x @ across).transpose(2, 3) @ down).transpose(2, 3)


def reference_displacements(u: Tensor, fields: list[Tensor]) -> list[Tensor]:
    """Where each place of the frame lies in each reference, relative to itself.

    Args:
        u: local token [B, D, H / 32, W / 32].
        fields: canonical displacement [B, 2, H / 8, W / 8] of each reference, the first one's first.
    Returns:
        One [B, 2, H / 8, W / 8] per reference, luma pixels.
    """
    own = canonical_field(u)
    moves = [_solve(own, fields[0])]
    for field in fields[1:]:
        moves.append(_solve(own, field) + spread(u[:, 2:4]))
    return moves


def _solve(own: Tensor, field: Tensor) -> Tensor:
    """p' - p with p + own(p) = p' + field(p'), by two fixed-point steps."""
    move = own - field
    for _ in range(2):
        move = own - sample(field, move / FIELD)
    return move
