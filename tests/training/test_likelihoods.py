"""Estimated rates: code lengths of rounded symbols, and gradients that see both neighbouring integers."""

import math

import numpy as np
import pytest
import torch
from compressai.entropy_models import EntropyBottleneck

from imfcodec.models.coding import SCALE_LEVELS, SCALE_MIN, SCALE_RATIO, Table
from imfcodec.training.likelihoods import USUAL_BITS, RateEstimator
from imfcodec.training.tables import REACH, TAIL_SHARE, SymbolCounts


@pytest.fixture
def bottleneck():
    return EntropyBottleneck(4)


def scale(row):
    return SCALE_MIN * math.exp(row * SCALE_RATIO)


def code_length(symbol, row):
    """Bits of a whole number, in float64: a Gaussian, and a little of a Laplace distribution twice as wide."""

    def normal(x):
        return math.erfc(-x / scale(row) / 2**0.5) / 2

    def laplace(x):
        return 1 - math.exp(-x / scale(row) / 2) / 2 if x > 0 else math.exp(x / scale(row) / 2) / 2

    below, above = -abs(symbol) - 0.5, -abs(symbol) + 0.5
    share = (1 - TAIL_SHARE) * (normal(above) - normal(below)) + TAIL_SHARE * (laplace(above) - laplace(below))
    return -math.log2(share)


def estimate(bottleneck, values, rows):
    """Bits of [n] values with rows, and their gradients."""
    values = torch.tensor(values, requires_grad=True)
    rows = torch.tensor(rows, dtype=torch.float32, requires_grad=True)
    coder = RateEstimator(bottleneck)
    symbols = coder.code(values[:, None, None, None], rows[:, None, None, None], Table.GAUSSIAN)
    bits = coder.take_bits()
    bits.sum().backward()
    return symbols.flatten().tolist(), bits, values.grad, rows.grad


@pytest.mark.parametrize("row", [0, 5, 20, 40, SCALE_LEVELS - 1])
def test_the_value_is_the_code_length_of_the_rounded_symbol(bottleneck, row):
    values = [0.0, 0.3, -0.49, 0.51, 1.2, -1.7, 2.6, -3.4]
    symbols, bits, *_ = estimate(bottleneck, values, [row] * len(values))
    assert symbols == [round(value) for value in values]
    expected = [code_length(symbol, row) for symbol in symbols]
    assert bits.tolist() == pytest.approx(expected, rel=2e-3, abs=1e-3)


@pytest.mark.parametrize("row", [0, 5, 20, 40, SCALE_LEVELS - 1])
def test_the_gradient_is_the_slope_between_the_neighbouring_integers(bottleneck, row):
    """Even inside a step: towards 0, by what the next integer costs more than the one below."""
    values = [0.1, 0.4, 0.6, -0.2, -0.9, 1.5, -2.3, 3.8, -6.5]
    *_, gradient, _ = estimate(bottleneck, values, [row] * len(values))
    for value, found in zip(values, gradient.tolist(), strict=True):
        below = math.floor(abs(value))
        slope = code_length(below + 1, row) - code_length(below, row)
        assert found == pytest.approx(math.copysign(slope, value), rel=5e-3, abs=2e-3)


def test_the_mean_gets_the_opposite_gradient(bottleneck):
    """Symbols are differences to their mean."""
    y = torch.tensor([1.3, -0.4]).reshape(2, 1, 1, 1).requires_grad_()
    mean = torch.tensor([0.2, 0.5]).reshape(2, 1, 1, 1).requires_grad_()
    coder = RateEstimator(bottleneck)
    coder.code(y - mean, torch.full((2, 1, 1, 1), 20.0), Table.GAUSSIAN)
    coder.take_bits().sum().backward()
    assert torch.equal(y.grad, -mean.grad) and y.grad.abs().min() > 0


def test_the_gradient_of_the_row_is_that_of_the_code_length(bottleneck):
    values, rows = [0.2, 1.4, -3.2, 0.0], [8.0, 14.0, 30.0, 40.0]
    *_, gradient = estimate(bottleneck, values, rows)
    for value, row, found in zip(values, rows, gradient.tolist(), strict=True):
        symbol = round(value)
        expected = (code_length(symbol, row + 1e-3) - code_length(symbol, row - 1e-3)) / 2e-3
        assert found == pytest.approx(expected, rel=2e-2, abs=1e-3)


FAR = [30.0, 300.0, -3e3, 3e4, -1e6]


def test_far_symbols_cost_more_than_near_ones_and_pull_back(bottleneck):
    """Finite, never falling with distance, with a gradient that leads back to 0, at any scale."""
    for row in (0, 10, 30, 50, SCALE_LEVELS - 1):
        _, bits, gradient, _ = estimate(bottleneck, FAR, [row] * len(FAR))
        assert torch.isfinite(bits).all() and torch.isfinite(gradient).all()
        assert (bits.diff() > -1).all() and bits[-1] > 30, "but for float precision"
        assert (gradient.sign() == torch.tensor(FAR).sign()).all()


def test_far_symbols_give_their_rows_finite_gradients(bottleneck):
    for row in (0, 10, 30, 50, SCALE_LEVELS - 1):
        *_, gradient = estimate(bottleneck, FAR, [row] * len(FAR))
        assert torch.isfinite(gradient).all(), (row, gradient)


def test_bits_are_told_apart_by_sample_and_taken_once(bottleneck):
    coder = RateEstimator(bottleneck)
    values, rows = torch.randn(3, 4, 2, 2) * 2, torch.full((3, 4, 2, 2), 25.0)
    with torch.no_grad():
        coder.code(values, rows, Table.GAUSSIAN)
        coder.code(values[:, :1], rows[:, :1], Table.GAUSSIAN)
        bits = coder.take_bits()
        assert bits.shape == (3,)
        for i in range(3):
            coder.code(values[i : i + 1], rows[i : i + 1], Table.GAUSSIAN)
            coder.code(values[i : i + 1, :1], rows[i : i + 1, :1], Table.GAUSSIAN)
            assert coder.take_bits().item() == pytest.approx(bits[i].item(), rel=1e-5)
    with pytest.raises(AssertionError, match="something was coded"):
        coder.take_bits()


def test_z_is_rounded_and_counted_by_the_factorised_prior(bottleneck):
    """Without gradients the rate is that of the rounded symbols; with them it has one."""
    z = (3 * torch.randn(2, 4, 3, 3)).requires_grad_()
    rows = torch.arange(4.0)[:, None, None].expand(2, -1, 3, 3)
    coder = RateEstimator(bottleneck)
    with torch.no_grad():
        symbols = coder.code(z, rows, Table.HYPER)
        bits = coder.take_bits()
        likelihood, *_ = bottleneck._likelihood(z.round().transpose(0, 1).reshape(4, 1, -1))
    expected = -likelihood.log2().reshape(4, 2, -1).sum((0, 2))
    assert torch.equal(symbols, z.round()) and torch.allclose(bits, expected, rtol=1e-4)
    assert torch.equal(coder.code(z, rows, Table.HYPER), z.round())
    coder.take_bits().sum().backward()
    assert torch.isfinite(z.grad).all() and z.grad.any()


def test_autocast_does_not_roughen_rates(bottleneck):
    values, rows = torch.randn(1, 64, 4, 4) * 3, torch.full((1, 64, 4, 4), 33.0)
    coder = RateEstimator(bottleneck)
    with torch.no_grad():
        coder.code(values, rows, Table.GAUSSIAN)
        plain = coder.take_bits()
        with torch.autocast("cpu", torch.bfloat16):
            coder.code(values, rows, Table.GAUSSIAN)
    assert torch.equal(coder.take_bits(), plain)


def test_symbols_are_counted_by_row_and_by_the_inverse_of_the_bits_of_their_frame(bottleneck):
    counts = SymbolCounts(4)
    coder = RateEstimator(bottleneck, counts)
    values, rows = torch.tensor([0.2, 1.7, -2.2, 1.9, 9e4]), torch.tensor([3.0, 3.0, 5.0, 3.0, 3.0])
    with torch.no_grad():
        coder.code(torch.stack([values, 0 * values]), torch.stack([rows, rows + 10]), Table.GAUSSIAN)
    assert not counts.of(Table.GAUSSIAN).any(), "the bits of the frames are not known yet"
    weights = (USUAL_BITS / coder.take_bits().clamp_min(1)).tolist()
    found = counts.of(Table.GAUSSIAN) / weights[0]
    assert (found[3, REACH], found[3, REACH + 2], found[5, REACH - 2]) == pytest.approx((1, 2, 1))
    assert found[13, REACH] * weights[0] == pytest.approx(4 * weights[1]) and weights[1] > weights[0]
    assert np.array_equal(counts.of(Table.HYPER), np.zeros((4, 2 * REACH + 1)))
