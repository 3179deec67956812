"""IMF_A: implicit motion alignment. Moves the references' features and pixels to where the frame needs them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.displacement import BLEND, FIELD, canonical_field, reference_displacements, spread
from imfcodec.models.latent_token_decoder import LatentTokenDecoder
from imfcodec.models.latent_token_encoder import Token
from imfcodec.nn.attention import CrossAttention, Memory, TransformerBlock
from imfcodec.nn.blocks import Pointwise, join, upsample, zero_init
from imfcodec.nn.picture import PATCH_CHANNELS, Picture, move, position_grid, to_patches


class Reference(NamedTuple):
    """A decoded frame that others are predicted from.

    Attributes:
        picture: the decoded frame.
        token: its token in the coordinates of the group (zeros for the anchor).
        features: f_r at 1/32 and 1/16 scale.
        memories: keys and values made of m_r and f_r, at 1/32 and 1/16 scale.
        field: canonical displacement [B, 2, H / 8, W / 8], luma pixels.
        latent: magnitudes of its symbols of y [B, C_y, H / 16, W / 16], zeros of an anchor.
    """

    picture: Picture
    token: Token
    features: tuple[Tensor, Tensor]
    memories: tuple[Memory, Memory]
    field: Tensor
    latent: Tensor


class Aligned(NamedTuple):
    """What alignment knows of a frame before its refinement.

    Attributes:
        picture: the prediction, a gated mix of the moved copies.
        copies: [B, 2 * 96, H / 8, W / 8] patches of both moved copies (one reference: the same twice).
        features: f_c [B, C_16, H / 16, W / 16].
    """

    picture: Picture
    copies: Tensor
    features: Tensor

    @classmethod
    def nothing(cls, like: Picture, config: ModelConfig) -> "Aligned":
        """The prediction of key frames of the shape of `like`: zeros."""
        batch, _, height, width = like.luma.shape
        copies = like.luma.new_zeros(batch, height // 8, width // 8, 2 * PATCH_CHANNELS)
        features = like.luma.new_zeros(batch, height // 16, width // 16, config.align_channels[1])
        picture = Picture(*(torch.zeros_like(plane) for plane in like))
        return cls(picture, copies.movedim(-1, 1), features.movedim(-1, 1))


class Moved(NamedTuple):
    """The references' pixels where a frame needs them, and what to mix them by.

    Attributes:
        copies: moved references, one or two.
        patches: as in `Aligned.copies`.
        features: as in `Aligned`.
        logits: of the first copy's weight as the gate has it, [B, 1, H / 4, W / 4]; None with one reference.
    """

    copies: list[Picture]
    patches: Tensor
    features: Tensor
    logits: Tensor | None


class ScaleAlignment(nn.Module):
    """Cross-attention and transformer blocks at one scale."""

    def __init__(self, channels: int, heads: int, depth: int, wavelengths: tuple[float, ...]) -> None:
        super().__init__()
        self.attention = CrossAttention(channels, heads, wavelengths)
        self.blocks = nn.Sequential(*(TransformerBlock(channels, heads) for _ in range(depth)))

    def forward(self, motion: Tensor, cell: int, field: Tensor, references: list[Reference], scale: int) -> Tensor:
        """f_c [B, C, h, w] of a frame with motion features m_c and canonical displacement `field`."""
        return self.blocks(self.attention(motion, _positions(field, cell), [r.memories[scale] for r in references]))


class Gate(nn.Module):
    """Weight of the first moved copy, from both copies, f_c and where the frame lies between the references."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.gate_channels
        self.enter = Pointwise(2 * PATCH_CHANNELS + 1, width)
        self.aligned = Pointwise(config.align_channels[1], width)
        self.body = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            Pointwise(width, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            zero_init(Pointwise(width, 4)),
        )

    def forward(self, copies: Tensor, features: Tensor, place: Tensor) -> Tensor:
        """Logits [B, 1, H / 4, W / 4] of the weight, float32.

        `place` is [B] in 0..1, the nearer reference starts with the larger weight.
        """
        mean, difference = (
            (copies[:, :PATCH_CHANNELS] + copies[:, PATCH_CHANNELS:]) / 2,
            (copies[:, :PATCH_CHANNELS] - copies[:, PATCH_CHANNELS:]),
        )
        where = place[:, None, None, None].to(copies.dtype).expand(-1, 1, *copies.shape[-2:])
        hidden = self.enter(join(mean, difference * 3, where))
        hidden = hidden + upsample(self.aligned(features), 2)
        place = place.clamp(1e-3, 1 - 1e-3)[:, None, None, None]
        return F.pixel_shuffle(self.body(hidden).float(), 2) + torch.log((1 - place) / place)


class ImplicitMotionAlignment(nn.Module):
    """IMF_A of the paper, with a copy that moves.

    At 1/32 and 1/16 scale the frame's motion features query those of all references at once. The aligned features
    f_c refine the displacement the token implies, the references' pixels are sampled there, and a gate mixes them. The
    token corrects the gate: which of two states a frame shows, an eye open or closed, cannot be seen in the references.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        coarse, fine = config.align_channels
        self.token_decoder = LatentTokenDecoder(config)
        self.coarse = ScaleAlignment(coarse, config.align_heads, config.align_depth, config.wavelengths)
        self.fine = ScaleAlignment(fine, config.align_heads, config.align_depth, config.wavelengths)
        self.merge = Pointwise(coarse, fine)
        self.offsets = zero_init(nn.Conv2d(fine, 4, 3, padding=1))
        self.gate = Gate(config)

    def reference(self, picture: Picture, token: Token, features: tuple[Tensor, Tensor], latent: Tensor) -> Reference:
        """A decoded picture made ready to predict from."""
        field = canonical_field(token.u)
        m_coarse, m_fine = self.token_decoder(token)
        memories = (
            self.coarse.attention.memory(m_coarse, _positions(field, 32), features[0]),
            self.fine.attention.memory(m_fine, _positions(field, 16), features[1]),
        )
        return Reference(picture, token, features, memories, field, latent)

    def forward(self, token: Token, references: list[Reference], place: Tensor) -> Aligned:
        """Predict a frame.

        Args:
            token: its decoded token.
            references: one or two.
            place: float [B], where it lies between two references, 0..1.
        """
        moved = self.move(token, references, place)
        if moved.logits is None:
            return Aligned(moved.copies[0], moved.patches, moved.features)
        first, second = moved.copies
        chosen = F.interpolate(spread(token.u[:, BLEND]), scale_factor=2, mode="bilinear", align_corners=False)
        logits = F.interpolate(moved.logits + chosen, scale_factor=4, mode="bilinear", align_corners=False)
        picture = _mix(first, second, torch.sigmoid(logits).to(moved.patches.dtype))
        return Aligned(picture, moved.patches, moved.features)

    def move(self, token: Token, references: list[Reference], place: Tensor) -> Moved:
        """What `forward` makes its prediction of."""
        field = canonical_field(token.u)
        m_coarse, m_fine = self.token_decoder(token)
        coarse = self.coarse(m_coarse, 32, field, references, 0)
        fine = self.fine(m_fine, 16, field, references, 1)
        features = fine + upsample(self.merge(coarse), 2)
        offsets = F.interpolate(self.offsets(features).float(), scale_factor=2, mode="bilinear", align_corners=False)
        moves = reference_displacements(token.u, [r.field for r in references])
        copies = [move(r.picture, d + o) for r, d, o in zip(references, moves, offsets.split(2, 1), strict=False)]
        patches = join(to_patches(copies[0]), to_patches(copies[-1]))
        logits = self.gate(patches, features, place) if len(copies) > 1 else None
        return Moved(copies, patches, features, logits)


def _mix(first: Picture, second: Picture, weight: Tensor) -> Picture:
    half = F.avg_pool2d(weight, 2).expand_as(first.chroma)
    return Picture(torch.lerp(second.luma, first.luma, weight), torch.lerp(second.chroma, first.chroma, half))


def _positions(field: Tensor, cell: int) -> Tensor:
    coarse = F.avg_pool2d(field, cell // FIELD) / cell
    height, width = coarse.shape[-2:]
    return position_grid(height, width, coarse) + coarse
