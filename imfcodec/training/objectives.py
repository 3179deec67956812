"""What each stage of training minimises."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imfcodec.models.alignment import Reference
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.models.prior import Role
from imfcodec.models.structure import LOW_DELAY_LEVEL, TokenPlace, interval_level
from imfcodec.nn.picture import CHROMA_GAIN, Picture
from imfcodec.nn.quantize import QUALITY_LEVELS
from imfcodec.training.dataset import GroupSampler, as_pictures
from imfcodec.training.rollout import Outcome, Rollout

# Nominal quantisation step at quality 0 and 1; it sets the price of a bit (below).
COARSEST, FINEST = 2.0, 0.02


def nominal_step(quality: Tensor) -> Tensor:
    """Nominal step by quantiser index 0..255."""
    return COARSEST * (FINEST / COARSEST) ** (quality.float() / (QUALITY_LEVELS - 1))


def squared_error(picture: Picture, target: Picture) -> Tensor:
    """Mean squared error per luma pixel, Y + (U + V) / 8, [B]."""
    luma = (picture.luma - target.luma).square().mean((1, 2, 3))
    chroma = (picture.chroma - target.chroma).square().mean((1, 2, 3))
    return luma + chroma * CHROMA_GAIN**2 / 2


def decibels(error: Tensor) -> Tensor:
    """10 log10 of squared errors, floored far below one 8-bit level."""
    return 10 * torch.log10(error + 1e-6)


def rate_distortion(outcome: Outcome, rate_weight: float) -> Tensor:
    """Bits per pixel plus distortion in the bits it is worth, [B].

    At high rates a quantiser of step s has dD/dR = -2 ln 2 s^2 / 12 per bit; that ties the price to the quality.
    """
    pixels = outcome.target.luma[0].numel()
    price = np.log(2) / 6 * nominal_step(outcome.quality).square()
    return rate_weight * outcome.bits / pixels + squared_error(outcome.picture, outcome.target) / price


@dataclass(frozen=True)
class Parts:
    """A loss to minimise and figures to log."""

    loss: Tensor
    figures: dict[str, float]


class KeyObjective:
    """Stage 1: key frames alone."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def __call__(self, network: ImfNetwork, samplers: list[GroupSampler], rate_weight: float) -> Parts:
        pictures = _draw(samplers, self.batch, [], _device(network))[0]
        quality = torch.randint(40, 230, (self.batch,), device=pictures.luma.device)
        outcome = Rollout(network).key(pictures, quality)
        return Parts(rate_distortion(outcome, rate_weight).mean(), _figures("key", outcome))


class JointObjective:
    """Stage 2: a key frame, two golden frames and token frames, each from decoded references."""

    SPANS = (8, 8, 16, 16, 16, 24, 32)
    DEPTH = 3  # token frames, each level of the dyadic order one
    TOKEN_WEIGHT = 2.0  # there are many more token frames than golden ones

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def __call__(self, network: ImfNetwork, samplers: list[GroupSampler], rate_weight: float) -> Parts:
        device, generator = _device(network), samplers[0].generator
        span = int(generator.choice(self.SPANS))
        low_delay = bool(generator.random() < 0.2)
        depth = self.DEPTH if generator.random() < 0.4 else 0  # y learns more slowly than tokens do
        places = _delay_places(generator) if low_delay else _dyadic_places(generator, span, depth)
        gaps = [span, *(span + place.position for place in places), 2 * span]
        frames = _draw(samplers, self.batch, gaps, device)
        quality = torch.randint(60, 205, (self.batch,), device=device)
        lower = (quality - torch.randint(15, 90, (self.batch,), device=device)).clamp_min(0)
        rollout, spans = Rollout(network), torch.full((self.batch,), span, device=device)
        key = rollout.key(frames[0], quality)
        zero = key.token
        ahead = rollout.golden(frames[1], network.reference(key.picture, zero), quality, spans, zero)
        anchor = network.reference(ahead.picture, zero)
        outcomes = {"key": key, "ahead": ahead}
        known = {0: (zero, zero)}
        references, refine = [anchor], bool(generator.random() < 0.3)
        if not low_delay:
            last = rollout.golden(frames[-1], anchor, quality, spans, ahead.symbols)
            outcomes["last"] = last
            references.append(network.reference(last.picture, last.token))
            known[span] = (last.token, last.symbols)
        for i, place in enumerate(places):
            outcome = self._token(rollout, frames[2 + i], references, known, place, span, lower, refine)
            known[place.position] = (outcome.token, outcome.symbols)
            outcomes[f"token{i}"] = outcome
        return self._sum(outcomes, rate_weight)

    def _token(
        self,
        rollout: Rollout,
        target: Picture,
        references: list[Reference],
        known: dict[int, tuple[Token, Token]],
        place: TokenPlace,
        span: int,
        quality: Tensor,
        refine: bool,
    ) -> Outcome:
        (left, left_symbols), zero = known[place.left], known[0][0]
        if len(references) == 1:
            guess, near, level, span, share = left, (left_symbols, zero), LOW_DELAY_LEVEL, place.position, 0.0
        else:
            right, right_symbols = known[place.right]
            fraction = place.fraction
            guess = Token(torch.lerp(left.g, right.g, fraction), torch.lerp(left.u, right.u, fraction))
            near, level, share = (
                (left_symbols, right_symbols),
                interval_level(place.right - place.left),
                place.position / span,
            )
        return rollout.between(
            target,
            references,
            guess,
            near,
            torch.full_like(quality, level),
            quality,
            torch.full_like(quality, span),
            torch.full((self.batch,), share, device=quality.device),
            refine,
        )

    def _sum(self, outcomes: dict[str, Outcome], rate_weight: float) -> Parts:
        loss = torch.zeros(())
        figures: dict[str, float] = {}
        for name, outcome in outcomes.items():
            weight = self.TOKEN_WEIGHT if outcome.role is Role.TOKEN else 1.0
            loss = loss + weight * rate_distortion(outcome, rate_weight).mean().to(loss.device)
            figures |= _figures(name, outcome)
        return Parts(loss, figures)


def _dyadic_places(generator: np.random.Generator, span: int, depth: int) -> list[TokenPlace]:
    """One place a level, each beside the one before, at random on either side."""
    places: list[TokenPlace] = []
    left, right = 0, span
    while len(places) < depth and right - left > 1:
        middle = (left + right) // 2
        places.append(TokenPlace(middle, left, right))
        left, right = (left, middle) if generator.random() < 0.5 else (middle, right)
    return places


def _delay_places(generator: np.random.Generator) -> list[TokenPlace]:
    """A low-delay frame soon after the anchor and the next one."""
    first = int(generator.integers(1, 4))
    return [TokenPlace(first, 0, 0), TokenPlace(first + 1, first, first)]


def _device(network: ImfNetwork) -> torch.device:
    return next(network.parameters()).device


def _draw(samplers: list[GroupSampler], batch: int, gaps: list[int], device: torch.device) -> list[Picture]:
    chosen = [samplers[i % len(samplers)] for i in range(batch)]
    groups = np.stack([sampler.draw(gaps) for sampler in chosen])
    size = samplers[0].size
    return [as_pictures(groups[:, i], size, size, device) for i in range(groups.shape[1])]


def _figures(name: str, outcome: Outcome) -> dict[str, float]:
    error = (outcome.picture.luma - outcome.target.luma).square().mean((1, 2, 3))
    pixels = outcome.target.luma[0].numel()
    figures = {
        f"{name}_psnr_y": float(-decibels(error).mean()),
        f"{name}_bits_256": float(outcome.bits.mean()) * 65536 / pixels,
    }
    if outcome.aligned is not None:
        moved = (outcome.aligned.picture.luma - outcome.target.luma).square().mean((1, 2, 3))
        figures[f"{name}_moved_psnr_y"] = float(-decibels(moved).mean())
    return figures
