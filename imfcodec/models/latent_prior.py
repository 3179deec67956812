"""The prior of y and its hyper-latent z.

A prior never sees bytes. It walks through its symbols in coding order and hands each set to a `SymbolCoder`: one
routine writes, reads and estimates, so that contexts cannot drift apart. Everything that selects a probability table is
computed in exact integers from integers already coded (`nn.quantize.Integer*`); floating-point networks only shift
means.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.coding import (
    CONDITION_PLANES,
    Condition,
    Role,
    SymbolCoder,
    Table,
    magnitude,
    scale_indices,
)
from imfcodec.models.dense_feature_encoder import BLOCK_CHANNELS
from imfcodec.nn.blocks import Pointwise, gated_blocks, join, upsample, zero_init
from imfcodec.nn.quantize import (
    IntegerDepthwise,
    IntegerPointwise,
    QuantizationSteps,
    qindex_fraction,
)

PASSES = 4
PLACES = ((0, 0), (1, 1), (0, 1), (1, 0))  # row and column of the four places of each 2x2 cell, in coding order


class LatentContext(NamedTuple):
    """What both sides know of a frame before its y.

    Attributes:
        blocks: the prediction's 16x16 blocks [B, 384, H / 16, W / 16], zeros for a key frame.
        features: aligned features f_c [B, C_16, H / 16, W / 16], zeros for a key frame.
        near: mean magnitude of the references' symbols of y [B, C_y, H / 16, W / 16], halves of whole numbers.
    """

    blocks: Tensor
    features: Tensor
    near: Tensor


class MeanContext(nn.Module):
    """Means of y, in steps, from all of y that is known and from what both sides know of the frame."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.context_channels
        self.from_hyper = Pointwise(config.hyper_channels, width)
        self.from_blocks = zero_init(Pointwise(BLOCK_CHANNELS, width, bias=False))
        self.from_features = zero_init(Pointwise(config.align_channels[1], width, bias=False))
        self.from_condition = nn.Linear(1 + len(Role), width)
        self.from_known = Pointwise(config.latent_channels, width)
        self.passes = nn.Parameter(torch.zeros(PASSES, width))
        self.body = gated_blocks(width, config.context_depth)
        self.mean = zero_init(Pointwise(width, config.latent_channels, exact=True))

    def shared(self, hyper: Tensor, condition: Condition, context: LatentContext) -> Tensor:
        """What the four passes have in common, [B, C_context, h, w]."""
        role = nn.functional.one_hot(condition.role, len(Role))
        known = torch.cat([qindex_fraction(condition.qindex)[:, None], role], 1)
        features = upsample(self.from_hyper(hyper), 4) + self.from_blocks(context.blocks)
        return features + self.from_features(context.features) + self.from_condition(known)[:, :, None, None]

    def forward(self, decoded: Tensor, shared: Tensor, number: int) -> Tensor:
        """Means [B, C_y, h, w] for pass `number`; `decoded` is y in steps, zero where unknown."""
        known = self.from_known(decoded / (1 + decoded.abs() / 8))
        return self.mean(self.body(known + shared + self.passes[number][:, None, None]))


class IndexContext(nn.Module):
    """Table indices of y, in integers, from the magnitudes of its symbols so far and what both sides know."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels, width = config.latent_channels, config.integer_channels
        self.around = IntegerDepthwise(channels)
        planes = 2 * config.hyper_channels + CONDITION_PLANES + PASSES
        self.enter = IntegerPointwise(3 * channels + planes, width)
        self.body = IntegerPointwise(width, width)
        self.leave = IntegerPointwise(width, channels, bounded=False)
        nn.init.zeros_(self.enter.weight[:, 2 * channels : 3 * channels])  # the references' symbols

    def forward(self, symbols: Tensor, planes: Tensor, number: int) -> Tensor:
        """Indices [B, C_y, h, w] for pass `number`.

        Args:
            symbols: magnitudes so far, zero where unknown [B, C_y, h, w].
            planes: `near` of the context, z and the condition.
        """
        flags = torch.zeros_like(symbols[:, :PASSES])
        flags[:, number] = 1
        hidden = self.enter(join(symbols, self.around(symbols), planes, flags))
        return scale_indices(self.leave(self.body(hidden)))


class LatentPrior(nn.Module):
    """Prior of y: z first, then four passes, each a quarter of the channels at each place of a 2x2 cell."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.steps = nn.ModuleList(
            QuantizationSteps(config.latent_channels, config.quality_knots, 2.0, 0.02) for _ in (Role.KEY, Role.GOLDEN)
        )
        self.means = MeanContext(config)
        self.indices = IndexContext(config)

    def step_sizes(self, condition: Condition) -> Tensor:
        """Quantisation steps [B, C_y], float32."""
        fraction = qindex_fraction(condition.qindex)
        key, golden = (steps(fraction) for steps in self.steps)
        return torch.where((condition.role == Role.KEY)[:, None], key, golden)

    def code(
        self, coder: SymbolCoder, condition: Condition, context: LatentContext, y: Tensor | None, z: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Code z, then y (both None when decoding).

        Returns:
            Decoded y and the magnitudes of its symbols, float32 [B, C_y, H / 16, W / 16].
        """
        batch, _, height, width = context.blocks.shape
        limit, channels = self.config.context_limit, self.config.hyper_channels
        hyper = coder.code(z, _channel_rows(batch, channels, height // 4, width // 4, context.blocks), Table.HYPER)
        shared = self.means.shared(hyper, condition, context)
        spread = upsample(join(hyper.clamp(0, limit), (-hyper).clamp(0, limit)), 4)
        planes = join(context.near, spread, condition.planes(height, width))
        steps = self.step_sizes(condition)[:, :, None, None]
        normalised = None if y is None else y / steps
        decoded = symbols = context.blocks.new_zeros(1).expand(batch, self.config.latent_channels, height, width)
        for number in range(PASSES):
            mean = take_places(self.means(decoded, shared, number), number)
            index = take_places(self.indices(symbols, planes, number), number)
            values = None if normalised is None else take_places(normalised, number) - mean
            coded = coder.code(values, index, Table.GAUSSIAN)
            decoded = decoded + put_places(coded + mean, number)
            symbols = symbols + put_places(magnitude(coded, limit), number)
        return decoded * steps, symbols


def _channel_rows(batch: int, channels: int, height: int, width: int, like: Tensor) -> Tensor:
    """Table row of every element of z [B, C_z, h, w]: its channel."""
    rows = torch.arange(channels, device=like.device, dtype=torch.float32)
    return rows[:, None, None].expand(batch, -1, height, width)


def take_places(x: Tensor, number: int) -> Tensor:
    """What pass `number` codes of [B, C, h, w]: quarter g of the channels at place (g + number) mod 4 of each cell.

    Returns:
        [B, C, h / 2, w / 2]
    """
    return _Moved.apply(x, number, _take_places, _put_places)  # type: ignore[no-any-return, no-untyped-call]


def put_places(part: Tensor, number: int) -> Tensor:
    """Inverse of `take_places`, zero elsewhere."""
    return _Moved.apply(part, number, _put_places, _take_places)  # type: ignore[no-any-return, no-untyped-call]


Move = Callable[[Tensor, int], Tensor]


class _Moved(torch.autograd.Function):
    """A move of values whose gradient is the move back: four slices would each make a gradient of the whole."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, number: int, there: Move, back: Move) -> Tensor:
        ctx.number, ctx.back = number, back
        return there(x, number)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.back(gradients[0], ctx.number), None, None, None


def _take_places(x: Tensor, number: int) -> Tensor:
    parts = x.chunk(4, 1)
    places = (PLACES[(group + number) % 4] for group in range(4))
    return join(*(part[..., row::2, column::2] for part, (row, column) in zip(parts, places, strict=True)))


def _put_places(part: Tensor, number: int) -> Tensor:
    batch, channels, height, width = part.shape
    whole = part.new_zeros(batch, 2 * height, 2 * width, channels).movedim(-1, 1)
    for group, values in enumerate(part.chunk(4, 1)):
        row, column = PLACES[(group + number) % 4]
        first = group * channels // 4
        whole[:, first : first + channels // 4, row::2, column::2] = values
    return whole
