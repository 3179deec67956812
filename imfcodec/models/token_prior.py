"""The prior of the latent token; see `latent_prior` for how priors and coders work together."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.coding import CONDITION_PLANES, Condition, SymbolCoder, Table, magnitude, scale_indices
from imfcodec.models.latent_token_encoder import Token
from imfcodec.nn.blocks import join
from imfcodec.nn.cosine import cosine_transform, inverse_cosine_transform
from imfcodec.nn.quantize import (
    ACTIVATION_UNIT,
    IntegerDepthwise,
    IntegerPointwise,
    QuantizationSteps,
    qindex_fraction,
)


class TokenContext(NamedTuple):
    """What both sides know before a batch of tokens.

    Attributes:
        guess: predicted token.
        near: u-symbols and g-symbols of the two tokens coded before that lie nearest in time (zeros where none).
        level: int64 [B], 0 golden, 1 low delay, then 2, 3, ... by dyadic level within a chunk.
        span: int64 [B], frames between the references.
        condition: role and quantiser index.
    """

    guess: Token
    near: tuple[Token, Token]
    level: Tensor
    span: Tensor
    condition: Condition


class TokenPart(nn.Module):
    """Table indices of one part of the token, from the magnitudes of its neighbours in time."""

    PLANES = CONDITION_PLANES + 2 + 3

    def __init__(self, channels: int, config: ModelConfig) -> None:
        super().__init__()
        width, self.limit = config.integer_channels, config.context_limit
        self.around = IntegerDepthwise(channels)
        self.index = nn.Sequential(
            IntegerPointwise(3 * channels + self.PLANES, width),
            IntegerPointwise(width, width),
            IntegerPointwise(width, channels, bounded=False),
        )

    def forward(self, near: tuple[Tensor, Tensor], context: TokenContext) -> Tensor:
        first, second = magnitude(near[0], self.limit), magnitude(near[1], self.limit)
        both = (first + second).clamp(max=self.limit)
        planes = join(context.condition.planes(*first.shape[-2:]), _token_planes(first, context))
        return scale_indices(self.index(join(first, second, self.around(both), planes)))


def _token_planes(like: Tensor, context: TokenContext) -> Tensor:
    """Level, span and the frequency of each place (row, column, larger of both), in multiples of 1/16."""
    height, width = like.shape[-2:]
    row = torch.div(torch.arange(height, device=like.device) * 128, height, rounding_mode="floor")
    column = torch.div(torch.arange(width, device=like.device) * 128, width, rounding_mode="floor")
    rows, columns = torch.broadcast_tensors(row[:, None], column[None])
    frequency = torch.stack([rows, columns, torch.maximum(rows, columns)]).float() / ACTIVATION_UNIT
    scalars = torch.stack([context.level.clamp(max=7).float(), context.span.clamp(max=63).float() / 8], 1)
    scalars = scalars[:, :, None, None].expand(-1, -1, height, width)
    return join(scalars, frequency.expand(like.shape[0], -1, -1, -1))


class TokenPrior(nn.Module):
    """Prior of the latent token: u by the cosine transform over its grid, then g, both as differences to the guess."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.u_steps = QuantizationSteps(config.grid_channels, config.quality_knots, 4.0, 0.25)
        self.g_steps = QuantizationSteps(config.global_channels, config.quality_knots, 2.0, 0.1)
        self.u_index = TokenPart(config.grid_channels, config)
        self.g_index = TokenPart(config.global_channels, config)

    def code(self, coder: SymbolCoder, context: TokenContext, token: Token | None) -> tuple[Token, Token]:
        """Code a batch of tokens.

        Returns:
            The decoded tokens, and their symbols (u in the cosine domain), which later tokens need as context.
        """
        fraction = qindex_fraction(context.condition.qindex)
        steps = Token(self.g_steps(fraction)[:, :, None, None], self.u_steps(fraction)[:, :, None, None])
        target = None if token is None else cosine_transform(token.u.float() - context.guess.u)
        u = _code_part(coder, target, steps.u, self.u_index((context.near[0].u, context.near[1].u), context))
        target = None if token is None else (token.g.float() - context.guess.g)[:, :, None, None]
        near = (context.near[0].g[:, :, None, None], context.near[1].g[:, :, None, None])
        g = _code_part(coder, target, steps.g, self.g_index(near, context))
        decoded = Token(
            context.guess.g + (g * steps.g)[:, :, 0, 0], context.guess.u + inverse_cosine_transform(u * steps.u)
        )
        return decoded, Token(g[:, :, 0, 0], u)


def _code_part(coder: SymbolCoder, target: Tensor | None, steps: Tensor, index: Tensor) -> Tensor:
    return coder.code(None if target is None else target / steps, index, Table.GAUSSIAN)
