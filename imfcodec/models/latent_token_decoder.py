"""IMF_D: latent tokens to motion features m at 1/32 and 1/16 scale."""

from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.latent_token_encoder import Token
from imfcodec.nn.attention import position_code
from imfcodec.nn.blocks import Pointwise, join, upsample
from imfcodec.nn.modulation import StyledConv
from imfcodec.nn.picture import position_grid


class LatentTokenDecoder(nn.Module):
    """IMF_D of the paper: a StyleGAN2 synthesis network whose style is g, over a positional grid of any size and u."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        coarse, fine = config.align_channels
        self.wavelengths = config.wavelengths
        self.enter = Pointwise(4 * len(config.wavelengths) + config.grid_channels, coarse)
        self.coarse = StyledConv(coarse, coarse, config.global_channels)
        self.fine = StyledConv(coarse, fine, config.global_channels)

    def forward(self, token: Token) -> tuple[Tensor, Tensor]:
        """m [B, C_32, H / 32, W / 32] and [B, C_16, H / 16, W / 16]."""
        height, width = token.u.shape[-2:]
        code = position_code(position_grid(height, width, token.u), self.wavelengths).to(token.u.dtype)
        displacement = token.u[:, :4] / 16  # pixels to about unit size
        local = join(code.expand(token.u.shape[0], -1, -1, -1), displacement, token.u[:, 4:])
        coarse = self.coarse(self.enter(local), token.g)
        fine = self.fine(upsample(coarse, 2), token.g)
        return coarse, fine
