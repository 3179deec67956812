"""Registration without learning: the displacement that best moves the references onto a frame.

Coarse to fine, a few damped Gauss-Newton steps a scale on the token grid (Lucas and Kanade 1981), with weights that
bound the influence of outliers. It gives E_T a start that is already good; only the encoder runs it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.models.displacement import GRID, reference_displacements
from imfcodec.nn.picture import sample

CELLS = (16, 8, 4, 2)  # luma pixels per sample, coarse to fine
STEPS = 3  # Gauss-Newton steps a scale
DAMPING = 1e-5
ROBUST = 0.1  # residuals (of 0..1 samples) well above this count linearly, not squared


@torch.no_grad()
def register(luma: Tensor, references: list[Tensor], fields: list[Tensor], guess: Tensor, pull: Tensor) -> Tensor:
    """Local tokens whose displacement moves the references onto the frame.

    Args:
        luma: [B, 1, H, W] the frame.
        references: [B, 1, H, W] each.
        fields: canonical displacements of the references [B, 2, H / 8, W / 8], luma pixels.
        guess: local tokens [B, D, H / 32, W / 32] to start from.
        pull: [B] how strongly the result is held to the guess, so that it costs fewer bits.
    Returns:
        [B, D, H / 32, W / 32]; only the first two channels differ from the guess.
    """
    u = guess
    for cell in CELLS:
        target = F.avg_pool2d(luma, cell)
        small = [F.avg_pool2d(r, cell) for r in references]
        for _ in range(STEPS):
            step = _gauss_newton_step(cell, target, small, reference_displacements(u, fields), u - guess, pull)
            u = torch.cat([u[:, :2] + step, u[:, 2:]], 1)
    return u


def _gauss_newton_step(
    cell: int, target: Tensor, references: list[Tensor], moves: list[Tensor], deviation: Tensor, pull: Tensor
) -> Tensor:
    """Displacement update [B, 2, H / 32, W / 32] in luma pixels."""
    window = _window(GRID // cell, target)
    total = torch.zeros((), device=target.device)
    for reference, move in zip(references, moves, strict=True):
        field = F.interpolate(move, size=target.shape[-2:], mode="bilinear", align_corners=False)
        moved = sample(reference, field / cell)
        total = total + _windowed_sums(_normal_terms(target, moved, cell), window)
    scale = float(window.sum()) / ROBUST
    hold = (pull * scale)[:, None, None]
    xx, xy, yy, xe, ye = total.unbind(1)
    xx, yy = xx + DAMPING * scale + hold, yy + DAMPING * scale + hold
    xe, ye = xe - hold * deviation[:, 0], ye - hold * deviation[:, 1]
    determinant = xx * yy - xy * xy
    step = torch.stack([(yy * xe - xy * ye) / determinant, (xx * ye - xy * xe) / determinant], 1)
    return step.clamp(-2 * cell, 2 * cell)


def _normal_terms(target: Tensor, moved: Tensor, cell: int) -> Tensor:
    """Robustly weighted products of gradients and residual, [B, 5, h, w]."""
    padded = F.pad(moved, (1, 1, 1, 1), mode="replicate")
    x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / (2 * cell)
    y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / (2 * cell)
    residual = target - moved
    return torch.cat([x * x, x * y, y * y, x * residual, y * residual], 1) / (residual.abs() + ROBUST)


def _window(size: int, like: Tensor) -> Tensor:
    """Raised-cosine window [1, 1, 2 * size, 2 * size] over a grid place and half of each neighbour."""
    ramp = torch.sin((torch.arange(2 * size, device=like.device) + 0.5) / (2 * size) * math.pi).square()
    return (ramp[:, None] * ramp)[None, None]


def _windowed_sums(terms: Tensor, window: Tensor) -> Tensor:
    batch, channels, height, width = terms.shape
    size = window.shape[-1] // 2
    flat = F.pad(terms.reshape(batch * channels, 1, height, width), (size // 2,) * 4)
    return F.conv2d(flat, window, stride=size).reshape(batch, channels, height // size, width // size)
