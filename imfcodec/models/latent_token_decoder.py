"""IMF_D: latent tokens to motion features m at 1/32 and 1/16 scale."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.latent_token_encoder import Token
from imfcodec.nn.attention import POSITION_CHANNELS, position_code
from imfcodec.nn.modulation import StyledConv
from imfcodec.nn.picture import position_grid


class LatentTokenDecoder(nn.Module):
    """IMF_D of the paper: a StyleGAN2 synthesis network whose style is g, over a positional grid of any size and u."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        coarse, fine = config.align_channels
        self.enter = nn.Conv2d(POSITION_CHANNELS + config.grid_channels, coarse, 1)
        self.coarse = StyledConv(coarse, coarse, config.global_channels)
        self.fine = StyledConv(coarse, fine, config.global_channels)

    def forward(self, token: Token) -> tuple[Tensor, Tensor]:
        """m [B, C_32, H / 32, W / 32] and [B, C_16, H / 16, W / 16]."""
        height, width = token.u.shape[-2:]
        code = position_code(position_grid(height, width, token.u)).to(token.u.dtype)
        displacement = token.u[:, :4] / 16  # pixels to about unit size
        local = torch.cat([code.expand(token.u.shape[0], -1, -1, -1), displacement, token.u[:, 4:]], 1)
        coarse = self.coarse(self.enter(local), token.g)
        fine = self.fine(F.interpolate(coarse, scale_factor=2, mode="nearest"), token.g)
        return coarse, fine
