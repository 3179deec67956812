"""Registration without learning: the displacement that best moves the references onto a frame.

First whole cells, place by place, as far as things move between two frames; then, coarse to fine, a few Gauss-Newton
steps a scale (Lucas and Kanade 1981) for all places of the token grid together: each pixel lies between many of them,
and solving for one at a time leaves a fifth of the error. The normal equations are solved by conjugate gradients. It
gives E_T a start that is already good; only the encoder runs it.
"""

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.models.displacement import FIELD, GRID, bases, both_sides, reference_displacements, spread
from imfcodec.nn.cosine import cosine_transform, inverse_cosine_transform
from imfcodec.nn.picture import sample
from imfcodec.nn.quantize import SYMBOL_BITS
from imfcodec.nn.sparse import sparse_descent

CELLS = ((8, 2), (4, 2), (2, 2), (1, 1))  # luma pixels per sample, coarse to fine, and steps there
REACH = 5  # cells of SEARCH_CELL luma pixels, both ways
SEARCH_CELL = 8
MARGIN = 0.3  # whole cells are moved where no more than this share of the error is left
ITERATIONS = 3  # of conjugate gradients
DAMPING = 1e-5
ROBUST = 0.3  # residuals (of 0..1 samples) well above this count linearly, not squared
TINY = 1e-20
ECONOMY_CELL = 2  # luma pixels per sample where displacements are weighed against their bits
ECONOMY_STEPS = 30
POWER_STEPS = 10
POWER_MARGIN = 1.5  # by which so few steps may fall short


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
        scales = _pyramid(torch.cat([luma, *references]))
        target, *coarse = scales[SEARCH_CELL].split(len(luma))
        u = _search(target, coarse, fields, guess)
        for cell, steps in CELLS:
            target, small = scales[cell].tensor_split([len(luma)])
            moves = torch.cat(reference_displacements(u, fields))
            for _ in range(steps):
                step = _gauss_newton_step(cell, target, small, moves, (u - guess)[:, :2], pull)
                u = torch.cat([u[:, :2] + step, u[:, 2:]], 1)
                moves = moves + spread(step).repeat(len(references), 1, 1, 1)
        return u


@torch.no_grad()
def economise(
    luma: Tensor,
    references: list[Tensor],
    fields: list[Tensor],
    u: Tensor,
    guess: Tensor,
    step: Tensor,
    bit_price: Tensor,
) -> Tensor:
    """The displacement of local tokens, as far as it is worth its bits.

    Around the displacement given, squared error is a quadratic function of the coefficients that are coded; what is
    found is where it is least together with what symbols cost.

    Args:
        luma, references, fields, guess: as in `register`.
        u: local tokens [B, D, H / 32, W / 32].
        step: [B, 2] quantisation steps of the displacement, luma pixels.
        bit_price: [B] squared error, summed over pixels, that a bit is worth.
    Returns:
        [B, 2, H / 32, W / 32], luma pixels.
    """
    with torch.autocast(luma.device.type, enabled=False):
        target, small = F.avg_pool2d(torch.cat([luma, *references]), ECONOMY_CELL).tensor_split([len(luma)])
        moves = torch.cat(reference_displacements(u, fields))
        error, curvature = _linearised(ECONOMY_CELL, target, small, moves)
        there = cosine_transform((u - guess)[:, :2])
        rate = 1 / (_largest_curvature(curvature, error) + TINY)
        price = SYMBOL_BITS / step[:, :, None, None] * (bit_price / ECONOMY_CELL**2)[:, None, None, None] / 2
        found = sparse_descent(lambda x: error - curvature(x - there), there, rate, price, ECONOMY_STEPS)

        def cost(x: Tensor) -> Tensor:
            return _dot(x - there, curvature(x - there) - 2 * error) + 2 * _dot(price, x.abs())

        # The rate of descent rests on an estimate; whatever becomes of it, nothing gets dearer.
        for other in (torch.zeros_like(there), there):
            found = torch.where(cost(found) <= cost(other), found, other)
        return guess[:, :2] + inverse_cosine_transform(found)


def _largest_curvature(curvature: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """About the largest eigenvalue, [B, 1, 1, 1], by power iteration."""
    x = start
    for _ in range(POWER_STEPS):
        x = curvature(x / (_dot(x, x).sqrt() + TINY))
    return POWER_MARGIN * _dot(x, x).sqrt()


def _pyramid(planes: Tensor) -> dict[int, Tensor]:
    """Planes [N, 1, H, W] by the luma pixels per sample, 1 to `SEARCH_CELL`."""
    scales = {1: planes}
    while (cell := max(scales)) < SEARCH_CELL:
        scales[2 * cell] = F.avg_pool2d(scales[cell], 2)
    return scales


def _search(target: Tensor, references: Sequence[Tensor], fields: list[Tensor], guess: Tensor) -> Tensor:
    """The guess, moved by whole cells where that explains the frame much better; a sample of the planes is a cell."""
    moves = reference_displacements(guess, fields)
    moved = [sample(reference, move / SEARCH_CELL) for reference, move in zip(references, moves, strict=True)]
    padded = F.pad(torch.cat(moved, 1), (REACH,) * 4, mode="replicate")
    height, width = target.shape[-2:]
    shifts = [(x, y) for y in range(-REACH, REACH + 1) for x in range(-REACH, REACH + 1)]
    shifted = padded.unfold(2, height, 1).unfold(3, width, 1).flatten(2, 3)  # [B, references, shifts, h, w]
    errors, stride = (target[:, None] - shifted).square().sum(1), GRID // SEARCH_CELL
    total = F.avg_pool2d(F.pad(errors, (stride // 2,) * 4, mode="replicate"), 2 * stride, stride)
    still = total[:, len(shifts) // 2]
    least, best = total.min(1)
    chosen = torch.where(least < MARGIN * still, best, len(shifts) // 2)
    step = torch.tensor(shifts, device=target.device, dtype=guess.dtype)[chosen].movedim(-1, 1) * SEARCH_CELL
    return torch.cat([guess[:, :2] + step, guess[:, 2:]], 1)


def _gauss_newton_step(
    cell: int, target: Tensor, references: Tensor, moves: Tensor, deviation: Tensor, pull: Tensor
) -> Tensor:
    """Displacement update [B, 2, H / 32, W / 32] in luma pixels.

    Args:
        target: the frame [B, 1, h, w], a sample of `cell` luma pixels.
        references, moves: [R * B, 1, h, w] and [R * B, 2, H / 8, W / 8], those of the first reference first.
        deviation: of the displacement from the guess.
    """
    height, width = deviation.shape[-2:]
    hold = pull[:, None, None, None] / cell**2 * _frequencies(height, width, target.device)
    error, curvature = _linearised(cell, target, references, moves)

    def normal(x: Tensor) -> Tensor:
        return curvature(x) + (hold + DAMPING) * x

    step = _conjugate_gradients(normal, error - hold * cosine_transform(deviation))
    return inverse_cosine_transform(step).clamp(-2 * cell, 2 * cell)


def _linearised(
    cell: int, target: Tensor, references: Tensor, moves: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """What is left of the frame, as a function of the displacement's coefficients x [B, 2, H / 32, W / 32].

    Arguments are as in `_gauss_newton_step`.

    Returns:
        b and A of the sum of squares, x' A x - 2 b' x and a constant.
    """
    height, width = (size * cell // GRID for size in target.shape[-2:])
    field = F.interpolate(moves, size=target.shape[-2:], mode="bilinear", align_corners=False)
    moved = sample(references, field / cell)
    slope = _gradient(moved, cell)
    residual = target.repeat(len(moved) // len(target), 1, 1, 1) - moved
    trusted = slope / (1 + residual.abs() / ROBUST)
    error = both_sides(_sum_of(trusted * residual, len(target)), *bases(height, width, cell, target.device))
    # How the error turns is needed only about as finely as displacements vary.
    products = _sum_of(trusted[:, None] * slope[:, :, None], len(target)).flatten(1, 2)
    products = F.avg_pool2d(products, FIELD // cell).unflatten(1, (2, 2)) * (FIELD // cell) ** 2
    down, across = bases(height, width, FIELD, target.device)

    def curvature(x: Tensor) -> Tensor:
        dense = both_sides(x, down.t(), across.t())
        return both_sides((products * dense[:, None]).sum(2), down, across)

    return error, curvature


def _sum_of(x: Tensor, batch: int) -> Tensor:
    """Sum over references, [R * B, ...] -> [B, ...]."""
    return x if len(x) == batch else x.unflatten(0, (-1, batch)).sum(0)


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
def _frequencies(height: int, width: int, device: torch.device) -> Tensor:
    """Weight of each coefficient of the cosine transform [height, width]: the higher its frequency, the dearer."""
    with torch.inference_mode(False):
        row, column = (torch.arange(size, device=device) / size for size in (height, width))
        return 0.1 + torch.maximum(row[:, None], column[None])
