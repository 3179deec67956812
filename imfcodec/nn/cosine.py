"""The cosine transform over a whole grid of any size."""

import functools
import math

import torch
from torch import Tensor


def cosine_transform(x: Tensor) -> Tensor:
    """Orthonormal two-dimensional DCT-II over the last two dimensions, float32."""
    with torch.autocast(x.device.type, enabled=False):
        return _cosine_basis(x.shape[-2], x.device) @ x.float() @ _cosine_basis(x.shape[-1], x.device).t()


def inverse_cosine_transform(x: Tensor) -> Tensor:
    """Inverse of `cosine_transform`."""
    with torch.autocast(x.device.type, enabled=False):
        return _cosine_basis(x.shape[-2], x.device).t() @ x.float() @ _cosine_basis(x.shape[-1], x.device)


@functools.lru_cache
def _cosine_basis(size: int, device: torch.device) -> Tensor:
    """Orthonormal DCT-II matrix [size, size], float32."""
    with torch.inference_mode(False):
        n = torch.arange(size, device=device, dtype=torch.float64)
        basis = torch.cos(math.pi / size * (n[None] + 0.5) * n[:, None]) * (2 / size) ** 0.5
        basis[0] /= 2**0.5
        return basis.float()
