"""E_F: frames to the dense latent y and its hyper-latent z, and decoded references to features f_r."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.nn.blocks import gated_blocks, zero_init
from imfcodec.nn.picture import PATCH_CHANNELS, Picture, to_patches

BLOCK_CHANNELS = 4 * PATCH_CHANNELS  # samples of a 16x16 block in the patch domain


def to_blocks(picture: Picture) -> Tensor:
    """Orthonormal rearrangement to [B, 384, H / 16, W / 16]: the four 8x8 patches of each 16x16 block."""
    return F.pixel_unshuffle(to_patches(picture), 2)


class ReferenceFeatures(nn.Module):
    """f_r: features of a decoded reference, [B, C_32, H / 32, W / 32] and [B, C_16, H / 16, W / 16]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        coarse, fine = config.align_channels
        self.fine = nn.Sequential(nn.Conv2d(BLOCK_CHANNELS, fine, 1), *gated_blocks(fine, 1))
        self.coarse = nn.Sequential(nn.Conv2d(fine, coarse, 2, 2), *gated_blocks(coarse, 1))

    def forward(self, picture: Picture) -> tuple[Tensor, Tensor]:
        fine = self.fine(to_blocks(picture))
        return self.coarse(fine), fine


class DenseFeatureEncoder(nn.Module):
    """E_F of the paper. A key frame is coded by y alone; with a prediction, y is what the prediction lacks.

    The analysis starts as an orthonormal transform of 16x16 blocks (see `training.start`).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = config.latent_channels
        self.analysis = nn.Conv2d(BLOCK_CHANNELS, channels, 1)
        self.detail = nn.Sequential(
            nn.Conv2d(2 * PATCH_CHANNELS, config.feature_channels, 1),
            *gated_blocks(config.feature_channels, config.latent_depth + 1),
            zero_init(nn.Conv2d(config.feature_channels, channels, 2, 2)),
        )
        self.refine = gated_blocks(channels, config.latent_depth)
        self.hyper = nn.Sequential(
            nn.Conv2d(channels, config.context_channels, 3, 2, 1),
            nn.GELU(),
            nn.Conv2d(config.context_channels, config.hyper_channels, 3, 2, 1),
        )
        self.features = ReferenceFeatures(config)

    def forward(self, picture: Picture, prediction: Picture) -> Tensor:
        """y [B, C_y, H / 16, W / 16] of `picture` given its `prediction` (zeros for a key frame)."""
        difference = Picture(picture.luma - prediction.luma, picture.chroma - prediction.chroma)
        detail = self.detail(torch.cat([to_patches(picture), to_patches(prediction)], 1))
        return self.refine(self.analysis(to_blocks(difference)) + detail)

    def hyper_latent(self, y: Tensor, steps: Tensor) -> Tensor:
        """z [B, C_z, ceil(H / 64), ceil(W / 64)] from y and its quantisation steps [B, C_y]."""
        return self.hyper(torch.tanh(y / steps[:, :, None, None] / 4) * 4)
