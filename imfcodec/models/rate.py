"""Rate estimation: the symbol coder of training."""

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from torch import Tensor

from imfcodec.models.prior import SCALE_MAX, SCALE_MIN, SCALE_RATIO
from imfcodec.nn.quantize import round_through


class RoundedGaussian(GaussianConditional):
    """CompressAI's Gaussian, but rounding in training too, with a straight-through gradient.

    At a few kilobits nearly all symbols are zero. With additive noise each of them would seem to cost 0.16 bits even
    at the smallest scale; in truth it costs nothing.
    """

    def quantize(self, inputs: Tensor, mode: str, means: Tensor | None = None) -> Tensor:
        return round_through(inputs)


class RateEstimator:
    """A `SymbolCoder` that counts the bits its symbols would take, differentiably, by CompressAI's likelihoods.

    Args:
        batch: samples; `bits` [B] counts those of each.
        rounded: count z as it is coded; otherwise with noise in place of rounding, as training needs it.
    """

    def __init__(self, batch: int, device: torch.device | str = "cpu", *, rounded: bool = False) -> None:
        self.bits = torch.zeros(batch, device=device)
        self._gaussian = RoundedGaussian(None, scale_bound=SCALE_MIN / 2).to(device)
        self._rounded = rounded

    def gaussian(self, values: Tensor | None, index: Tensor) -> Tensor:
        assert values is not None
        scales = torch.exp(index * SCALE_RATIO) * SCALE_MIN
        bounded = values.clamp(-8 * SCALE_MAX, 8 * SCALE_MAX)
        _, likelihood = self._gaussian(bounded, scales)
        self.bits = self.bits - likelihood.log2().flatten(1).sum(1)
        return round_through(values)

    def hyper(self, bottleneck: EntropyBottleneck, values: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        assert values is not None
        _, likelihood = bottleneck(values.float(), training=not self._rounded)
        self.bits = self.bits - likelihood.log2().flatten(1).sum(1)
        centred = values - bottleneck.quantiles[:, 0, 1][:, None, None].detach()
        return round_through(centred)
