"""D_F: prediction, aligned features and decoded y to the frame."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.alignment import Aligned
from imfcodec.models.dense_feature_encoder import BLOCK_CHANNELS
from imfcodec.nn.blocks import gated_blocks, zero_init
from imfcodec.nn.picture import PATCH_CHANNELS, Picture, from_patches, to_patches


class FrameDecoder(nn.Module):
    """D_F of the paper: adds y's linear synthesis and a learned correction at 1/8 scale to the prediction.

    A key frame has no prediction: its base is y's synthesis alone.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.feature_channels
        self.refine = gated_blocks(config.latent_channels, config.latent_depth)
        self.synthesis = nn.Conv2d(config.latent_channels, BLOCK_CHANNELS, 1, bias=False)
        self.detail = nn.Conv2d(config.latent_channels, 4 * width, 1)
        self.aligned = nn.Conv2d(config.align_channels[1], width, 1)
        self.quality = nn.Linear(2, width)
        self.base = nn.Conv2d(PATCH_CHANNELS, width, 1)
        self.copies = nn.Conv2d(2 * PATCH_CHANNELS, width, 1)
        self.body = gated_blocks(width, config.feature_depth)
        self.head = zero_init(nn.Conv2d(width, PATCH_CHANNELS, 1))

    def forward(self, y: Tensor | None, aligned: Aligned | None, quality: Tensor) -> Picture:
        """Decode.

        Args:
            y: decoded latent [B, C_y, H / 16, W / 16]; None where none was sent.
            aligned: the prediction; None for a key frame.
            quality: float [B], 0..1, of y (of the token where there is no y).
        Returns:
            The frame, about -0.5..0.5, not clipped.
        """
        has_y = torch.full_like(quality, float(y is not None))
        hidden = self.quality(torch.stack([quality, has_y], 1))[:, :, None, None]
        base: Tensor | None = None if aligned is None else to_patches(aligned.picture)
        if y is not None:
            y = self.refine(y)
            patches = F.pixel_shuffle(self.synthesis(y), 2)
            base = patches if base is None else base + patches
            hidden = hidden + F.pixel_shuffle(self.detail(y), 2)
        if aligned is not None:
            hidden = hidden + F.interpolate(self.aligned(aligned.features), scale_factor=2, mode="nearest")
            hidden = hidden + self.copies(aligned.copies)
        assert base is not None, "a frame needs y, a prediction or both"
        hidden = hidden + self.base(base)
        return from_patches(base + self.head(self.body(hidden)))
