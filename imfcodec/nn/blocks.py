"""Convolutional blocks. Each residual branch starts at zero, so that a new model passes its input through."""

import torch.nn.functional as F
from torch import Tensor, nn


def zero_init(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """Set weights and bias of `layer` to zero and return it."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class GatedBlock(nn.Module):
    """1x1, depthwise 3x3, 1x1, then a gated pair of 1x1 convolutions; both residual (after DCVC-RT's block).

    [B, C, H, W] -> [B, C, H, W]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.leave = zero_init(nn.Conv2d(channels, channels, 1))
        self.expand = nn.Conv2d(channels, 4 * channels, 1)
        self.shrink = zero_init(nn.Conv2d(2 * channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.leave(F.leaky_relu(self.depthwise(F.leaky_relu(self.enter(x), 0.1)), 0.1))
        value, gate = self.expand(x).chunk(2, 1)
        return x + self.shrink(value * F.gelu(gate))


def gated_blocks(channels: int, depth: int) -> nn.Sequential:
    """`depth` gated blocks in a row."""
    return nn.Sequential(*(GatedBlock(channels) for _ in range(depth)))
