"""E_T: a frame and its decoded references to the latent token (g, u), coarse to fine."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.displacement import GRID, reference_displacements
from imfcodec.models.registration import register
from imfcodec.nn.blocks import join, zero_init
from imfcodec.nn.picture import sample


class Token(NamedTuple):
    """A latent token.

    Attributes:
        g: float [B, D_g], the global part.
        u: float [B, D_u, H / 32, W / 32], the local part; channels 0-1 displace the frame to the group's anchor,
           channels 2-3 correct the displacement to the second reference, both (x, y) in luma pixels; channel 4 is
           added to the logits of the weight of the first of two references.
    """

    g: Tensor
    u: Tensor

    @classmethod
    def zeros(cls, batch: int, height: int, width: int, config: ModelConfig, like: Tensor) -> "Token":
        """The anchor's token for frames of height x width pixels: no motion relative to itself."""
        u = like.new_zeros(batch, config.grid_channels, height // GRID, width // GRID)
        return cls(like.new_zeros(batch, config.global_channels), u)


class Stage(nn.Module):
    """One scale: sees the frame and both moved references, corrects u on the token grid."""

    IN_CHANNELS = 5 + 4 + 2 + 3

    def __init__(self, cell: int, width: int, out_channels: int) -> None:
        super().__init__()
        halvings = (GRID // cell).bit_length() - 1
        layers: list[nn.Module] = [nn.Conv2d(self.IN_CHANNELS, 32, 5, 2, 2), nn.SiLU()]
        channels = 32
        for _ in range(halvings - 1):
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.SiLU()]
            channels = width
        layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.correction = zero_init(nn.Conv2d(width, out_channels, 3, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return self.correction(features), features


class LatentTokenEncoder(nn.Module):
    """E_T of the paper, but relative: it starts at the token the decoder would guess and corrects that guess.

    Registration (`models.registration`) finds the displacement; learned stages correct it for what it costs and fill
    the other channels. Only luma is looked at. References come with their canonical displacements.
    """

    CELLS = (8, 2)  # luma pixels per sample at each learned stage
    PULL = 0.06  # registration is held to the guess by this times the squared quantisation step

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.stages = nn.ModuleList(Stage(cell, config.token_channels, config.grid_channels) for cell in self.CELLS)
        self.glance = nn.Linear(config.token_channels, config.global_channels)

    def forward(
        self, luma: Tensor, references: list[Tensor], fields: list[Tensor], guess: Token, place: Tensor, step: Tensor
    ) -> Token:
        """Encode.

        Args:
            luma: [B, 1, H, W] the frame.
            references: luma [B, 1, H, W] of one or two decoded references.
            fields: their canonical displacements [B, 2, H / 8, W / 8], luma pixels.
            guess: what the decoder predicts before it reads the token.
            place: [B] where the frame lies between its references, 0..1 (0 with one reference).
            step: [B] quantisation step of the displacement, luma pixels.
        """
        u = register(luma, references, fields, guess.u, self.PULL * step.detach().square())
        features = guess.g
        for cell, stage in zip(self.CELLS, self.stages, strict=True):
            view = self._view(cell, luma, references, fields, u, place)
            deviation = F.interpolate((u - guess.u)[:, :2] / 4, size=view.shape[-2:], mode="nearest")
            price = step.detach().log()[:, None, None, None].expand(-1, 1, *view.shape[-2:])
            correction, features = stage(join(view, deviation, price))
            u = u + correction * 4
        return Token(guess.g + self.glance(features.mean((2, 3))), u)

    @staticmethod
    def _view(
        cell: int, luma: Tensor, references: list[Tensor], fields: list[Tensor], u: Tensor, place: Tensor
    ) -> Tensor:
        target = F.avg_pool2d(luma, cell)
        size = target.shape[-2:]
        moves = [
            F.interpolate(d, size=size, mode="bilinear", align_corners=False)
            for d in reference_displacements(u, fields)
        ]
        moved = [sample(F.avg_pool2d(r, cell), d / cell) for r, d in zip(references, moves, strict=True)]
        first, second = moved[0], moved[-1]
        planes = torch.ones_like(target)
        return join(
            target,
            first,
            second,
            (target - first) * 3,
            (target - second) * 3,
            moves[0] / 16,
            moves[-1] / 16,
            planes * place[:, None, None, None],
            planes * (len(references) - 1),
        )
