"""Exact integers and learned steps."""

import pytest
import torch

from imfcodec.nn.quantize import (
    ACTIVATION_UNIT,
    MAX_STEP,
    MIN_STEP,
    WEIGHT_UNIT,
    IntegerDepthwise,
    IntegerPointwise,
    QuantizationSteps,
    bit_price,
    nominal_step,
    qindex_fraction,
    round_through,
)


def activations(*shape: int) -> torch.Tensor:
    return torch.randint(0, 128, shape).float() / ACTIVATION_UNIT


def test_pointwise_is_exact_integer_arithmetic():
    layer = IntegerPointwise(300, 20, bounded=False)
    x = activations(2, 300, 5, 4)
    weight = (layer.weight * WEIGHT_UNIT).round().clamp(-127, 127).long()
    bias = (layer.bias * WEIGHT_UNIT * ACTIVATION_UNIT).round().long()
    expected = torch.einsum("oc,bchw->bohw", weight, (x * ACTIVATION_UNIT).long()) + bias[:, None, None]
    assert torch.equal((layer(x) * WEIGHT_UNIT * ACTIVATION_UNIT).long(), expected)


def test_worst_case_sums_stay_exact():
    layer = IntegerPointwise(1040, 1, bounded=False)
    torch.nn.init.constant_(layer.weight, 1e3)
    x = torch.full((1, 1040, 1, 1), 127 / ACTIVATION_UNIT)
    assert int(layer(x) * WEIGHT_UNIT * ACTIVATION_UNIT) == 1040 * 127 * 127 < 1 << 24


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_layers_do_not_depend_on_threads_batch_or_precision(threads):
    pointwise, depthwise = IntegerPointwise(90, 30), IntegerDepthwise(90)
    x = activations(8, 90, 6, 7)
    torch.set_num_threads(1)
    expected = pointwise(depthwise(x))
    torch.set_num_threads(threads)
    one_by_one = torch.cat([pointwise(depthwise(part)) for part in x.split(1)])
    with torch.autocast("cpu", torch.bfloat16):
        low_precision = pointwise(depthwise(x))
    assert torch.equal(one_by_one, expected)
    assert torch.equal(low_precision, expected)


def test_outputs_are_multiples_of_the_unit_within_bounds():
    out = IntegerPointwise(40, 10)(activations(1, 40, 3, 3)) * ACTIVATION_UNIT
    assert torch.equal(out, out.round())
    assert out.min() >= 0 and out.max() <= 127


def test_steps_fall_with_quality_and_are_bounded():
    steps = QuantizationSteps(3, 6, 2.0, 0.02)
    values = steps(torch.linspace(0, 1, 50))[:, 0].detach()
    assert values[0] == pytest.approx(2.0) and values[-1] == pytest.approx(0.02)
    assert (values.diff() < 0).all()
    torch.nn.init.constant_(steps.log_step, 100.0)
    assert steps(torch.tensor([0.5])).max().item() == pytest.approx(MAX_STEP)
    torch.nn.init.constant_(steps.log_step, -100.0)
    assert steps(torch.tensor([0.5])).min().item() == pytest.approx(MIN_STEP)


def test_rounding_passes_gradients():
    x = torch.tensor([0.2, 1.7], requires_grad=True)
    (round_through(x) * torch.tensor([2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [2.0, 3.0]


def test_the_price_of_a_bit_falls_with_the_quantiser_index():
    qindex = torch.arange(256)
    steps, prices = nominal_step(qindex), bit_price(qindex)
    assert steps[0] == pytest.approx(2.0) and steps[-1] == pytest.approx(0.02) and (steps.diff() < 0).all()
    assert (prices.diff() < 0).all() and torch.allclose(prices / steps.square(), torch.tensor(0.11552), rtol=1e-4)


def test_quantiser_indices_as_fractions():
    assert qindex_fraction(torch.tensor([0, 51, 255])).tolist() == pytest.approx([0, 0.2, 1])
