"""Runs plans as the codec does, with rates estimated instead of coded, and tells what became of every frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from compressai.entropy_models import EntropyBottleneck
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.coding import Role
from imfcodec.models.executor import Executor, Known, Part, Qindices
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.models.structure import Level, Step
from imfcodec.nn.picture import Picture
from imfcodec.training.likelihoods import RateEstimator
from imfcodec.training.tables import SymbolCounts


class TrainedModel(nn.Module):
    """All that is trained: the codec's network, and the factorised prior of z that its tables are made of.

    Attributes:
        counts: counts all symbols that rollouts code, where given.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.network = ImfNetwork(config)
        self.bottleneck = EntropyBottleneck(config.hyper_channels)
        self.counts: SymbolCounts | None = None

    def estimator(self) -> RateEstimator:
        """A symbol coder that estimates rates."""
        return RateEstimator(self.bottleneck, self.counts)


@dataclass(frozen=True)
class Outcome:
    """One coded frame of each sample of a batch.

    Attributes:
        role: what the frame was coded as.
        target, picture: original and decoded.
        bits: float [B], estimated.
        qindex: int64 [B].
        reference: the first frame it was predicted from, None for key frames.
        symbols: of its token, None for key frames.
    """

    role: Role
    target: Picture
    picture: Picture
    bits: Tensor
    qindex: Tensor
    reference: Picture | None = None
    symbols: Token | None = None


class Rollout:
    """Codes frames with a model that is trained."""

    def __init__(self, model: TrainedModel) -> None:
        self._network = model.network
        self._executor = Executor(model.network, model.estimator(), self._count)
        self._bits: dict[int, Tensor] = {}

    def key(self, target: Picture, qindex: Tensor) -> tuple[Outcome, Known]:
        """Code key frames; what is known of them is the anchor of what follows."""
        known = self._executor.key(qindex, target, target)
        return Outcome(Role.KEY, target, _picture(known), self._bits.pop(0), qindex), known

    def given(self, picture: Picture, known: Known | None = None) -> Known:
        """A picture as it is, as the reference of a frame whose token is known, or as an anchor."""
        batch, _, height, width = picture.luma.shape
        zero = Token.zeros(batch, height, width, self._network.config, picture.luma)
        token, symbols = (zero, zero) if known is None else (known.token, known.symbols)
        return Known(token, symbols, self._network.reference(picture, token, self._network.no_symbols(picture)))

    def run(
        self, levels: Sequence[Level], known: dict[int, Known], qindices: Qindices, frames: Mapping[int, Picture]
    ) -> dict[int, Outcome]:
        """Code levels of a plan, whose anchor is in `known`; outcomes by position."""
        for level in levels:
            self._executor.run(level, known, qindices, frames)
        steps = [step for level in levels for step in level]
        pictures = {step.position: _picture(known[step.position]) for step in steps if step.latent}
        tokens = [step for step in steps if not step.latent]
        if tokens:
            rendered = self._executor.render(tokens, known, qindices)
            pictures |= {step.position: picture for step, picture in zip(tokens, rendered, strict=True)}
        return {step.position: self._outcome(step, known, qindices, frames, pictures) for step in steps}

    def advance(self, golden: Known) -> Known:
        """A golden frame as the anchor of what follows."""
        return self._executor.advance(golden)

    def _outcome(
        self,
        step: Step,
        known: Mapping[int, Known],
        qindices: Qindices,
        frames: Mapping[int, Picture],
        pictures: Mapping[int, Picture],
    ) -> Outcome:
        return Outcome(
            step.role,
            frames[step.position],
            pictures[step.position],
            self._bits.pop(step.position),
            qindices.of(step),
            _picture(known[step.references[0]]),
            known[step.position].symbols,
        )

    def _count(self, steps: Sequence[Step], part: Part, bits: Tensor) -> None:
        shares = bits.reshape(max(1, len(steps)), -1)
        for position, share in zip([step.position for step in steps] or [0], shares, strict=True):
            self._bits[position] = self._bits.get(position, torch.zeros_like(share)) + share


def _picture(known: Known) -> Picture:
    assert known.reference is not None, "key and golden frames are references"
    return known.reference.picture
