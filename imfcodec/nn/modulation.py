"""StyleGAN2's modulated and demodulated convolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StyledConv(nn.Module):
    """3x3 convolution whose input channels are scaled by a style and whose output is normalised for it.

    (x [B, C_in, H, W], style [B, S]) -> [B, C_out, H, W]. Source: StyleGAN2, section 2.2.
    """

    def __init__(self, in_channels: int, out_channels: int, style_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3) / (9 * in_channels) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.affine = nn.Linear(style_channels, in_channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale = 1 + self.affine(style)
        x = F.conv2d(x * scale[:, :, None, None], self.weight, padding=1)
        power = scale.square() @ self.weight.square().sum((2, 3)).t()
        return F.leaky_relu(x * torch.rsqrt(power + 1e-4)[:, :, None, None] + self.bias[:, None, None], 0.2)
