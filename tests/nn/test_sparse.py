"""Least squares with a price on what is not zero."""

import torch

from imfcodec.nn.sparse import sparse_descent


def test_the_least_of_a_separable_cost_is_found():
    curvature, target = torch.tensor([[1.0, 4.0, 2.0]]), torch.tensor([[3.0, -2.0, 0.5]])
    found = sparse_descent(
        lambda x: curvature * (target - x), target, rate=torch.tensor(0.25), price=torch.tensor(2.0), steps=200
    )
    assert torch.allclose(found, torch.tensor([[1.0, -1.5, 0.0]]), atol=1e-3)
