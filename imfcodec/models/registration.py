"""Registration without learning: the displacement that best moves the references onto a frame.

First whole cells, place by place, as far as things move between two frames; then, coarse to fine, a few Gauss-Newton
steps a scale (Lucas and Kanade 1981) for all places of the token grid together: each pixel lies between many of them,
and solving for one at a time leaves a fifth of the error. The normal equations are solved by conjugate gradients. It
gives E_T a start that is already good; only the encoder runs it.
"""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.models.displacement import GRID, reference_displacements, spread
from imfcodec.nn.cosine import cosine_transform, inverse_cosine_transform
from imfcodec.nn.picture import sample

CELLS = ((8, 3), (4, 3), (2, 2), (1, 1))  # luma pixels per sample, coarse to fine, and steps there
REACH = 5  # cells of SEARCH_CELL luma pixels, both ways
SEARCH_CELL = 8
MARGIN = 0.3  # whole cells are moved where no more than this share of the error is left
ITERATIONS = 3  # of conjugate gradients
DAMPING = 1e-5
ROBUST = 0.3  # residuals (of 0..1 samples) well above this count linearly, not squared
TINY = 1e-20


@torch.no_grad()
def register(luma: Tensor, references: list[Tensor], fields: list[Tensor], guess: Tensor, pull: Tensor) -> Tensor:
    """Local tokens whose displacement moves the references onto the frame.

    Args:
        luma: [B, 1, H, W] the frame.
        references: [B, 1, H, W] each.
        fields: canonical displacements of the references [B, 2, H / 8, W / 8], luma pixels.
        guess: local tokens [B, D, H / 32, W / 32] to start from.
        pull: [B] squared error, summed over pixels, that a squared pixel of deviation from the guess is worth, at the
            highest frequency of its cosine transform, so that the result costs fewer bits.
    Returns:
        [B, D, H / 32, W / 32]; only the first two channels differ from the guess.
    """
    with torch.autocast(luma.device.type, enabled=False):  # 8 bits of mantissa do not solve equations
        u = _search(luma, references, fields, guess)
        for cell, steps in CELLS:
            target, small = F.avg_pool2d(luma, cell), [F.avg_pool2d(reference, cell) for reference in references]
            for _ in range(steps):
                moves, deviation = reference_displacements(u, fields), (u - guess)[:, :2]
                step = _gauss_newton_step(cell, target, small, moves, deviation, pull)
                u = torch.cat([u[:, :2] + step, u[:, 2:]], 1)
        return u


def _search(luma: Tensor, references: list[Tensor], fields: list[Tensor], guess: Tensor) -> Tensor:
    """The guess, moved by whole cells where that explains the frame much better."""
    target = F.avg_pool2d(luma, SEARCH_CELL)
    moves = reference_displacements(guess, fields)
    moved = [sample(F.avg_pool2d(r, SEARCH_CELL), d / SEARCH_CELL) for r, d in zip(references, moves, strict=True)]
    padded = F.pad(torch.cat(moved, 1), (REACH,) * 4, mode="replicate")
    height, width = target.shape[-2:]
    shifts = [(x, y) for y in range(-REACH, REACH + 1) for x in range(-REACH, REACH + 1)]
    errors, stride = [], GRID // SEARCH_CELL
    for x, y in shifts:
        shifted = padded[..., REACH + y : REACH + y + height, REACH + x : REACH + x + width]
        error = (target - shifted).square().sum(1, keepdim=True)
        errors.append(F.avg_pool2d(F.pad(error, (stride // 2,) * 4, mode="replicate"), 2 * stride, stride))
    total = torch.cat(errors, 1)
    still = total[:, len(shifts) // 2]
    least, best = total.min(1)
    chosen = torch.where(least < MARGIN * still, best, len(shifts) // 2)
    step = torch.tensor(shifts, device=luma.device, dtype=guess.dtype)[chosen].movedim(-1, 1) * SEARCH_CELL
    return torch.cat([guess[:, :2] + step, guess[:, 2:]], 1)


def _gauss_newton_step(
    cell: int, target: Tensor, references: list[Tensor], moves: list[Tensor], deviation: Tensor, pull: Tensor
) -> Tensor:
    """Displacement update [B, 2, H / 32, W / 32] in luma pixels; `deviation` is that from the guess."""
    height, width = deviation.shape[-2:]
    down, across = _basis(height, cell, target.device), _basis(width, cell, target.device)
    hold = pull[:, None, None, None] / cell**2 * _frequencies(height, width, target.device)
    products, error = torch.zeros((), device=target.device), torch.zeros((), device=target.device)
    for reference, move in zip(references, moves, strict=True):
        field = F.interpolate(move, size=target.shape[-2:], mode="bilinear", align_corners=False)
        moved = sample(reference, field / cell)
        slope = _gradient(moved, cell)
        residual = target - moved
        trust = 1 / (1 + residual.abs() / ROBUST)
        products = products + trust * torch.cat([slope * slope, slope[:, :1] * slope[:, 1:]], 1)
        error = error + trust * slope * residual
    xx, yy, xy = products.split(1, 1)

    def held(x: Tensor) -> Tensor:
        return inverse_cosine_transform(hold * cosine_transform(x))

    def normal(x: Tensor) -> Tensor:
        dense = down @ x @ across.t()
        turned = torch.cat([xx * dense[:, :1] + xy * dense[:, 1:], xy * dense[:, :1] + yy * dense[:, 1:]], 1)
        return down.t() @ turned @ across + held(x) + DAMPING * x

    step = _conjugate_gradients(normal, down.t() @ error @ across - held(deviation))
    return step.clamp(-2 * cell, 2 * cell)


def _conjugate_gradients(operator: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
    """An approximate solution x [B, ...] of operator(x) = right, symmetric and positive, sample by sample."""
    x, residual, direction = torch.zeros_like(right), right, right
    energy = _dot(residual, residual)
    for _ in range(ITERATIONS):
        image = operator(direction)
        length = energy / (_dot(direction, image) + TINY)
        x, residual = x + length * direction, residual - length * image
        before, energy = energy, _dot(residual, residual)
        direction = residual + energy / (before + TINY) * direction
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2, 3), keepdim=True)


def _gradient(picture: Tensor, cell: int) -> Tensor:
    """Slopes along x and y of [B, 1, h, w] by luma pixel, [B, 2, h, w]."""
    padded = F.pad(picture, (1, 1, 1, 1), mode="replicate")
    x = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    y = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return torch.cat([x, y], 1) / (2 * cell)


@functools.lru_cache
def _basis(places: int, cell: int, device: torch.device) -> Tensor:
    """What each of `places` along one axis adds to the displacement at every sample, [places * 32 / cell, places]."""
    with torch.inference_mode(False):
        unit = torch.eye(places, device=device)[:, None, None]
        field = spread(unit.expand(-1, 1, places, -1))
        dense = F.interpolate(field, size=(1, places * GRID // cell), mode="bilinear", align_corners=False)
        return dense[:, 0, 0].t().contiguous()


@functools.lru_cache
def _frequencies(height: int, width: int, device: torch.device) -> Tensor:
    """Weight of each coefficient of the cosine transform [height, width]: the higher its frequency, the dearer."""
    with torch.inference_mode(False):
        row, column = (torch.arange(size, device=device) / size for size in (height, width))
        return 0.1 + torch.maximum(row[:, None], column[None])
