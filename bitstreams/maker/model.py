"""A model of a few thousand weights, made by arithmetic alone: nothing is trained, so nothing makes it obsolete.

It decodes to real pictures: y is a polynomial of every 16x16 block. Its integer networks answer to each of their
inputs, so that a wrong context, pass, neighbour or level gives other symbols; its floating-point networks do as much
for pixels.
"""

import json
import math

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save

from imfcodec.config import ModelConfig
from imfcodec.entropy.tables import PRECISION, Tables
from imfcodec.models.coding import SCALE_LEVELS, Table
from imfcodec.models.network import ImfNetwork
from imfcodec.nn.quantize import IntegerDepthwise, IntegerPointwise, QuantizationSteps
from maker.numbers import Numbers

CONFIG = ModelConfig(
    latent_channels=8,
    latent_blocks=1,
    reference_channels=4,
    reference_depth=1,
    hyper_channels=2,
    context_channels=4,
    context_depth=1,
    integer_channels=8,
    frame_channels=4,
    frame_depth=1,
    align_channels=(4, 4),
    align_heads=2,
    align_depth=1,
    wavelengths=(4.0, 16.0),
    gate_channels=2,
    global_channels=4,
    grid_channels=6,
    token_channels=1,
    quality_knots=3,
)
HYPER_VALUES = ((-3, 5), (0, 4))  # smallest value and number of values of each channel of z
LARGEST_REACH = 12

Array = npt.NDArray[np.float64]

# How far weights reach, times 1 / sqrt(inputs) for floating-point layers; the longest prefix counts.
GAINS = {
    "": 1.0,
    "dense_feature_encoder.": 0.0,
    "latent_token_encoder.": 0.0,
    "alignment.offsets.": 0.5,
    "frame_decoder.head.": 0.04,
    "reference_decoder.head.": 0.04,
    "reference_decoder.refine.": 0.5,
    "latent_prior.indices.": 0.5,
    "token_prior.u_index.": 0.5,
    "token_prior.g_index.": 0.5,
}
# Logarithm of the quantisation step at the lowest and at the highest quality.
STEPS = {"latent_prior.": (0.5, -3.0), "token_prior.u_steps.": (1.0, -2.0), "token_prior.g_steps.": (0.5, -2.0)}


def make_model() -> bytes:
    """The model file."""
    network = ImfNetwork(CONFIG)
    modules = dict(network.named_modules())
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    for name, value in network.state_dict().items():
        layer, _, part = name.rpartition(".")
        is_exact = isinstance(modules[layer], IntegerPointwise | IntegerDepthwise | QuantizationSteps)
        weights = _weights(name, part, modules[layer], tuple(value.shape))
        tensors[name] = weights.astype(np.float32 if is_exact else np.float16)
    for table, rows in make_tables().items():
        for part in ("cdf", "lengths", "offsets"):
            tensors[f"tables.{table.value}.{part}"] = getattr(rows, part)
    return save(tensors, metadata={"config": json.dumps(CONFIG.to_dict())})


def _weights(name: str, part: str, layer: torch.nn.Module, shape: tuple[int, ...]) -> Array:
    if name == "reference_decoder.synthesis.weight":
        return _block_basis()
    if name == "dense_feature_encoder.analysis.weight":
        return _block_basis().T
    if part == "log_step":
        return _log_steps(name, shape)
    if part == "sharpness":
        return np.full(shape, 2.0)
    if isinstance(layer, torch.nn.LayerNorm) and part == "weight":
        return np.ones(shape)
    gain = GAINS[max((prefix for prefix in GAINS if name.startswith(prefix)), key=len)]
    if isinstance(layer, IntegerPointwise | IntegerDepthwise):
        return _integer_weights(name, shape, gain)
    inputs = int(np.prod(shape[1:])) if part == "weight" else 1
    return Numbers(name).spread(shape) * gain / math.sqrt(inputs)


def _integer_weights(name: str, shape: tuple[int, ...], gain: float) -> Array:
    """Multiples of 1/512 and so in need of rounding, a few of them beyond what they are clipped to."""
    weights = Numbers(name).spread(shape) * gain
    if name.endswith("leave.bias") or name.endswith("index.2.bias"):
        return weights + 1.5  # outputs lie about the middle of the tables
    if name.endswith("weight"):
        weights.reshape(-1)[::37] *= 8
    return weights


def _log_steps(name: str, shape: tuple[int, ...]) -> Array:
    low, high = next(ends for prefix, ends in STEPS.items() if name.startswith(prefix))
    knots = np.arange(shape[0])[:, None] / (shape[0] - 1)
    return low + (high - low) * knots + Numbers(name).spread(shape) / 8


def _block_basis() -> Array:
    """[384, 8]: six polynomials of luma over a 16x16 block, then each chroma plane; in the order of SPEC.md."""
    place = (2 * np.arange(16) - 15) / 16
    y, x = np.meshgrid(place, place, indexing="ij")
    luma = [np.ones((16, 16)), x, y, x * y, x * x - 0.375, y * y - 0.375]
    basis = np.zeros((4, 96, 8))
    for cell, (row, column) in enumerate(((0, 0), (0, 8), (8, 0), (8, 8))):
        for channel, plane in enumerate(luma):
            basis[cell, :64, channel] = plane[row : row + 8, column : column + 8].reshape(-1) / 16
        basis[cell, 64:80, 6] = basis[cell, 80:96, 7] = 1 / 8
    return basis.reshape(384, 8)


def make_tables() -> dict[Table, Tables]:
    """Tables by whole numbers alone: falling masses about 0, wider from row to row; uneven ones for z."""
    gaussian = [_falling_row(index) for index in range(SCALE_LEVELS)]
    hyper = [_row([3 + (7 * value) % 5 for value in range(count)], first) for first, count in HYPER_VALUES]
    return {Table.GAUSSIAN: _stack(gaussian), Table.HYPER: _stack(hyper)}


def _falling_row(index: int) -> tuple[list[int], int]:
    num, den = 2 * index + 1, 2 * index + 8
    one_side = [(1 << 20) * num**size // den**size for size in range(1, LARGEST_REACH + 1)]
    one_side = [mass for mass in one_side if mass >> 8]
    return _row([*one_side[::-1], 1 << 20, *one_side], -len(one_side))


def _row(masses: list[int], first: int) -> tuple[list[int], int]:
    """A row with an escape of about 1/256, and its first value."""
    masses = [*masses, (sum(masses) >> 8) + 1]
    spare, total = (1 << PRECISION) - len(masses), sum(masses)
    return [sum(masses[:n]) * spare // total + n for n in range(len(masses) + 1)], first


def _stack(rows: list[tuple[list[int], int]]) -> Tables:
    longest = max(len(cdf) for cdf, _ in rows)
    cdf = np.array([[*row, *[0] * (longest - len(row))] for row, _ in rows], np.int32)
    lengths, offsets = [len(row) for row, _ in rows], [first for _, first in rows]
    return Tables(cdf, np.array(lengths, np.int32), np.array(offsets, np.int32))
