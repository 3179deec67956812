"""Least squares with a price on everything that is not zero."""

from collections.abc import Callable

import torch
from torch import Tensor


def sparse_descent(
    downhill: Callable[[Tensor], Tensor], like: Tensor, rate: Tensor, price: Tensor, steps: int
) -> Tensor:
    """Where a cost plus `price` times the sum of magnitudes is least, by proximal gradient steps from zero.

    They are accelerated as in Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm" (2009).

    Args:
        downhill: the negative gradient of the cost at [B, ...].
        like: any tensor of the shape of the result.
        rate: length of a step, at most the inverse of the largest curvature; broadcasts, as does `price`.
    """
    ahead = found = torch.zeros_like(like)
    momentum = 1.0
    for _ in range(steps):
        reached = ahead + rate * downhill(ahead)
        before, found = found, reached.sign() * (reached.abs() - rate * price).clamp_min(0)
        momentum, last = (1 + (1 + 4 * momentum**2) ** 0.5) / 2, momentum
        ahead = found + (last - 1) / momentum * (found - before)
    return found
