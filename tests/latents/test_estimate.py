"""The estimating coder against the one that writes."""

import numpy as np
import pytest
import torch

from imfcodec.entropy.coder import CodingTables
from imfcodec.entropy.tables import Tables
from imfcodec.latents.estimate import SymbolEstimator
from imfcodec.models.coding import Table

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tables():
    """Row 0 holds -1, 0, 1 and the escape; row 1 holds -1 and 0."""
    cdf = np.array([[0, 8192, 40960, 49152, 65536], [0, 32768, 49152, 65536, 65536]], np.int32)
    both = CodingTables(Tables(cdf, np.array([5, 4], np.int32), np.array([-1, -1], np.int32)))
    return {Table.GAUSSIAN: both, Table.HYPER: both}


def test_bits_are_those_of_the_coder_for_each_sample(tables):
    values = torch.tensor([[-1.4, 0.2, 0.9, 7.0], [0.0, 0.4, -0.6, -3.0]])
    rows = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 1.0]])
    estimator = SymbolEstimator(tables, CPU)
    assert torch.equal(estimator.code(values, rows, Table.GAUSSIAN), values.round())
    wanted = [
        tables[Table.GAUSSIAN].information(v.numpy(), r.numpy())
        for v, r in zip(values.round().int(), rows.int(), strict=True)
    ]
    assert wanted[0] == pytest.approx(3 + 1 + 3 + 2 + 24)
    assert estimator.take_bits().tolist() == pytest.approx(wanted)


def test_the_slope_is_that_between_both_neighbours(tables):
    values = torch.tensor([[0.3, -0.7, 9.5]], requires_grad=True)
    estimator = SymbolEstimator(tables, CPU)
    symbols = estimator.code(values, torch.zeros(1, 3), Table.HYPER)
    estimator.take_bits().sum().backward()
    assert values.grad.tolist()[0] == pytest.approx([2, -2, 0])
    values.grad = None
    symbols.sum().backward()
    assert values.grad.tolist() == [[1, 1, 1]], "as if nothing had been rounded"


def test_soft_values_lie_between(tables):
    estimator = SymbolEstimator(tables, CPU)
    estimator.hardness = 0.5
    assert estimator.code(torch.tensor([[0.4, -0.8]]), torch.zeros(1, 2), Table.GAUSSIAN).tolist()[0] == pytest.approx(
        [0.2, -0.9]
    )
    assert estimator.take_bits().tolist() == pytest.approx([1 + 3]), "bits are those of the rounded values"
