"""The cosine transform over a whole grid of any size."""

import math

import torch
from torch import Tensor


def cosine_transform(x: Tensor) -> Tensor:
    """Orthonormal two-dimensional DCT-II over the last two dimensions, float32."""
    with torch.autocast(x.device.type, enabled=False):
        return _cosine_basis(x.shape[-2], x) @ x.float() @ _cosine_basis(x.shape[-1], x).t()


def inverse_cosine_transform(x: Tensor) -> Tensor:
    """Inverse of `cosine_transform`."""
    with torch.autocast(x.device.type, enabled=False):
        return _cosine_basis(x.shape[-2], x).t() @ x.float() @ _cosine_basis(x.shape[-1], x)


def _cosine_basis(size: int, like: Tensor) -> Tensor:
    """Orthonormal DCT-II matrix [size, size], float32."""
    n = torch.arange(size, device=like.device, dtype=torch.float64)
    basis = torch.cos(math.pi / size * (n[None] + 0.5) * n[:, None]) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    return basis.float()
