"""Arithmetic of the decoder that needs no network (bitstreams/SPEC.md, "Symbols of a frame")."""

from collections.abc import Sequence

import numpy as np

from imfcodec.light.model import Array
from imfcodec.models.roles import Role
from imfcodec.models.structure import MAX_LEVEL, Step

PLACES = ((0, 0), (1, 1), (0, 1), (1, 0))  # row and column of the four places of each 2x2 cell, in coding order
MAX_SPAN = 63


def token_planes(level: Sequence[Step], qindex: Array, height: int, width: int) -> Array:
    """What the tables of tokens know beside symbols: quantiser index, role, level, span and frequency [B, 9, h, w]."""
    scalars = [
        (
            index // 2 / 16,
            *(2.0 * (step.role is role) for role in Role),
            min(step.level, MAX_LEVEL),
            min(step.span, MAX_SPAN) / 8,
        )
        for step, index in zip(level, qindex, strict=True)
    ]
    rows, columns = np.arange(height)[:, None] * 128 // height, np.arange(width)[None] * 128 // width
    frequency = np.stack(np.broadcast_arrays(rows, columns, np.maximum(rows, columns))) / 16
    spread = np.broadcast_to(np.array(scalars)[:, :, None, None], (len(level), len(scalars[0]), height, width))
    whole = np.broadcast_to(frequency, (len(level), *frequency.shape))
    return np.concatenate([spread, whole], 1).astype(np.float32)


def inverse_cosine_transform(x: Array) -> Array:
    """Inverse orthonormal two-dimensional DCT-II over the last two dimensions, float32."""
    rows, columns = (_cosine_basis(size) for size in x.shape[-2:])
    moved: Array = rows.T @ x @ columns
    return moved


def _cosine_basis(size: int) -> Array:
    n = np.arange(size)
    basis = np.cos(np.pi / size * (n[None] + 0.5) * n[:, None]) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    return basis.astype(np.float32)


def take_places(x: Array, number: int) -> Array:
    """What pass `number` codes of [B, C, h, w], [B, C, h / 2, w / 2]; see `models.latent_prior.take_places`."""
    quarters = np.split(x, 4, axis=1)
    return np.concatenate([quarter[_cells(group + number)] for group, quarter in enumerate(quarters)], 1)


def put_places(whole: Array, part: Array, number: int) -> None:
    """Write what `take_places` takes."""
    for group, (target, values) in enumerate(zip(np.split(whole, 4, axis=1), np.split(part, 4, axis=1), strict=True)):
        target[_cells(group + number)] = values


def _cells(place: int) -> tuple[slice, ...]:
    row, column = PLACES[place % 4]
    return slice(None), slice(None), slice(row, None, 2), slice(column, None, 2)
