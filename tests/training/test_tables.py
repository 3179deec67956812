"""Tables fitted to counted symbols."""

import numpy as np
import pytest
import torch
from compressai.entropy_models import EntropyBottleneck

from imfcodec.entropy.coder import CodingTables
from imfcodec.entropy.tables import PRECISION
from imfcodec.models.coding import SCALE_LEVELS, Table
from imfcodec.training.tables import SymbolCounts, gaussian_tables, hyper_tables

ROWS = (5, 20, 35, 50)
CHANNELS = 3


def laplacian(row, count, seed):
    """Symbols that are no Gaussian's, about as wide as the row's."""
    random = np.random.default_rng([seed, row])
    return np.round(random.laplace(0, 0.08 * np.exp(row * 0.1), count)).astype(np.int32)


def counted(count=20000, seed=0):
    """Counts of both groups of tables."""
    counts = SymbolCounts(CHANNELS)
    for table, rows in ((Table.GAUSSIAN, ROWS), (Table.HYPER, range(CHANNELS))):
        for row in rows:
            symbols = laplacian(row + 15, count, seed) if table is Table.HYPER else laplacian(row, count, seed)
            counts.add(torch.from_numpy(symbols).float(), torch.full((count,), float(row)), table, torch.ones(count))
    return counts


@pytest.fixture(scope="module")
def bottleneck():
    torch.manual_seed(0)
    return EntropyBottleneck(CHANNELS)


def shares(tables, row):
    """Mass of each symbol of a row, 2^-16, escape last."""
    return np.diff(tables.cdf[row, : tables.lengths[row]])


def test_fitted_tables_beat_those_of_the_prior(bottleneck):
    """On the symbols they were fitted to and on others of the same kind."""
    none = SymbolCounts(CHANNELS)
    plain, fitted = (CodingTables(gaussian_tables(counts)) for counts in (none, counted()))
    for row in ROWS:
        for seed in (0, 1):
            symbols = laplacian(row, 5000, seed)
            rows = np.full(len(symbols), row, np.int32)
            assert fitted.information(symbols, rows) < 0.995 * plain.information(symbols, rows)
    plain, fitted = (CodingTables(hyper_tables(bottleneck, counts)) for counts in (none, counted()))
    for row in range(CHANNELS):
        symbols = laplacian(row + 15, 5000, 1)
        rows = np.full(len(symbols), row, np.int32)
        assert fitted.information(symbols, rows) < 0.995 * plain.information(symbols, rows)


def test_rows_that_were_not_counted_are_those_of_the_prior():
    plain, fitted = (gaussian_tables(counts) for counts in (SymbolCounts(CHANNELS), counted()))
    for row in set(range(SCALE_LEVELS)) - set(ROWS):
        assert np.array_equal(shares(plain, row), shares(fitted, row)) and plain.offsets[row] == fitted.offsets[row]


@pytest.mark.parametrize("counts", [SymbolCounts(CHANNELS), counted()], ids=["plain", "fitted"])
def test_gaussian_tables_are_proper_and_symmetric(counts):
    tables = gaussian_tables(counts)
    assert len(tables.cdf) == SCALE_LEVELS
    for row in range(SCALE_LEVELS):
        masses = shares(tables, row)
        assert masses.min() >= 1 and masses.sum() == 1 << PRECISION
        reach = -tables.offsets[row]
        assert len(masses) == 2 * reach + 2, "symbols -reach..reach, then the escape"
        left, right = masses[:reach][::-1].astype(int), masses[reach + 1 : -1].astype(int)
        assert np.abs(left - right).sum() <= 2e-3 * (1 << PRECISION), "but for rounding, which shifts single shares"
        assert masses[-1] < 0.01 * (1 << PRECISION), "escapes get what rounding to whole shares leaves over, too"
    widths = -tables.offsets
    assert (np.diff(widths) >= 0).sum() > 55 and widths[0] < 5 < 200 < widths[-1]


@pytest.mark.parametrize("counts", [SymbolCounts(CHANNELS), counted()], ids=["plain", "fitted"])
def test_hyper_tables_are_proper(bottleneck, counts):
    tables = hyper_tables(bottleneck, counts)
    assert len(tables.cdf) == CHANNELS
    for row in range(CHANNELS):
        masses = shares(tables, row)
        assert masses.min() >= 1 and masses.sum() == 1 << PRECISION
        assert len(masses) == 2 * -tables.offsets[row] + 2


def test_a_few_odd_symbols_do_not_upset_a_table():
    """The prior counts for a thousand symbols."""
    counts = SymbolCounts(CHANNELS)
    counts.add(torch.tensor([40.0, 40.0]), torch.tensor([5.0, 5.0]), Table.GAUSSIAN, torch.ones(2))
    fitted, plain = (CodingTables(gaussian_tables(c)) for c in (counts, SymbolCounts(CHANNELS)))
    symbols, rows = laplacian(5, 2000, 3), np.full(2000, 5, np.int32)
    assert fitted.information(symbols, rows) < 1.02 * plain.information(symbols, rows)
