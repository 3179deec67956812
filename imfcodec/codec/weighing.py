"""Frames whose places count differently: their errors weighed, and fewer symbols where they count less."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.latents.estimate import CodeLengths
from imfcodec.latents.sparing import SparingCoder
from imfcodec.latents.symbols import PriorTables
from imfcodec.models.alignment import Aligned, Reference
from imfcodec.models.coding import Condition, SymbolCoder, Table
from imfcodec.models.executor import Known
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.models.structure import Step
from imfcodec.models.token_prior import TokenContext
from imfcodec.nn.picture import Picture

Weights = Mapping[int, Tensor]
"""How much places count, by position, float32 [1, 1, H / 16, W / 16] each; of frames left out all places count 1."""


def weighed(plane: Tensor, weights: Tensor | None) -> Tensor:
    """A plane [B, C, h, w] of any scale, each place times its weight; as it is without weights."""
    return plane if weights is None else plane * F.interpolate(weights, size=plane.shape[-2:])


class Sparing:
    """The `models.executor.Search` that looks for nothing, but spares symbols of y where they count less.

    Attributes:
        weights: those of the frames to come; a key frame's at 0.
    """

    def __init__(self, network: ImfNetwork, tables: PriorTables, weights: Weights) -> None:
        self.weights = weights
        self._network, self._tables = network, tables[Table.GAUSSIAN]

    def find_token(
        self,
        steps: Sequence[Step],
        known: Mapping[int, Known],
        context: TokenContext,
        references: list[Reference],
        target: Picture,
        token: Token,
    ) -> Token:
        """The token that E_T gave."""
        return token

    def code_latent(
        self,
        steps: Sequence[Step],
        coder: SymbolCoder,
        condition: Condition,
        aligned: Aligned,
        near: Tensor,
        target: Picture,
    ) -> tuple[Tensor, Tensor]:
        """Code y as E_F gives it, as far as it is worth its bits."""
        return self._network.code_latent(self._spare(coder, steps), condition, aligned, near, target)

    def _spare(self, coder: SymbolCoder, steps: Sequence[Step]) -> SymbolCoder:
        weights = self._weights_of(steps)
        if weights is None:
            return coder
        return SparingCoder(coder, CodeLengths(self._tables, weights.device), weights)

    def _weights_of(self, steps: Sequence[Step]) -> Tensor | None:
        """Weights of some steps, none of which stand for a key frame, [B, 1, H / 16, W / 16]; None where all are 1."""
        found = [self.weights.get(position) for position in ([step.position for step in steps] or [0])]
        like = next((weights for weights in found if weights is not None), None)
        return None if like is None else torch.cat([torch.ones_like(like) if w is None else w for w in found])
