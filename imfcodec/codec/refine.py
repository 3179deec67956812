"""Tokens and latents refined by gradient descent through the decoder: what slow presets spend their time on.

The encoder's networks answer at once, for all videos alike. A few steps of Adam on their answer for one frame find
symbols that cost less by the model's own tables and show more; the stream stays what any decoder reads.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from imfcodec.codec.effort import Effort
from imfcodec.latents.estimate import SymbolEstimator
from imfcodec.models.alignment import Aligned, Reference
from imfcodec.models.coding import Condition, Role, SymbolCoder
from imfcodec.models.executor import Known, places
from imfcodec.models.latent_prior import LatentContext
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.structure import Step
from imfcodec.models.token_prior import TokenContext, cosine_transform, inverse_cosine_transform
from imfcodec.nn.blocks import space_to_depth
from imfcodec.nn.picture import CHROMA_GAIN, Picture, to_patches
from imfcodec.nn.quantize import bit_price, qindex_fraction
from imfcodec.zoo import LoadedModel

TOKEN_RATE, LATENT_RATE = 0.15, 0.02  # learning rates, quantisation steps
TOKEN_PRICE = 1.0  # of a bit in token frames, as a share of that in golden frames
SOFT_SHARE = 0.6  # of the descent, in which values are moved to their integers more and more

Trial = Callable[[list[Tensor]], tuple[Picture, Tensor]]
"""The decoded pictures and the bits [B] of some values."""


class Refiner:
    """The `models.executor.Search` of presets that refine.

    Args:
        golden: quantiser index of golden frames; it sets what a bit is worth in token frames too, which nothing else
            builds on.
    """

    def __init__(self, model: LoadedModel, effort: Effort, golden: int) -> None:
        self._network, self._effort = model.network, effort
        self._estimator = SymbolEstimator(model.tables, model.device)
        self._golden = torch.tensor([golden], device=model.device)

    def find_token(
        self,
        steps: Sequence[Step],
        known: Mapping[int, Known],
        context: TokenContext,
        references: list[Reference],
        target: Picture,
        token: Token,
    ) -> Token:
        """Refine the tokens of token frames; those of golden frames stay, as y mends what they miss."""
        if not self._effort.token_steps or steps[0].role is not Role.TOKEN:
            return token
        qindex, guess = context.condition.qindex, context.guess
        prior, fraction = self._network.token_prior, qindex_fraction(qindex)
        sizes = Token(prior.g_steps(fraction), prior.u_steps(fraction)[:, :, None, None])
        place = torch.tensor([step.place for step in steps], device=qindex.device)

        def assemble(values: list[Tensor]) -> Token:
            g, u = values
            return Token(guess.g + g * sizes.g, guess.u + inverse_cosine_transform(u * sizes.u))

        def trial(values: list[Tensor]) -> tuple[Picture, Tensor]:
            decoded, _ = self._network.code_token(self._estimator, context, assemble(values))
            aligned = self._network.predict(decoded, references, place)
            return self._network.decode_frame(aligned, qindex), self._estimator.take_bits()

        start = [(token.g - guess.g) / sizes.g, cosine_transform(token.u - guess.u) / sizes.u]
        price = TOKEN_PRICE * bit_price(self._golden)
        best = self._descend(start, trial, target, price, self._effort.token_steps, TOKEN_RATE)
        return assemble([values.round() for values in best])

    def code_latent(
        self,
        steps: Sequence[Step],
        coder: SymbolCoder,
        condition: Condition,
        aligned: Aligned,
        near: Tensor,
        target: Picture,
    ) -> tuple[Tensor, Tensor]:
        """Refine y and z of key and golden frames, and code them."""
        if not self._effort.latent_steps:
            return self._network.code_latent(coder, condition, aligned, near, target)
        prior, encoder = self._network.latent_prior, self._network.dense_feature_encoder
        sizes = prior.step_sizes(condition)
        context = LatentContext(space_to_depth(to_patches(aligned.picture)), aligned.features, near)

        def code(values: list[Tensor], coder: SymbolCoder) -> tuple[Tensor, Tensor]:
            y, z = values
            return prior.code(coder, condition, context, y * sizes[:, :, None, None], z)

        def trial(values: list[Tensor]) -> tuple[Picture, Tensor]:
            y, _ = code(values, self._estimator)
            return self._network.decode_reference(y, aligned, condition.qindex), self._estimator.take_bits()

        y = encoder(target, aligned.picture)
        start = [y / sizes[:, :, None, None], encoder.hyper_latent(y, sizes)]
        price = bit_price(condition.qindex)
        return code(self._descend(start, trial, target, price, self._effort.latent_steps, LATENT_RATE), coder)

    def _descend(
        self, start: list[Tensor], trial: Trial, target: Picture, price: Tensor, steps: int, rate: float
    ) -> list[Tensor]:
        """The cheapest values met on the way down from `start`, sample by sample."""
        values = [value.detach().clone().requires_grad_() for value in start]
        best = [value.detach().clone() for value in values]
        lowest = torch.full((len(start[0]),), torch.inf, device=price.device)
        optimizer = torch.optim.Adam(values, rate)
        for number in range(steps + 1):
            self._estimator.hardness = min(1.0, number / (SOFT_SHARE * steps)) if number else 1.0
            with torch.enable_grad():
                picture, bits = trial(values)
                cost = distortion(picture, target) + price * bits / target.luma[0].numel()
                loss = cost.log().sum()
            if self._estimator.hardness == 1:
                better = cost.detach() < lowest
                lowest = torch.where(better, cost.detach(), lowest)
                for kept, value in zip(best, values, strict=True):
                    kept[better] = value.detach()[better]
            if number < steps:
                optimizer.zero_grad()
                loss.backward()
                optimizer.param_groups[0]["lr"] = rate * (1 - number / steps)
                optimizer.step()
        return best


def distortion(picture: Picture, target: Picture) -> Tensor:
    """Squared error per luma pixel, [B], Y + (U + V) / 8 as the patches of `nn.picture` weigh them."""
    luma = (picture.luma - target.luma).square().mean((1, 2, 3))
    return luma + (picture.chroma - target.chroma).square().mean((1, 2, 3)) * CHROMA_GAIN**2 / 2
