"""Displacements in canonical coordinates: one field of the frame serves all of its references.

Place p of the frame and place p' of a reference show the same thing when p + d_c(p) = p' + d_r(p'). The anchor of a
group has d_r = 0. The fields live at 1/8 scale, in luma pixels.
"""

import torch.nn.functional as F
from torch import Tensor

from imfcodec.nn.picture import sample

GRID = 32  # luma pixels per local token
FIELD = 8  # luma pixels per place of a displacement field


def canonical_field(u: Tensor) -> Tensor:
    """d_c [B, 2, H / 8, W / 8] of a token's local part u [B, D, H / 32, W / 32]."""
    return spread(u[:, :2])


def spread(grid: Tensor) -> Tensor:
    """From the token grid [B, C, H / 32, W / 32] to that of the fields, [B, C, H / 8, W / 8], float32: bicubic."""
    return F.interpolate(grid.float(), scale_factor=GRID // FIELD, mode="bicubic", align_corners=False)


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
