"""Runs a group of frames through the network as the codec would, with rates estimated instead of coded."""

from dataclasses import dataclass

import torch
from torch import Tensor

from imfcodec.models.alignment import Aligned, Reference
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.models.prior import Condition, Role, TokenContext
from imfcodec.models.rate import RateEstimator
from imfcodec.nn.picture import Picture


@dataclass(frozen=True)
class Outcome:
    """One coded frame of each sample of a batch.

    Attributes:
        role: what the frame was coded as.
        target, picture: original and decoded.
        bits: float [B], estimated.
        quality: int64 [B].
        aligned: the prediction, None for key frames.
        reference: the nearest frame it was predicted from, None for key frames.
        token, symbols: decoded token and its symbols (zeros for key frames).
    """

    role: Role
    target: Picture
    picture: Picture
    bits: Tensor
    quality: Tensor
    aligned: Aligned | None
    reference: Reference | None
    token: Token
    symbols: Token


class Rollout:
    """Codes frames one after the other; the caller decides which decoded frame predicts which.

    Args:
        parts: of the token that are sent, "g" and "u"; what is not sent stays as guessed.
    """

    def __init__(self, network: ImfNetwork, parts: tuple[str, ...] = ("g", "u")) -> None:
        self.network, self.parts = network, parts

    def zero(self, like: Picture) -> Token:
        """The token of an anchor of the size of `like`."""
        batch, _, height, width = like.luma.shape
        return Token.zeros(batch, height, width, self.network.config, like.luma)

    def key(self, target: Picture, quality: Tensor) -> Outcome:
        """Code key frames."""
        coder = self._coder(target)
        condition = self._condition(Role.KEY, quality)
        y = self.network.code_latent(coder, condition, None, target, target)
        picture = self.network.decode_frame(y, None, quality)
        token = self.zero(target)
        return Outcome(Role.KEY, target, picture, coder.bits, quality, None, None, token, token)

    def golden(
        self, target: Picture, anchor: Reference, quality: Tensor, span: Tensor, near: Token, refine: bool = True
    ) -> Outcome:
        """Code golden frames from one anchor. `near` holds the symbols of the golden token before."""
        zero = self.zero(target)
        return self._predicted(
            target, [anchor], zero, (near, zero), torch.zeros_like(quality), Role.GOLDEN, quality, span, refine
        )

    def between(
        self,
        target: Picture,
        references: list[Reference],
        guess: Token,
        near: tuple[Token, Token],
        level: Tensor,
        quality: Tensor,
        span: Tensor,
        place: Tensor,
        refine: bool,
    ) -> Outcome:
        """Code token frames from one or two references."""
        return self._predicted(target, references, guess, near, level, Role.TOKEN, quality, span, refine, place)

    def _predicted(
        self,
        target: Picture,
        references: list[Reference],
        guess: Token,
        near: tuple[Token, Token],
        level: Tensor,
        role: Role,
        quality: Tensor,
        span: Tensor,
        refine: bool,
        place: Tensor | None = None,
    ) -> Outcome:
        network, coder = self.network, self._coder(target)
        place = torch.zeros(len(quality), device=quality.device) if place is None else place
        condition = self._condition(role, quality)
        token = network.encode_token(target.luma, references, guess, place, quality)
        token = Token(token.g if "g" in self.parts else guess.g, token.u if "u" in self.parts else guess.u)
        decoded, symbols = network.code_token(coder, TokenContext(guess, near, level, span, condition), token)
        aligned = network.predict(decoded, references, place)
        y = network.code_latent(coder, condition, aligned, target, target) if refine else None
        picture = network.decode_frame(y, aligned, quality)
        return Outcome(role, target, picture, coder.bits, quality, aligned, references[0], decoded, symbols)

    def _coder(self, target: Picture) -> RateEstimator:
        return RateEstimator(target.luma.shape[0], target.luma.device)

    def _condition(self, role: Role, quality: Tensor) -> Condition:
        return Condition(torch.full_like(quality, int(role)), quality)
