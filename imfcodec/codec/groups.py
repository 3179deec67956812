"""A group of frames as both sides know it: its anchor, and the coding of everything relative to it.

One routine serves encoder and decoder: the coder writes or reads, and frames to encode are given or None.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from imfcodec.latents.symbols import SymbolReader, SymbolWriter
from imfcodec.models.alignment import Aligned, Reference
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.models.prior import Condition, Role, TokenContext
from imfcodec.models.structure import LOW_DELAY_LEVEL, TokenPlace, dyadic_levels, interval_level
from imfcodec.nn.picture import Picture

Coder = SymbolWriter | SymbolReader
BATCH_PIXELS = 8 * 256 * 256  # luma pixels put through the network at a time


@dataclass(frozen=True)
class Golden:
    """A golden frame that was coded, not yet an anchor: its reference and the symbols of its token."""

    reference: Reference
    symbols: Token


@dataclass
class Group:
    """What is known after the latest reference frame was coded.

    Attributes:
        network: of the model.
        anchor: the latest reference frame; tokens are relative to it.
        zero: its token.
        golden_symbols: symbols of the anchor's golden token (zeros of a key frame), context of the next.
        last: token and symbols of the latest low-delay frame since the anchor, zeros before there is one.
        distance: low-delay frames since the anchor.
    """

    network: ImfNetwork
    anchor: Reference
    zero: Token
    golden_symbols: Token
    last: tuple[Token, Token]
    distance: int = 0

    @classmethod
    def open(cls, network: ImfNetwork, coder: Coder, quality: int, frame: Picture | None, like: Picture) -> "Group":
        """Code a key frame; `like` is any picture of its shape."""
        index = _constant(quality, 1, like)
        y = network.code_latent(coder, Condition(_constant(Role.KEY, 1, like), index), None, frame, like)
        picture = network.decode_frame(y, None, index)
        height, width = like.luma.shape[-2:]
        zero = Token.zeros(1, height, width, network.config, like.luma)
        return cls(network, network.reference(picture, zero), zero, zero, (zero, zero))

    def golden(self, coder: Coder, quality: int, span: int, frame: Picture | None) -> Golden:
        """Code the golden frame `span` frames after the anchor. Nothing of the group changes before `advance`."""
        context = self._context(self.zero, (self.golden_symbols, self.zero), [0], span, Role.GOLDEN, quality)
        token, symbols = self._code_token(coder, context, [self.anchor], [0.0], frame)
        aligned = self.network.predict(token, [self.anchor], self._places([0.0]))
        y = self._code_latent(coder, Role.GOLDEN, quality, aligned, frame)
        picture = self.network.decode_frame(y, aligned, self._index(quality, 1))
        return Golden(self.network.reference(picture, token), symbols)

    def advance(self, golden: Golden) -> None:
        """Make the golden frame the new anchor."""
        self.anchor = self.network.reference(golden.reference.picture, self.zero)
        self.golden_symbols = golden.symbols
        self.last, self.distance = (self.zero, self.zero), 0

    def tokens_between(
        self, coder: Coder, quality: int, golden: Golden, span: int, frames: list[Picture] | None
    ) -> list[Token]:
        """Code the tokens of the `span` - 1 frames between anchor and golden frame; in display order."""
        known = self._ends(golden, span)
        for level in dyadic_levels(span):
            batch = None if frames is None else _stack([frames[t.position - 1] for t in level])
            self._code_level(coder, quality, golden, span, level, known, batch)
        return [known[i][0] for i in range(1, span)]

    def middle(self, coder: Coder, quality: int, golden: Golden, span: int, frame: Picture | None) -> Picture:
        """Code the token half-way between anchor and golden frame, the first of the chunk, and render it alone."""
        known = self._ends(golden, span)
        level = dyadic_levels(span)[0]
        self._code_level(coder, quality, golden, span, level, known, frame)
        aligned = self.network.predict(
            known[level[0].position][0], self._references(golden), self._places([level[0].fraction])
        )
        return self.network.decode_frame(None, aligned, self._index(quality, 1))

    def _ends(self, golden: Golden, span: int) -> dict[int, tuple[Token, Token]]:
        """Tokens and symbols by position, of anchor and golden frame."""
        return {0: (self.zero, self.zero), span: (golden.reference.token, golden.symbols)}

    def _code_level(
        self,
        coder: Coder,
        quality: int,
        golden: Golden,
        span: int,
        level: list[TokenPlace],
        known: dict[int, tuple[Token, Token]],
        frames: Picture | None,
    ) -> None:
        """Code the tokens of one dyadic level and add them to `known`."""
        sides = [(known[t.left], known[t.right]) for t in level]
        guess = _cat([_interpolate(a[0], b[0], t.fraction) for (a, b), t in zip(sides, level, strict=True)])
        near = (_cat([a[1] for a, _ in sides]), _cat([b[1] for _, b in sides]))
        levels = [interval_level(t.right - t.left) for t in level]
        context = self._context(guess, near, levels, span, Role.TOKEN, quality)
        places = [t.position / span for t in level]
        tokens, symbols = self._code_token(coder, context, self._references(golden), places, frames)
        for i, place in enumerate(level):
            known[place.position] = (_pick(tokens, i), _pick(symbols, i))

    def token_after(self, coder: Coder, quality: int, frame: Picture | None) -> Token:
        """Code the token of the next low-delay frame."""
        self.distance += 1
        guess, near = self.last
        context = self._context(guess, (near, self.zero), [LOW_DELAY_LEVEL], self.distance, Role.TOKEN, quality)
        self.last = self._code_token(coder, context, [self.anchor], [0.0], frame)
        return self.last[0]

    @staticmethod
    def places(count: int, golden: Golden | None) -> list[float]:
        """Where `count` token frames in a row lie between the anchor and the golden frame, 0 where there is none."""
        return [0.0 if golden is None else (i + 1) / (count + 1) for i in range(count)]

    def render(self, tokens: list[Token], golden: Golden | None, quality: int) -> Iterator[Picture]:
        """Token frames from their tokens alone, in display order, as many at a time as fit."""
        references = self._references(golden)
        places = self.places(len(tokens), golden)
        size = max(1, BATCH_PIXELS // self.anchor.picture.luma[0].numel())
        for start in range(0, len(tokens), size):
            chosen = slice(start, start + size)
            expanded = [_expand(r, len(tokens[chosen])) for r in references]
            aligned = self.network.predict(_cat(tokens[chosen]), expanded, self._places(places[chosen]))
            yield self.network.decode_frame(None, aligned, self._index(quality, len(tokens[chosen])))

    def refined(
        self, coder: Coder, quality: int, token: Token, golden: Golden | None, place: float, frame: Picture | None
    ) -> Picture:
        """Code y of one token frame and decode the frame."""
        aligned = self.network.predict(token, self._references(golden), self._places([place]))
        y = self._code_latent(coder, Role.TOKEN, quality, aligned, frame)
        return self.network.decode_frame(y, aligned, self._index(quality, 1))

    def _references(self, golden: Golden | None) -> list[Reference]:
        return [self.anchor] if golden is None else [self.anchor, golden.reference]

    def _code_token(
        self,
        coder: Coder,
        context: TokenContext,
        references: list[Reference],
        places: list[float],
        frames: Picture | None,
    ) -> tuple[Token, Token]:
        token = None
        if frames is not None:
            size = max(1, BATCH_PIXELS // frames.luma[0].numel())
            parts = []
            for start in range(0, len(places), size):
                chosen = slice(start, start + size)
                luma = frames.luma[chosen]
                guess = Token(context.guess.g[chosen], context.guess.u[chosen])
                expanded = [_expand(r, len(luma)) for r in references]
                parts.append(
                    self.network.encode_token(
                        luma, expanded, guess, self._places(places[chosen]), context.condition.quality[chosen]
                    )
                )
            token = _cat(parts)
        return self.network.code_token(coder, context, token)

    def _code_latent(self, coder: Coder, role: Role, quality: int, aligned: Aligned, frame: Picture | None) -> Tensor:
        like = self.anchor.picture
        condition = Condition(_constant(role, 1, like), _constant(quality, 1, like))
        return self.network.code_latent(coder, condition, aligned, frame, like)

    def _context(
        self, guess: Token, near: tuple[Token, Token], levels: list[int], span: int, role: Role, quality: int
    ) -> TokenContext:
        like, count = self.anchor.picture, len(levels)
        condition = Condition(_constant(role, count, like), _constant(quality, count, like))
        level = torch.tensor(levels, device=like.luma.device)
        return TokenContext(guess, near, level, _constant(span, count, like), condition)

    def _places(self, places: list[float]) -> Tensor:
        return torch.tensor(places, device=self.anchor.picture.luma.device)

    def _index(self, quality: int, count: int) -> Tensor:
        return _constant(quality, count, self.anchor.picture)


def _constant(value: int, count: int, like: Picture) -> Tensor:
    return torch.full((count,), int(value), dtype=torch.int64, device=like.luma.device)


def _interpolate(a: Token, b: Token, fraction: float) -> Token:
    return Token(torch.lerp(a.g, b.g, fraction), torch.lerp(a.u, b.u, fraction))


def _pick(token: Token, i: int) -> Token:
    return Token(token.g[i : i + 1], token.u[i : i + 1])


def _cat(tokens: list[Token]) -> Token:
    return Token(torch.cat([t.g for t in tokens]), torch.cat([t.u for t in tokens]))


def _stack(pictures: list[Picture]) -> Picture:
    return Picture(torch.cat([p.luma for p in pictures]), torch.cat([p.chroma for p in pictures]))


def _expand(reference: Reference, count: int) -> Reference:
    def grow(x: Tensor) -> Tensor:
        return x.expand(count, *x.shape[1:])

    return Reference(
        Picture(*map(grow, reference.picture)),
        Token(*map(grow, reference.token)),
        (grow(reference.features[0]), grow(reference.features[1])),
        (grow(reference.motion[0]), grow(reference.motion[1])),
        grow(reference.field),
    )
