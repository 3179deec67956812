"""Rate estimation: the symbol coder of training."""

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from torch import Tensor

from imfcodec.models.prior import SCALE_MAX, SCALE_MIN, SCALE_RATIO


class RateEstimator:
    """A `SymbolCoder` that counts the bits its symbols would take, differentiably.

    Rates come from CompressAI's likelihoods with additive uniform noise; decoded values are rounded with a
    straight-through gradient.
    """

    def __init__(self, batch: int, device: torch.device | str = "cpu") -> None:
        self.bits = torch.zeros(batch, device=device)
        self._gaussian = GaussianConditional(None, scale_bound=SCALE_MIN / 2).to(device)

    def gaussian(self, values: Tensor | None, index: Tensor) -> Tensor:
        assert values is not None
        scales = torch.exp(index * SCALE_RATIO) * SCALE_MIN
        bounded = values.clamp(-8 * SCALE_MAX, 8 * SCALE_MAX)
        _, likelihood = self._gaussian(bounded, scales, training=True)
        self.bits = self.bits - likelihood.log2().flatten(1).sum(1)
        return values + (values.round() - values).detach()

    def hyper(self, bottleneck: EntropyBottleneck, values: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        assert values is not None
        _, likelihood = bottleneck(values.float(), training=True)
        self.bits = self.bits - likelihood.log2().flatten(1).sum(1)
        centred = values - bottleneck.quantiles[:, 0, 1][:, None, None].detach()
        return centred + (centred.round() - centred).detach()
