"""What each stage of training minimises."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from imfcodec.errors import UsageError
from imfcodec.models.alignment import Aligned
from imfcodec.models.coding import Condition, Role
from imfcodec.models.executor import Qindices
from imfcodec.models.structure import PAST_LEVEL, Chunk, Step, interval_level, plan
from imfcodec.nn.blocks import join
from imfcodec.nn.picture import Picture, to_patches
from imfcodec.nn.quantize import QINDEX_LEVELS
from imfcodec.training.dataset import PAIR_FRAMES, Batch, GroupShape
from imfcodec.training.losses import decibels, rate_distortion, relative
from imfcodec.training.rollout import Outcome, Rollout, TrainedModel
from imfcodec.training.shapes import ChunkShape, PairShape, draw_chunk, draw_part


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

    def __call__(self, model: TrainedModel, batch: Batch, rate_weight: float) -> Parts:
        """Code the batch. `rate_weight` phases the rate in, 0..1."""
        ...


@dataclass(frozen=True)
class LatentObjective:
    """Stage 1: y alone. Key frames, and what predictions lack, from pairs that `training.pairs` stored.

    Attributes:
        qindices: of key frames, from the first up to the last, which is left out.
        spread: the quantiser index of a pair lies this far below and above that of its references.
    """

    qindices: tuple[int, int] = (20, 251)
    spread: tuple[int, int] = (30, 15)

    def shape(self, generator: np.random.Generator) -> GroupShape:
        """The pictures of a pair; of other clips one frame as often."""
        return GroupShape((0,) * PAIR_FRAMES)

    def __call__(self, model: TrainedModel, batch: Batch, rate_weight: float) -> Parts:
        network, (*known, target) = model.network, batch.pictures()
        paired = batch.qindex >= 0
        low, high = self.spread
        around = (batch.qindex - low + (batch.dice[:, 0] * (low + high + 1)).long()).clamp(0, QINDEX_LEVELS - 1)
        qindex = torch.where(paired, around, _between(batch.dice[:, 0], *self.qindices))
        prediction, *copies = (
            Picture(*(plane * paired[:, None, None, None] for plane in picture)) for picture in known
        )
        aligned, near = Aligned.nothing(target, network.config), network.no_symbols(target)
        if batch.known is not None:
            aligned = Aligned(prediction, join(*map(to_patches, copies)), batch.known.features)
            near = batch.known.near
        condition = Condition(torch.where(paired, int(Role.GOLDEN), int(Role.KEY)), qindex)
        coder = model.estimator()
        y, _ = network.code_latent(coder, condition, aligned, near, target)
        outcome = Outcome(Role.KEY, target, network.decode_reference(y, aligned, qindex), coder.take_bits(), qindex)
        return _weigh({"latent": outcome}, {"latent": 1.0}, rate_weight)


@dataclass(frozen=True)
class AlignObjective:
    """Stage 2: frames moved from references by their tokens alone, absolute and squared error and rate.

    Attributes:
        references: 1, or 2 (the second one's token is coded as well, as a golden frame's would be).
        spans: frames between the references.
        l1: weight of the absolute error beside the squared one.
        coded: chance that references are what y makes of them, instead of originals; y itself stays as it is.
        lead: such references are this much better than the token, least and most.
    """

    references: int = 2
    spans: tuple[int, ...] = (2, 4, 8, 8, 16, 16, 32)
    qindices: tuple[int, int] = (0, 180)
    l1: float = 0.02
    coded: float = 0.0
    lead: tuple[int, int] = (50, 90)

    def shape(self, generator: np.random.Generator) -> PairShape:
        """The first reference, a target, and with two references the second one."""
        span = int(generator.choice(self.spans))
        if self.references == 1:
            return PairShape((0, span), span, Step(span, Role.TOKEN, (0,), (0,), PAST_LEVEL, latent=False))
        position, ends = int(generator.integers(1, span)), (0, span)
        target = Step(position, Role.TOKEN, ends, ends, interval_level(ends), latent=False)
        return PairShape((0, position, span), span, target)

    def __call__(self, model: TrainedModel, batch: Batch, rate_weight: float) -> Parts:
        shape, pictures = batch.shape, batch.pictures()
        assert isinstance(shape, PairShape)
        frames = dict(zip(shape.offsets, pictures, strict=True))
        qindex = _between(batch.dice[:, 0], *self.qindices)
        qindices = Qindices(qindex, torch.zeros_like(qindex), qindex)
        rollout = Rollout(model)
        ends = {position: frames[position] for position in (0, *shape.target.references)}
        if batch.dice[0, 1] < self.coded:
            better = (qindex + _between(batch.dice[:, 2], *self.lead)).clamp_max(QINDEX_LEVELS - 1)
            with torch.no_grad():
                ends = {position: rollout.key(end, better)[0].picture for position, end in ends.items()}
        known, outcomes = {0: rollout.given(ends[0])}, {}
        if len(shape.target.references) == 2:
            ((second,), *_) = plan(Chunk(shape.span, True))
            second = replace(second, latent=False)
            outcomes["second"] = rollout.run([(second,)], known, qindices, frames)[shape.span]
            known[shape.span] = rollout.given(ends[shape.span], known[shape.span])
        position = shape.target.position
        outcomes["token"] = rollout.run([(shape.target,)], known, qindices, frames)[position]
        return _weigh(outcomes, dict.fromkeys(outcomes, 1.0), rate_weight, self.l1)


@dataclass(frozen=True)
class JointObjective:
    """Stage 3: a key frame, the anchor, and the path through the chunk after it to a random frame.

    Attributes:
        lengths: of chunks.
        split_chances: of every interval of a chunk; one is drawn for each step.
        qindices: of the golden frames at the ends of chunks, from the first up to the last, which is left out.
        key_lead: key frames are up to this much better.
        deeper: quantiser index lost with every halving, least and most.
        token_lag: token frames are this much worse, least and most.
        lead_share: chance of a golden frame between the key frame and the chunk, as its anchor.
        low_delay_share: chance of token frames from the past alone.
        token_weight: of token frames in the loss; there are many more of them than golden ones.
    """

    lengths: tuple[int, ...] = (1, 2, 4, 8, 8, 16, 16, 32)
    split_chances: tuple[float, ...] = (0.0, 0.3, 0.6, 1.0)
    qindices: tuple[int, int] = (20, 245)
    key_lead: int = 40
    deeper: tuple[int, int] = (0, 20)
    token_lag: tuple[int, int] = (35, 75)
    lead_share: float = 0.5
    low_delay_share: float = 0.15
    token_weight: float = 2.0

    def shape(self, generator: np.random.Generator) -> ChunkShape:
        """A key frame, a golden frame, and part of a chunk after it."""
        if generator.random() < self.low_delay_share:
            chunk = Chunk(2, False)
            return ChunkShape.of(int(generator.integers(1, 9)), chunk, plan(chunk))
        length = int(generator.choice(self.lengths))
        chunk = draw_chunk(generator, length, float(generator.choice(self.split_chances)))
        lead = length if generator.random() < self.lead_share else 0
        return ChunkShape.of(lead, chunk, draw_part(generator, chunk))

    def __call__(self, model: TrainedModel, batch: Batch, rate_weight: float) -> Parts:
        outcomes = self.outcomes(model, batch)
        weights = {name: self.token_weight if o.role is Role.TOKEN else 1.0 for name, o in outcomes.items()}
        return _weigh(outcomes, weights, rate_weight)

    def outcomes(self, model: TrainedModel, batch: Batch) -> dict[str, Outcome]:
        """The frames of the groups, coded as the codec would."""
        shape = batch.shape
        assert isinstance(shape, ChunkShape)
        frames = dict(zip(shape.offsets, batch.pictures(), strict=True))
        golden = _between(batch.dice[:, 0], *self.qindices)
        higher = (golden + (batch.dice[:, 1] * self.key_lead).long()).clamp_max(QINDEX_LEVELS - 1)
        lower = (golden - _between(batch.dice[:, 2], *self.token_lag)).clamp_min(0)
        qindices = Qindices(golden, _between(batch.dice[:, 3], *self.deeper), lower)
        rollout = Rollout(model)
        outcomes = {}
        outcomes["key"], anchor = rollout.key(frames[0], higher)
        if shape.lead:
            known = {0: anchor}
            (end, *_) = plan(Chunk(shape.lead, True))
            outcomes["anchor"] = rollout.run([end], known, qindices, frames)[shape.lead]
            anchor = rollout.advance(known[shape.lead])
        known = {0: anchor}
        later = {offset - shape.lead: frame for offset, frame in frames.items()}
        for position, outcome in rollout.run(shape.levels, known, qindices, later).items():
            outcomes[_name(shape, position)] = outcome
        return outcomes


def _name(shape: ChunkShape, position: int) -> str:
    """What a frame is called in logs: by kind and level."""
    (number,) = (i for i, level in enumerate(shape.levels) if any(step.position == position for step in level))
    kind = "golden" if shape.levels[number][0].latent else "token"
    return f"{kind}{number}" if len(shape.levels[number]) == 1 else f"{kind}{number}@{position}"


OBJECTIVES = {"latent": LatentObjective, "align": AlignObjective, "joint": JointObjective}


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
    """PSNR-Y of the frame and of its unmoved reference, dB, and bits as if it had 256x256 pixels."""
    pictures = {"psnr_y": outcome.picture}
    if outcome.reference is not None:
        pictures |= {"copy_psnr_y": outcome.reference}
    figures = {
        name: -decibels((picture.luma - outcome.target.luma).square().mean((1, 2, 3))).mean()
        for name, picture in pictures.items()
    }
    return figures | {"bits_256": outcome.bits.mean() * 65536 / outcome.target.luma[0].numel()}
