"""What each stage of training minimises."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from imfcodec.errors import UsageError
from imfcodec.models.alignment import Reference
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.models.prior import Role
from imfcodec.models.structure import LOW_DELAY_LEVEL, TokenPlace, interval_level
from imfcodec.nn.picture import Picture
from imfcodec.nn.quantize import QUALITY_LEVELS
from imfcodec.training.dataset import Batch, GroupShape
from imfcodec.training.losses import decibels, rate_distortion, relative
from imfcodec.training.rollout import Outcome, Rollout
from imfcodec.training.shapes import ChunkShape, PairShape, delay_places, dyadic_places


@dataclass
class Parts:
    """What a step gives.

    Attributes:
        loss: to be minimised, a scalar.
        figures: scalars to log, detached.
        outcomes: the coded frames by name.
    """

    loss: Tensor
    figures: dict[str, Tensor]
    outcomes: dict[str, Outcome]


class Objective(Protocol):
    """A stage's loss. `batch.shape` is one that `shape` drew; each of `batch.dice` [B, 8] is uniform in 0..1."""

    def shape(self, generator: np.random.Generator) -> GroupShape:
        """Draw which frames the groups of a step consist of."""
        ...

    def __call__(self, network: ImfNetwork, batch: Batch, rate_weight: float) -> Parts:
        """Code the batch. `rate_weight` phases the rate in, 0..1."""
        ...


@dataclass(frozen=True)
class KeyObjective:
    """Stage 1: key frames alone, rate and distortion at random qualities."""

    qualities: tuple[int, int] = (40, 230)

    def shape(self, generator: np.random.Generator) -> GroupShape:
        """One frame."""
        return GroupShape((0,))

    def __call__(self, network: ImfNetwork, batch: Batch, rate_weight: float) -> Parts:
        quality = _between(batch.dice[:, 0], *self.qualities)
        outcome = Rollout(network).key(batch.pictures()[0], quality)
        return _weigh({"key": outcome}, {"key": 1.0}, rate_weight)


@dataclass(frozen=True)
class AlignObjective:
    """Stage 2: frames moved from original references by their tokens alone, absolute and squared error and rate.

    Attributes:
        references: 1, or 2 (the second one's token is coded as well, as a golden frame's would be).
        spans: frames between the references.
        l1: weight of the absolute error beside the squared one.
        parts: of the token that are sent, "g" and "u".
    """

    references: int = 1
    spans: tuple[int, ...] = (4, 8, 8, 16, 16, 32)
    qualities: tuple[int, int] = (0, 160)
    l1: float = 0.02
    parts: tuple[str, ...] = ("g", "u")

    def shape(self, generator: np.random.Generator) -> PairShape:
        """The first reference, a target, and with two references the second one."""
        span = int(generator.choice(self.spans))
        if self.references == 1:
            return PairShape((0, span), span, span)
        position = int(generator.integers(1, span))
        return PairShape((0, position, span), span, position)

    def __call__(self, network: ImfNetwork, batch: Batch, rate_weight: float) -> Parts:
        shape, pictures = batch.shape, batch.pictures()
        assert isinstance(shape, PairShape)
        quality = _between(batch.dice[:, 0], *self.qualities)
        chunk = _Chunk(Rollout(network, self.parts), pictures[0], shape.span, quality)
        outcomes = {}
        if self.references == 2:
            outcomes["second"] = chunk.close(pictures[-1], quality, refine=False, original=True)
        place = TokenPlace(shape.position, 0, shape.span if self.references == 2 else 0)
        outcomes["token0"] = chunk.token(pictures[1], place, quality, refine=False)
        return _weigh(outcomes, dict.fromkeys(outcomes, 1.0), rate_weight, self.l1)


@dataclass(frozen=True)
class JointObjective:
    """Stage 3: a key frame, two golden frames and token frames, each from decoded references.

    Attributes:
        spans: frames between golden frames.
        depth: token frames, each level of the dyadic order one.
        qualities: of golden frames.
        key_lead: key frames are up to this much better than golden frames.
        token_lag: token frames are this much worse, least and most.
        token_share, low_delay_share, refine_share: chance of token frames, of low delay, of y in token frames.
        token_weight: of token frames in the loss; there are many more of them than golden ones.
    """

    spans: tuple[int, ...] = (4, 4, 4, 8, 8, 8, 16, 16, 32)
    depth: int = 3
    qualities: tuple[int, int] = (44, 215)
    key_lead: int = 50
    token_lag: tuple[int, int] = (15, 90)
    token_share: float = 0.5
    low_delay_share: float = 0.2
    refine_share: float = 0.4
    token_weight: float = 2.0

    def shape(self, generator: np.random.Generator) -> ChunkShape:
        """A key frame, a golden frame, and a chunk after it."""
        span = int(generator.choice(self.spans))
        low_delay = bool(generator.random() < self.low_delay_share)
        depth = self.depth if generator.random() < self.token_share else 0
        places = delay_places(generator) if low_delay else dyadic_places(generator, span, depth)
        return ChunkShape.of(span, places, low_delay, bool(generator.random() < self.refine_share))

    def __call__(self, network: ImfNetwork, batch: Batch, rate_weight: float) -> Parts:
        outcomes = self.outcomes(network, batch)
        weights = {name: self.token_weight if o.role is Role.TOKEN else 1.0 for name, o in outcomes.items()}
        return _weigh(outcomes, weights, rate_weight)

    def outcomes(self, network: ImfNetwork, batch: Batch) -> dict[str, Outcome]:
        """The frames of the groups, coded as the codec would."""
        shape = batch.shape
        assert isinstance(shape, ChunkShape)
        frames = dict(zip(shape.offsets, batch.pictures(), strict=True))
        quality = _between(batch.dice[:, 0], *self.qualities)
        higher = (quality + (batch.dice[:, 1] * self.key_lead).long()).clamp_max(QUALITY_LEVELS - 1)
        lower = (quality - _between(batch.dice[:, 2], *self.token_lag)).clamp_min(0)
        rollout = Rollout(network)
        outcomes = {"key": rollout.key(frames[0], higher)}
        opening = _Chunk(rollout, outcomes["key"].picture, shape.span, quality)
        outcomes["ahead"] = opening.close(frames[shape.span], quality)
        chunk = _Chunk(rollout, outcomes["ahead"].picture, shape.span, quality, outcomes["ahead"].symbols)
        if not shape.low_delay:
            outcomes["last"] = chunk.close(frames[2 * shape.span], quality)
        for i, place in enumerate(shape.places):
            outcomes[f"token{i}"] = chunk.token(frames[shape.span + place.position], place, lower, shape.refine)
        return outcomes


OBJECTIVES = {"key": KeyObjective, "align": AlignObjective, "joint": JointObjective}


def make_objective(name: str, options: dict[str, Any]) -> Objective:
    """The objective of a stage.

    Raises:
        UsageError: no such objective, or it has no such option.
    """
    if name not in OBJECTIVES:
        raise UsageError(f"no training objective {name}; there are {', '.join(OBJECTIVES)}")
    try:
        plain = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        return OBJECTIVES[name](**plain)
    except TypeError as error:
        raise UsageError(f"objective {name}: {error}") from None


@dataclass
class _Chunk:
    """An anchor and what is coded after it, in coding order."""

    rollout: Rollout
    anchor_picture: Picture
    span: int
    quality: Tensor
    golden_symbols: Token | None = None
    references: list[Reference] = field(init=False)
    known: dict[int, tuple[Token, Token]] = field(init=False)

    def __post_init__(self) -> None:
        zero = self.rollout.zero(self.anchor_picture)
        self.references = [self.rollout.network.reference(self.anchor_picture, zero)]
        self.known = {0: (zero, zero)}

    def close(self, target: Picture, quality: Tensor, refine: bool = True, original: bool = False) -> Outcome:
        """Code the golden frame at the end; `original` makes the frame itself the reference, not what is decoded."""
        near = self.golden_symbols or self.known[0][1]
        outcome = self.rollout.golden(target, self.references[0], quality, self._constant(self.span), near, refine)
        self.references.append(self.rollout.network.reference(target if original else outcome.picture, outcome.token))
        self.known[self.span] = (outcome.token, outcome.symbols)
        return outcome

    def token(self, target: Picture, place: TokenPlace, quality: Tensor, refine: bool) -> Outcome:
        """Code a token frame, from both ends where there are two."""
        zero = self.known[0][0]
        (left, left_symbols), span, share = self.known[place.left], place.position, 0.0
        guess, near, level = left, (left_symbols, zero), LOW_DELAY_LEVEL
        if len(self.references) == 2:
            (right, right_symbols), span, share = self.known[place.right], self.span, place.position / self.span
            guess = Token(torch.lerp(left.g, right.g, place.fraction), torch.lerp(left.u, right.u, place.fraction))
            near, level = (left_symbols, right_symbols), interval_level(place.right - place.left)
        outcome = self.rollout.between(
            target,
            self.references,
            guess,
            near,
            self._constant(level),
            quality,
            self._constant(span),
            self._constant(share),
            refine,
        )
        self.known[place.position] = (outcome.token, outcome.symbols)
        return outcome

    def _constant(self, value: float) -> Tensor:
        return torch.full((len(self.quality),), value, device=self.quality.device)


def _between(dice: Tensor, low: int, high: int) -> Tensor:
    """Whole numbers low..high - 1 from uniform numbers 0..1, int64."""
    return (low + dice * (high - low)).long()


def _weigh(outcomes: dict[str, Outcome], weights: dict[str, float], rate_weight: float, l1: float = 0.0) -> Parts:
    costs = torch.stack([weights[name] * rate_distortion(o, rate_weight, l1) for name, o in outcomes.items()]).sum(0)
    loss = relative(costs).mean()
    figures = {f"{name}/{key}": value for name, o in outcomes.items() for key, value in _figures(o).items()}
    return Parts(loss, figures, outcomes)


@torch.no_grad()
def _figures(outcome: Outcome) -> dict[str, Tensor]:
    """PSNR-Y of the frame, of its prediction and of its unmoved reference, dB, and bits as if it had 256x256 pixels."""
    pictures = {"psnr_y": outcome.picture}
    if outcome.aligned is not None and outcome.reference is not None:
        pictures |= {"moved_psnr_y": outcome.aligned.picture, "copy_psnr_y": outcome.reference.picture}
    figures = {
        name: -decibels((picture.luma - outcome.target.luma).square().mean((1, 2, 3))).mean()
        for name, picture in pictures.items()
    }
    return figures | {"bits_256": outcome.bits.mean() * 65536 / outcome.target.luma[0].numel()}
