"""Learned priors of y, z and the tokens.

A prior never sees bytes. It walks through its symbols in coding order and hands each set to a `SymbolCoder`, which
estimates their rate (training), writes them or reads them: one routine for all three, so that contexts cannot drift
apart. Everything that selects a probability table is computed in exact integers from integers already coded
(`nn.quantize.Integer*`); floating-point networks only shift means.
"""

import math
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.dense_feature_encoder import BLOCK_CHANNELS
from imfcodec.models.latent_token_encoder import Token
from imfcodec.nn.blocks import zero_init
from imfcodec.nn.quantize import (
    ACTIVATION_UNIT,
    IntegerDepthwise,
    IntegerPointwise,
    QuantizationSteps,
    quality_fraction,
)

if TYPE_CHECKING:
    from compressai.entropy_models import EntropyBottleneck

SCALE_LEVELS = 64
SCALE_MIN, SCALE_MAX = 0.11, 64.0
SCALE_RATIO = math.log(SCALE_MAX / SCALE_MIN) / (SCALE_LEVELS - 1)
MAX_CONTEXT = 7.0  # symbols are clipped to this magnitude where they serve as context
INDEX_GAIN = 8.0  # table indices per unit of an integer network's output


class SymbolCoder(Protocol):
    """Takes sets of symbols in coding order; `values` is None when decoding."""

    def gaussian(self, values: Tensor | None, index: Tensor) -> Tensor:
        """Code round(values) with the Gaussian table `index`.

        Args:
            values: float32, any shape, in units of one quantisation step, mean already taken off.
            index: float32 of the same shape, whole numbers in 0..63.
        Returns:
            The rounded values, float32.
        """
        ...

    def hyper(self, bottleneck: "HyperPrior", values: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """Code z [B, C, h, w] with its factorised tables; returns whole numbers (the median taken off)."""
        ...


class Role(IntEnum):
    """What a frame is for."""

    KEY = 0
    GOLDEN = 1
    TOKEN = 2


class Condition(NamedTuple):
    """What both sides know before any symbol of a batch of frames.

    Attributes:
        role: int64 [B], see `Role`.
        quality: int64 [B], quantiser index 0..255.
    """

    role: Tensor
    quality: Tensor

    def planes(self, height: int, width: int) -> Tensor:
        """Integer-network inputs [B, 4, height, width]: quality, then the role one-hot."""
        quality = (self.quality // 2).float() / ACTIVATION_UNIT
        one_hot = F.one_hot(self.role, len(Role)).float() * 2
        return torch.cat([quality[:, None], one_hot], 1)[:, :, None, None].expand(-1, -1, height, width)


CONDITION_PLANES = 1 + len(Role)


def scale_indices(output: Tensor) -> Tensor:
    """Table indices, whole float32 numbers in 0..63, from an integer network's output; gradient passes through."""
    index = (output * INDEX_GAIN + 8).clamp(0, SCALE_LEVELS - 1)
    return index + (index.round() - index).detach()


def _magnitude(symbols: Tensor) -> Tensor:
    return symbols.detach().abs().clamp(max=MAX_CONTEXT)


class GroupContext(nn.Module):
    """Mean (float) and table index (integers) of one channel group of y, given all symbols coded so far."""

    def __init__(self, config: ModelConfig, group: int) -> None:
        super().__init__()
        known = sum(config.latent_groups[: group + 1])
        channels, hidden, width = config.latent_groups[group], config.context_channels, config.integer_channels
        self.known = known
        self.mean = nn.Sequential(
            nn.Conv2d(known + hidden, hidden, 1),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.GELU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.GELU(),
            zero_init(nn.Conv2d(hidden, channels, 1)),
        )
        self.around = IntegerDepthwise(known)
        self.index = nn.Sequential(
            IntegerPointwise(2 * known + 2 * config.hyper_channels + CONDITION_PLANES + 1, width),
            IntegerPointwise(width, width),
            IntegerPointwise(width, channels, bounded=False),
        )

    def forward(self, decoded: Tensor, shared: Tensor, symbols: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean in steps and table index, both float32 [B, C_group, h, w].

        Args:
            decoded: y so far in steps, zero where unknown [B, C_y, h, w].
            shared: float features from z and the prediction [B, C_context, h, w].
            symbols: magnitudes of symbols so far, zero where unknown [B, C_y, h, w].
            planes: integer inputs from z, the condition and the number of the pass.
        """
        known = decoded[:, : self.known]
        mean = self.mean(torch.cat([known / (1 + known.abs() / 8), shared], 1)).float()
        near = symbols[:, : self.known]
        return mean, scale_indices(self.index(torch.cat([near, self.around(near), planes], 1)))


class HyperMedians(nn.Module):
    """What coding z needs of its factorised prior beside the tables.

    Attributes:
        quantiles: float32 [C, 1, 3] as in CompressAI, of which the second is the median.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.quantiles = nn.Parameter(torch.zeros(channels, 1, 3))


HyperPrior: TypeAlias = "EntropyBottleneck | HyperMedians"


def _factorised_prior(channels: int) -> "EntropyBottleneck":
    from compressai.entropy_models import EntropyBottleneck  # takes seconds to import, and coding can do without

    return EntropyBottleneck(channels)


class LatentPrior(nn.Module):
    """Prior of y, with hyper-latent z, by channel groups and three interleaved passes over the places of each.

    Args:
        likelihoods: with the factorised prior of z, which training and estimating rates need; coding does not.
    """

    def __init__(self, config: ModelConfig, *, likelihoods: bool = True) -> None:
        super().__init__()
        self.config = config
        hidden = config.context_channels
        channels = config.hyper_channels
        self.bottleneck = _factorised_prior(channels) if likelihoods else HyperMedians(channels)
        self.steps = nn.ModuleList(
            QuantizationSteps(config.latent_channels, config.quality_knots, 2.0, 0.02) for _ in Role
        )
        self.from_hyper = nn.Conv2d(config.hyper_channels, hidden, 1)
        self.from_prediction = nn.Conv2d(BLOCK_CHANNELS, hidden, 1)
        self.from_condition = nn.Linear(1 + len(Role), hidden)
        self.groups = nn.ModuleList(GroupContext(config, group) for group in range(len(config.latent_groups)))

    def step_sizes(self, condition: Condition) -> Tensor:
        """Quantisation steps [B, C_y] of y, float32."""
        fraction = quality_fraction(condition.quality)
        by_role = torch.stack([steps(fraction) for steps in self.steps], 1)
        return by_role[torch.arange(len(fraction), device=fraction.device), condition.role]

    def code(
        self, coder: SymbolCoder, condition: Condition, blocks: Tensor, y: Tensor | None, z: Tensor | None
    ) -> Tensor:
        """Code y and z.

        Args:
            coder: estimates, writes or reads.
            condition: role and quality of each frame.
            blocks: prediction in blocks [B, 384, h, w] (zeros for a key frame); gives the shape.
            y, z: to be coded; None when decoding.
        Returns:
            Decoded y [B, C_y, h, w], float32.
        """
        batch, _, height, width = blocks.shape
        steps = self.step_sizes(condition)[:, :, None, None]
        shape = (batch, self.config.hyper_channels, -(-height // 4), -(-width // 4))
        hyper = coder.hyper(self.bottleneck, z, shape)
        shared = self._shared(hyper, condition, blocks)
        planes = self._planes(hyper, condition, height, width)
        passes = _passes(height, width, blocks)
        decoded = torch.zeros(batch, self.config.latent_channels, height, width, device=blocks.device)
        symbols = torch.zeros_like(decoded)
        normalised = None if y is None else y.float() / steps
        start = 0
        for group, channels in zip(self.groups, self.config.latent_groups, strict=True):
            end = start + channels
            for number, mask in enumerate(passes):
                flag = torch.full_like(planes[:, :1], float(number))
                mean, index = group(decoded, shared, symbols, torch.cat([planes, flag], 1))
                values = None if normalised is None else (normalised[:, start:end] - mean)[:, :, mask]
                coded = coder.gaussian(values, index[:, :, mask])
                decoded = _place(decoded, start, end, mask, coded + mean[:, :, mask])
                symbols = _place(symbols, start, end, mask, _magnitude(coded))
            start = end
        return decoded * steps

    def _shared(self, hyper: Tensor, condition: Condition, blocks: Tensor) -> Tensor:
        features = F.interpolate(self.from_hyper(hyper), scale_factor=4, mode="nearest")
        known = torch.cat([quality_fraction(condition.quality)[:, None], F.one_hot(condition.role, len(Role))], 1)
        features = features[..., : blocks.shape[2], : blocks.shape[3]] + self.from_prediction(blocks)
        return features + self.from_condition(known)[:, :, None, None]

    @staticmethod
    def _planes(hyper: Tensor, condition: Condition, height: int, width: int) -> Tensor:
        spread = F.interpolate(hyper.detach(), scale_factor=4, mode="nearest")[..., :height, :width]
        signs = torch.cat([spread.clamp(0, MAX_CONTEXT), (-spread).clamp(0, MAX_CONTEXT)], 1)
        return torch.cat([signs, condition.planes(height, width)], 1)


def _passes(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Places coded together, as masks [height, width]: every other place both ways, those between them on the
    diagonals, then all others, whose four neighbours are known by then."""
    row = torch.arange(height, device=like.device)[:, None] % 2
    column = torch.arange(width, device=like.device)[None] % 2
    return (row == 0) & (column == 0), (row == 1) & (column == 1), row != column


def _place(whole: Tensor, start: int, end: int, mask: Tensor, values: Tensor) -> Tensor:
    part = torch.zeros_like(whole[:, start:end])
    part[:, :, mask] = values
    return torch.cat([whole[:, :start], whole[:, start:end] + part, whole[:, end:]], 1)


class TokenContext(NamedTuple):
    """What both sides know before a batch of tokens.

    Attributes:
        guess: predicted token.
        near: u-symbols and g-symbols of the two tokens coded before that lie nearest in time (zeros where none).
        level: int64 [B], 0 golden, 1 low delay, then 2, 3, ... by dyadic level within a chunk.
        span: int64 [B], frames between the references.
        condition: role and quality.
    """

    guess: Token
    near: tuple[Token, Token]
    level: Tensor
    span: Tensor
    condition: Condition


class TokenPart(nn.Module):
    """Table indices of one part of the token, from the magnitudes of its neighbours in time."""

    PLANES = CONDITION_PLANES + 2 + 3

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.around = IntegerDepthwise(channels)
        self.index = nn.Sequential(
            IntegerPointwise(3 * channels + self.PLANES, width),
            IntegerPointwise(width, width),
            IntegerPointwise(width, channels, bounded=False),
        )

    def forward(self, near: tuple[Tensor, Tensor], context: TokenContext) -> Tensor:
        first, second = _magnitude(near[0]), _magnitude(near[1])
        both = (first + second).clamp(max=MAX_CONTEXT)
        planes = torch.cat([context.condition.planes(*first.shape[-2:]), _token_planes(first, context)], 1)
        return scale_indices(self.index(torch.cat([first, second, self.around(both), planes], 1)))


def _token_planes(like: Tensor, context: TokenContext) -> Tensor:
    """Level, span and the frequency of each place (row, column, larger of both), in multiples of 1/16."""
    height, width = like.shape[-2:]
    row = torch.div(torch.arange(height, device=like.device) * 128, height, rounding_mode="floor")
    column = torch.div(torch.arange(width, device=like.device) * 128, width, rounding_mode="floor")
    rows, columns = torch.broadcast_tensors(row[:, None], column[None])
    frequency = torch.stack([rows, columns, torch.maximum(rows, columns)]).float() / ACTIVATION_UNIT
    scalars = torch.stack([context.level.clamp(max=7).float(), context.span.clamp(max=63).float() / 8], 1)
    scalars = scalars[:, :, None, None].expand(-1, -1, height, width)
    return torch.cat([scalars, frequency.expand(like.shape[0], -1, -1, -1)], 1)


class TokenPrior(nn.Module):
    """Prior of the latent token: u by the cosine transform over its grid, then g, both as differences to the guess."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.u_steps = QuantizationSteps(config.grid_channels, config.quality_knots, 4.0, 0.25)
        self.g_steps = QuantizationSteps(config.global_channels, config.quality_knots, 2.0, 0.1)
        self.u_index = TokenPart(config.grid_channels, config.integer_channels)
        self.g_index = TokenPart(config.global_channels, config.integer_channels)

    def code(self, coder: SymbolCoder, context: TokenContext, token: Token | None) -> tuple[Token, Token]:
        """Code a batch of tokens.

        Returns:
            The decoded tokens, and their symbols (u in the cosine domain), which later tokens need as context.
        """
        fraction = quality_fraction(context.condition.quality)
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
    return coder.gaussian(None if target is None else target / steps, index)


def _cosine_basis(size: int, like: Tensor) -> Tensor:
    """Orthonormal DCT-II matrix [size, size], float32."""
    n = torch.arange(size, device=like.device, dtype=torch.float64)
    basis = torch.cos(math.pi / size * (n[None] + 0.5) * n[:, None]) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    return basis.float()


def cosine_transform(x: Tensor) -> Tensor:
    """Orthonormal two-dimensional DCT-II over the last two dimensions, float32."""
    with torch.autocast(x.device.type, enabled=False):
        return _cosine_basis(x.shape[-2], x) @ x.float() @ _cosine_basis(x.shape[-1], x).t()


def inverse_cosine_transform(x: Tensor) -> Tensor:
    """Inverse of `cosine_transform`."""
    with torch.autocast(x.device.type, enabled=False):
        return _cosine_basis(x.shape[-2], x).t() @ x.float() @ _cosine_basis(x.shape[-1], x)
