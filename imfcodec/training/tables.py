"""Probability tables for the coder: CompressAI's models, fitted to counted symbols."""

import functools
import math

import numpy as np
import numpy.typing as npt
import torch
from compressai._CXX import pmf_to_quantized_cdf
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from torch import Tensor

from imfcodec.entropy.tables import PRECISION, Tables
from imfcodec.models.coding import SCALE_LEVELS, SCALE_MIN, SCALE_RATIO, Table

REACH = 512  # symbols beyond +-REACH are escapes in every table
TAIL_MASS = 2.0**-15  # tables reach as far as leaves this much to the escape
PRIOR_STRENGTH = 1000.0  # symbols that the model of a row counts for beside those that were counted

TAIL_SHARE = 1e-3

Mass = npt.NDArray[np.float64]


def code_length(symbols: Tensor, scales: Tensor) -> Tensor:
    """Bits of whole numbers >= 0 with scales of the same shape, by CompressAI's Gaussian and a little of a Laplace one.

    `TAIL_SHARE` of the symbols come from the latter, so that far symbols still cost more the farther they are.
    """
    centre = _gaussian(symbols.device)._likelihood(symbols, scales)
    reach = tail_scale(scales)
    outer = torch.exp(-(symbols + 0.5) / reach)
    inner = torch.where(symbols < 0.5, 2 - outer, torch.exp(-(symbols - 0.5) / reach))
    return -torch.log2((1 - TAIL_SHARE) * centre + TAIL_SHARE * (inner - outer) / 2)


@functools.lru_cache
def _gaussian(device: torch.device) -> GaussianConditional:
    with torch.inference_mode(False):  # its buffers serve training too, whoever comes first
        return GaussianConditional(None, scale_bound=SCALE_MIN / 2).to(device)


def tail_scale(scales: Tensor) -> Tensor:
    """Scale of the Laplace distribution."""
    return 2 * scales


class SymbolCounts:
    """How often each symbol -REACH..REACH was coded with each row, weighted; what lies beyond is not counted."""

    def __init__(self, hyper_channels: int) -> None:
        rows = {Table.GAUSSIAN: SCALE_LEVELS, Table.HYPER: hyper_channels}
        self._counts = {table: np.zeros((count, 2 * REACH + 1)) for table, count in rows.items()}

    def add(self, symbols: Tensor, rows: Tensor, table: Table, weights: Tensor) -> None:
        """Count whole numbers `symbols` [B, ...] coded with rows of the same shape, samples by `weights` [B]."""
        values, numbers = (x.detach().round().long().flatten().cpu().numpy() for x in (symbols, rows))
        each = weights.detach().repeat_interleave(symbols[0].numel()).cpu().numpy()
        inside = np.abs(values) <= REACH
        np.add.at(self._counts[table], (numbers[inside], values[inside] + REACH), each[inside])

    def of(self, table: Table) -> Mass:
        """float64 [rows, 2 * REACH + 1]"""
        return self._counts[table]


def gaussian_tables(counts: SymbolCounts) -> Tables:
    """One row a scale, symmetric about 0."""
    scales = SCALE_MIN * np.exp(np.arange(SCALE_LEVELS) * SCALE_RATIO)
    symbols = torch.arange(-REACH, REACH + 1, dtype=torch.float32).abs().expand(SCALE_LEVELS, -1)
    masses = torch.exp2(-code_length(symbols, torch.from_numpy(scales).float()[:, None].expand_as(symbols)))
    seen = counts.of(Table.GAUSSIAN)
    return _tables(masses.double().numpy(), (seen + seen[:, ::-1]) / 2)


@torch.no_grad()
def hyper_tables(bottleneck: EntropyBottleneck, counts: SymbolCounts) -> Tables:
    """One row a channel of z."""
    symbols = torch.arange(-REACH, REACH + 1, dtype=torch.float32)
    masses, *_ = bottleneck._likelihood(symbols.expand(bottleneck.channels, 1, -1))
    return _tables(masses[:, 0].double().numpy(), counts.of(Table.HYPER))


def _tables(masses: Mass, counts: Mass) -> Tables:
    rows = [_row(mass, count) for mass, count in zip(masses, counts, strict=True)]
    longest = max(len(cdf) for cdf, _ in rows)
    cdf = np.zeros((len(rows), longest), np.int32)
    for place, (row, _) in zip(cdf, rows, strict=True):
        place[: len(row)] = row
    lengths = np.array([len(row) for row, _ in rows], np.int32)
    return Tables(cdf, lengths, np.array([offset for _, offset in rows], np.int32))


def _row(mass: Mass, count: Mass) -> tuple[list[int], int]:
    """CDF, escape last, and first symbol of the fitted distribution of one row."""
    fitted = (count + PRIOR_STRENGTH * mass) / (count.sum() + PRIOR_STRENGTH)
    reach = next((r for r in range(1, REACH) if 1 - fitted[REACH - r : REACH + r + 1].sum() < TAIL_MASS), REACH)
    inside = fitted[REACH - reach : REACH + reach + 1]
    masses = [*inside.tolist(), max(1 - math.fsum(inside), 2.0**-PRECISION)]
    return pmf_to_quantized_cdf(masses, PRECISION), -reach
