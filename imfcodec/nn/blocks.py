"""Convolutional blocks. Each residual branch starts at zero, so that a new model passes its input through.

Tensors are [B, C, H, W] in channels-last memory, where a 1x1 convolution is one matrix product.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = nn.Conv2d | nn.Linear


def zero_init(layer: Layer) -> Layer:
    """Set weights and bias of `layer` to zero and return it."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Pointwise(nn.Linear):
    """1x1 convolution [B, C_in, H, W] -> [B, C_out, H, W].

    Args:
        exact: computes in float32 under autocast too, where 8 bits of mantissa would show.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, *, exact: bool = False) -> None:
        super().__init__(in_channels, out_channels, bias)
        self.exact = exact

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1)
        if not self.exact:
            return super().forward(x).movedim(-1, 1)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).movedim(-1, 1)


def join(*parts: Tensor) -> Tensor:
    """Concatenate along channels into channels-last memory, whatever the memory of the parts."""
    return torch.cat([part.movedim(1, -1) for part in parts], -1).movedim(-1, 1)


def space_to_depth(x: Tensor) -> Tensor:
    """Each 2x2 cell of places becomes one place, [B, C, H, W] -> [B, 4 C, H / 2, W / 2]; row, column, channel."""
    batch, channels, height, width = x.shape
    cells = x.movedim(1, -1).reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(2, 3)
    return cells.reshape(batch, height // 2, width // 2, 4 * channels).movedim(-1, 1)


def depth_to_space(x: Tensor) -> Tensor:
    """Inverse of `space_to_depth`."""
    batch, channels, height, width = x.shape
    cells = x.movedim(1, -1).reshape(batch, height, width, 2, 2, channels // 4).transpose(2, 3)
    return cells.reshape(batch, 2 * height, 2 * width, channels // 4).movedim(-1, 1)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Repeat every place of [B, C, H, W] `factor` times both ways."""
    return F.interpolate(x, scale_factor=factor, mode="nearest")


class GatedBlock(nn.Module):
    """1x1, depthwise 3x3, 1x1, then a gated pair of 1x1 convolutions; both residual (after DCVC-RT's block).

    [B, C, H, W] -> [B, C, H, W]. Gates are bounded: unbounded ones make a block quadratic in its input, and a stack of
    them overflowed on single patches.
    """

    LARGEST_GATE = 8.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = Pointwise(channels, channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.leave = zero_init(Pointwise(channels, channels))
        self.expand = Pointwise(channels, 4 * channels)
        self.shrink = zero_init(Pointwise(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.leave(F.leaky_relu(self.depthwise(F.leaky_relu(self.enter(x), 0.1)), 0.1))
        value, gate = self.expand(x).chunk(2, 1)
        return x + self.shrink(value * F.silu(F.hardtanh(gate, -torch.inf, self.LARGEST_GATE)))


def gated_blocks(channels: int, depth: int) -> nn.Sequential:
    """`depth` gated blocks in a row."""
    return nn.Sequential(*(GatedBlock(channels) for _ in range(depth)))
