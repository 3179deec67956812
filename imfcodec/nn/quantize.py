"""Learned quantisation steps, rounding with a straight-through gradient, and networks in exact integers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QINDEX_LEVELS = 256  # quantiser indices a stream can name
COARSEST, FINEST = 2.0, 0.02  # nominal steps at quantiser index 0 and 255
MIN_STEP, MAX_STEP = 0.004, 8.0
SYMBOL_BITS = 4.0  # about what one more step of a token's coefficient costs, where most are zero

WEIGHT_UNIT = 64.0  # integer networks: weights are multiples of 1/64 within +-127/64,
ACTIVATION_UNIT = 16.0  # activations multiples of 1/16 within 0..127/16,
LIMIT = 127.0  # so every partial sum of up to 1040 products is an integer below 2^24 and exact in float32.


def round_through(x: Tensor) -> Tensor:
    """Round to the nearest integer; the gradient passes as if nothing had happened."""
    return x + (x.round() - x).detach()


def qindex_fraction(qindex: Tensor) -> Tensor:
    """Quantiser indices 0..255 as 0..1."""
    return qindex.float() / (QINDEX_LEVELS - 1)


def nominal_step(qindex: Tensor) -> Tensor:
    """Quantisation step that an index nominally stands for, of samples 0..1; it sets the price of a bit."""
    return COARSEST * (FINEST / COARSEST) ** qindex_fraction(qindex)


def bit_price(qindex: Tensor) -> Tensor:
    """Squared error per pixel that one bit per pixel is worth at a quantiser index, samples 0..1.

    At high rates a quantiser of step s has dD/dR = -2 ln 2 s^2 / 12 per bit; that ties the price to the index.
    """
    return math.log(2) / 6 * nominal_step(qindex).square()


class QuantizationSteps(nn.Module):
    """Step sizes by channel and quality: learned at a few knots, log-linear between them, bounded.

    Args:
        channels: number of step sizes.
        knots: qualities, evenly spaced over 0..1, at which steps are stored.
        coarsest, finest: initial steps at quality 0 and 1.
    """

    def __init__(self, channels: int, knots: int, coarsest: float, finest: float) -> None:
        super().__init__()
        line = torch.linspace(math.log(coarsest), math.log(finest), knots)
        self.log_step = nn.Parameter(line[:, None].repeat(1, channels))

    def forward(self, quality: Tensor) -> Tensor:
        """Steps [B, channels], float32, for quality [B] in 0..1."""
        line = _between_knots(self.log_step.float(), quality)
        return line.clamp(math.log(MIN_STEP), math.log(MAX_STEP)).exp()


class QualityGains(nn.Module):
    """Gains by channel and quality: learned at a few knots, 1 at first, linear between them.

    They scale what networks add to the linear transform. Where little is lost to rounding, the transform alone is
    better.
    """

    def __init__(self, channels: int, knots: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(knots, channels))

    def forward(self, quality: Tensor) -> Tensor:
        """Gains [B, channels, 1, 1], float32, for quality [B] in 0..1."""
        return _between_knots(self.gain.float(), quality)[:, :, None, None]


def _between_knots(values: Tensor, quality: Tensor) -> Tensor:
    """Values [knots, channels] that stand for qualities evenly spaced over 0..1, interpolated at [B]: [B, channels]."""
    knots = values.shape[0]
    place = (quality.float() * (knots - 1)).clamp(0, knots - 1)
    low = place.floor().clamp(max=knots - 2).long()
    blend = (place - low)[:, None]
    return values[low] * (1 - blend) + values[low + 1] * blend


class IntegerPointwise(nn.Module):
    """1x1 convolution in exact integers, held in float32.

    Input values are multiples of 1/16 in 0..127/16; so are the outputs unless `bounded` is off, when they are
    multiples of 1/1024. Every platform gives the same result, in any order of summation.
    """

    def __init__(self, in_channels: int, out_channels: int, bounded: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels) * (2 / in_channels) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.bounded = bounded

    def forward(self, x: Tensor) -> Tensor:
        weight = round_through(self.weight * WEIGHT_UNIT).clamp(-LIMIT, LIMIT) / WEIGHT_UNIT
        bias = round_through(self.bias * WEIGHT_UNIT * ACTIVATION_UNIT) / (WEIGHT_UNIT * ACTIVATION_UNIT)
        with torch.autocast(x.device.type, enabled=False):
            x = F.linear(x.movedim(1, -1), weight, bias).movedim(-1, 1)
        return to_activation(x) if self.bounded else x


class IntegerDepthwise(nn.Module):
    """3x3 depthwise convolution in exact integers; see `IntegerPointwise`. Zero outside the picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(9, channels) * 0.4)

    def forward(self, x: Tensor) -> Tensor:
        weight = round_through(self.weight * WEIGHT_UNIT).clamp(-LIMIT, LIMIT) / WEIGHT_UNIT
        with torch.autocast(x.device.type, enabled=False):  # depthwise kernels sum products directly: exact
            total = F.conv2d(x, weight.t().reshape(-1, 1, 3, 3), padding=1, groups=x.shape[1])
        return to_activation(total)


def to_activation(x: Tensor) -> Tensor:
    """Round to multiples of 1/16 (halves to even) and clip to 0..127/16."""
    return round_through(x * ACTIVATION_UNIT).clamp(0, LIMIT) / ACTIVATION_UNIT
