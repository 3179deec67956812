"""Tokens and latents refined by gradient descent through the decoder: what slow presets spend their time on.

The encoder's networks answer at once, for all videos alike. A few steps of Adam on their answer for one frame find
symbols that cost less by the model's own tables and show more; the stream stays what any decoder reads.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from imfcodec.codec.consistency import Movements, Similarities
from imfcodec.codec.effort import Effort
from imfcodec.codec.weighing import Sparing, Weights, weighed
from imfcodec.latents.estimate import SymbolEstimator
from imfcodec.models.alignment import Aligned, Reference
from imfcodec.models.coding import Condition, Role, SymbolCoder
from imfcodec.models.executor import Known
from imfcodec.models.latent_prior import LatentContext
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.structure import Step
from imfcodec.models.token_prior import TokenContext
from imfcodec.nn.blocks import space_to_depth
from imfcodec.nn.cosine import cosine_transform, inverse_cosine_transform
from imfcodec.nn.picture import CHROMA_GAIN, Picture, to_patches
from imfcodec.nn.quantize import bit_price, qindex_fraction
from imfcodec.zoo import LoadedModel

TOKEN_RATE, LATENT_RATE = 0.15, 0.02  # learning rates, quantisation steps
TOKEN_PRICE = 3.0  # of a bit in token frames, as a share of that in golden frames
SOFT_SHARE = 0.6  # of the descent, in which values are moved to their integers more and more
SMALLEST_COST = 1e-8  # squared error far below one 8-bit level

Trial = Callable[[list[Tensor]], tuple[Picture, Tensor]]
"""The decoded pictures and the bits [B] of some values."""
Term = Callable[[Picture], Tensor]
"""A cost of decoded pictures, [B]: squared error, or a term beside it and rate, as a share of these."""


class Refiner(Sparing):
    """The `models.executor.Search` of presets; those that do not refine only spare symbols, if frames have weights.

    Args:
        golden: quantiser index of golden frames; it sets what a bit is worth in token frames too, which nothing else
            builds on.
        spatial, temporal: weights of FRESCO's terms, see `codec.consistency`; the temporal one acts on token frames.
    """

    def __init__(
        self, model: LoadedModel, effort: Effort, golden: int, *, spatial: float = 0.0, temporal: float = 0.0
    ) -> None:
        super().__init__(model.network, model.tables, {})
        self._effort = effort
        self._estimator = SymbolEstimator(model.tables, model.device)
        self._token_price = TOKEN_PRICE * bit_price(torch.tensor([golden], device=model.device))
        self._spatial, self._temporal = spatial, temporal
        self._movements = Movements() if temporal else None
        self._originals: Mapping[int, Picture] = {}
        self._shown: dict[int, Picture] = {}

    def look_at(self, originals: Mapping[int, Picture], weights: Weights) -> None:
        """Get ready for a key frame, at 0, or a chunk.

        Args:
            originals: by position, that of the anchor at 0 included where it is at hand.
        """
        self._originals, self._shown, self.weights = originals, {}, weights

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
        term = self._term(target, steps, known)
        error = self._error(target, steps)
        best = self._descend(start, trial, error, self._token_price, term, self._effort.token_steps, TOKEN_RATE)
        best = [values.round() for values in best]
        if self._movements is not None:
            shown, _ = trial(best)
            for i, step in enumerate(steps):
                self._shown[step.position] = Picture(*(plane[i : i + 1] for plane in shown))
        return assemble(best)

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
            return super().code_latent(steps, coder, condition, aligned, near, target)
        prior, encoder = self._network.latent_prior, self._network.dense_feature_encoder
        sizes = prior.step_sizes(condition)
        context = LatentContext(space_to_depth(to_patches(aligned.picture)), aligned.features, near)

        def code(values: list[Tensor], coder: SymbolCoder) -> tuple[Tensor, Tensor]:
            y, z = values
            return prior.code(self._spare(coder, steps), condition, context, y * sizes[:, :, None, None], z)

        def trial(values: list[Tensor]) -> tuple[Picture, Tensor]:
            y, _ = code(values, self._estimator)
            return self._network.decode_reference(y, aligned, condition.qindex), self._estimator.take_bits()

        y = encoder(target, aligned.picture, qindex_fraction(condition.qindex))
        start = [y / sizes[:, :, None, None], encoder.hyper_latent(y, sizes)]
        price, term, error = bit_price(condition.qindex), self._term(target), self._error(target, steps)
        best = self._descend(start, trial, error, price, term, self._effort.latent_steps, LATENT_RATE)
        return code(best, coder)

    def _error(self, target: Picture, steps: Sequence[Step]) -> Term:
        weights = self._weights_of(steps)
        return lambda picture: squared_error(picture, target, weights)

    def _term(self, target: Picture, steps: Sequence[Step] = (), known: Mapping[int, Known] | None = None) -> Term:
        """FRESCO's terms, weighted; the temporal one for token frames alone."""
        terms: list[tuple[float, Term]] = []
        if self._spatial:
            terms.append((self._spatial, Similarities(self._network, target)))
        if self._movements is not None and known is not None:
            pictures = {position: frame.reference.picture for position, frame in known.items() if frame.reference}
            shown = {**self._shown, **pictures}
            terms.append((self._temporal, self._movements.neighbours(steps, self._originals, shown)))

        def total(picture: Picture) -> Tensor:
            return sum((weight * term(picture) for weight, term in terms), picture.luma.new_zeros(len(picture.luma)))

        return total

    def _descend(
        self,
        start: list[Tensor],
        trial: Trial,
        error: Term,
        price: Tensor,
        term: Term,
        steps: int,
        rate: float,
    ) -> list[Tensor]:
        """The cheapest values met on the way down from `start`, sample by sample; only what is rounded counts."""
        values = [value.detach().clone().requires_grad_() for value in start]
        best = [value.detach().clone() for value in values]
        lowest = torch.full((len(start[0]),), torch.inf, device=price.device)
        optimizer = torch.optim.Adam(values, rate)
        for number in range(steps + 1):
            self._estimator.hardness = min(1.0, number / (SOFT_SHARE * steps)) if number else 1.0
            with torch.enable_grad():
                picture, bits = trial(values)
                cost = error(picture) + price * bits / picture.luma[0].numel()
                loss = (cost + SMALLEST_COST).log() + term(picture)
                loss.sum().backward()
            if self._estimator.hardness == 1:
                better = loss.detach() < lowest
                lowest = torch.where(better, loss.detach(), lowest)
                for kept, value in zip(best, values, strict=True):
                    kept[better] = value.detach()[better]
            optimizer.param_groups[0]["lr"] = rate * (1 - number / (steps + 1))
            optimizer.step()
            optimizer.zero_grad()
        return best


def squared_error(picture: Picture, target: Picture, weights: Tensor | None = None) -> Tensor:
    """Per luma pixel, [B], Y + (U + V) / 8 as the patches of `nn.picture` weigh them, and as `weights` weigh places."""
    luma = weighed((picture.luma - target.luma).square(), weights).mean((1, 2, 3))
    return luma + weighed((picture.chroma - target.chroma).square(), weights).mean((1, 2, 3)) * CHROMA_GAIN**2 / 2
