"""D_F: prediction, aligned features and decoded y to the frame."""

from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.alignment import Aligned
from imfcodec.models.dense_feature_encoder import BLOCK_CHANNELS
from imfcodec.nn.blocks import Pointwise, depth_to_space, gated_blocks, upsample, zero_init
from imfcodec.nn.picture import PATCH_CHANNELS, Picture, from_patches, to_patches
from imfcodec.nn.quantize import QualityGains


class FrameDecoder(nn.Module):
    """D_F of the paper for token frames: adds a learned correction at 1/8 scale to the prediction."""

    def __init__(self, config: ModelConfig, width: int, depth: int) -> None:
        super().__init__()
        self.aligned = Pointwise(config.align_channels[1], width, bias=False)
        self.copies = Pointwise(2 * PATCH_CHANNELS, width, bias=False)
        self.quality = nn.Linear(1, width)
        self.base = Pointwise(PATCH_CHANNELS, width)
        self.body = gated_blocks(width, depth)
        self.gains = QualityGains(width, config.quality_knots)
        self.head = zero_init(Pointwise(width, PATCH_CHANNELS, exact=True))

    def forward(self, aligned: Aligned, quality: Tensor) -> Picture:
        """Decode.

        Args:
            aligned: the prediction.
            quality: float [B], 0..1, of the token.
        Returns:
            The frame, about -0.5..0.5, not clipped.
        """
        return self._finish(to_patches(aligned.picture), self._hidden(aligned, quality), quality)

    def _hidden(self, aligned: Aligned, quality: Tensor) -> Tensor:
        hidden = upsample(self.aligned(aligned.features), 2) + self.copies(aligned.copies)
        return hidden + self.quality(quality[:, None])[:, :, None, None]

    def _finish(self, base: Tensor, hidden: Tensor, quality: Tensor) -> Picture:
        return from_patches(base + self.head(self.body(hidden + self.base(base)) * self.gains(quality)))


class ReferenceDecoder(FrameDecoder):
    """D_F for key and golden frames: y's linear synthesis is added to the prediction as well.

    The prediction of a key frame is all zeros (`Aligned.nothing`).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, config.reference_channels, config.reference_depth)
        zero_init(self.aligned)  # features and copies come in when golden frames are trained
        channels = config.latent_channels
        self.refine = gated_blocks(channels, config.latent_blocks)
        self.refine_gains = QualityGains(channels, config.quality_knots)
        self.synthesis = Pointwise(channels, BLOCK_CHANNELS, bias=False, exact=True)
        self.detail = Pointwise(channels, 4 * config.reference_channels)

    def forward(self, aligned: Aligned, quality: Tensor, y: Tensor | None = None) -> Picture:
        """Decode from the prediction and y [B, C_y, H / 16, W / 16], float32; `quality` is that of y."""
        assert y is not None, "key and golden frames have y"
        y = y + self.refine_gains(quality) * (self.refine(y) - y)
        base = to_patches(aligned.picture) + depth_to_space(self.synthesis(y))
        return self._finish(base, self._hidden(aligned, quality) + depth_to_space(self.detail(y)), quality)


def in_range(picture: Picture) -> Picture:
    """Clipped to -0.5..0.5 and rounded to the 256 levels that are shown: references are what is shown, on both sides.

    The gradient passes through the rounding.
    """
    return Picture(*(_rounded(plane) for plane in picture))


def _rounded(plane: Tensor) -> Tensor:
    levels = ((plane.float() + 0.5) * 255).clamp(0, 255)
    return (levels + (levels.round() - levels).detach()) / 255 - 0.5
