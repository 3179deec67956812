"""E_F: frames to the dense latent y and its hyper-latent z, and decoded references to features f_r."""

import torch
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.nn.blocks import Pointwise, gated_blocks, join, space_to_depth, zero_init
from imfcodec.nn.picture import PATCH_CHANNELS, Picture, to_patches
from imfcodec.nn.quantize import QualityGains

BLOCK_CHANNELS = 4 * PATCH_CHANNELS  # samples of a 16x16 block in the patch domain


class ReferenceFeatures(nn.Module):
    """f_r: features of a decoded reference, [B, C_32, H / 32, W / 32] and [B, C_16, H / 16, W / 16]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        coarse, fine = config.align_channels
        self.fine = nn.Sequential(Pointwise(BLOCK_CHANNELS, fine), *gated_blocks(fine, 1))
        self.merge = Pointwise(4 * fine, coarse)
        self.coarse = gated_blocks(coarse, 1)

    def forward(self, picture: Picture) -> tuple[Tensor, Tensor]:
        fine = self.fine(space_to_depth(to_patches(picture)))
        return self.coarse(self.merge(space_to_depth(fine))), fine


class DenseFeatureEncoder(nn.Module):
    """E_F of the paper. A key frame is coded by y alone; with a prediction, y is what the prediction lacks.

    The analysis starts as an orthonormal transform of 16x16 blocks (see `training.start`).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels, width = config.latent_channels, config.reference_channels
        self.analysis = Pointwise(BLOCK_CHANNELS, channels, exact=True)
        self.enter = Pointwise(2 * PATCH_CHANNELS, width)
        self.detail = gated_blocks(width, config.reference_depth)
        self.leave = zero_init(Pointwise(4 * width, channels))
        self.detail_gains = QualityGains(width, config.quality_knots)
        self.refine = gated_blocks(channels, config.latent_blocks)
        self.refine_gains = QualityGains(channels, config.quality_knots)
        self.hyper = nn.Sequential(
            nn.Conv2d(channels, config.context_channels, 3, 2, 1),
            nn.SiLU(),
            nn.Conv2d(config.context_channels, config.hyper_channels, 3, 2, 1),
        )

    def forward(self, picture: Picture, prediction: Picture, quality: Tensor) -> Tensor:
        """y [B, C_y, H / 16, W / 16], float32, of `picture` given its `prediction` (zeros for a key frame).

        Args:
            quality: float [B], 0..1.
        """
        patches, predicted = to_patches(picture), to_patches(prediction)
        detail = self.detail(self.enter(join(patches, predicted))) * self.detail_gains(quality)
        y = self.analysis(space_to_depth(patches - predicted)) + self.leave(space_to_depth(detail)).float()
        return y + self.refine_gains(quality) * (self.refine(y) - y)

    def hyper_latent(self, y: Tensor, steps: Tensor) -> Tensor:
        """z [B, C_z, ceil(H / 64), ceil(W / 64)], float32, from y and its quantisation steps [B, C_y]."""
        return self.hyper(torch.tanh(y / steps[:, :, None, None] / 4) * 4).float()
