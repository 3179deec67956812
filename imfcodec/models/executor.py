"""Runs plans: the one routine by which encoder, decoder and training code frames.

The coder decides what it does: write symbols, read them, or estimate their rate. Frames to encode are given, or None.
Everything is batched: a level's steps one after the other, each with the B samples it is run for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import torch
from torch import Tensor

from imfcodec.models.alignment import Aligned, Reference
from imfcodec.models.coding import Condition, Role, SymbolCoder
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.models.structure import GROUP_PIXELS, MOTION_CHANNELS, Level, Step
from imfcodec.models.token_prior import TokenContext
from imfcodec.nn.picture import Picture
from imfcodec.nn.quantize import QINDEX_LEVELS


@dataclass(frozen=True)
class Qindices:
    """Quantiser indices of a chunk, each int64 [B] in 0..255.

    Attributes:
        golden: of the golden frame at its end.
        deeper: what is taken off for every halving.
        token: of token frames.
    """

    golden: Tensor
    deeper: Tensor
    token: Tensor

    def of(self, step: Step) -> Tensor:
        """The index of a step, [B]."""
        return (
            (self.golden - step.depth * self.deeper).clamp(0, QINDEX_LEVELS - 1)
            if step.role is Role.GOLDEN
            else self.token
        )


@dataclass(frozen=True)
class Known:
    """What both sides know of a coded frame.

    Attributes:
        token: decoded, zeros for an anchor.
        symbols: of its token, the context of later ones.
        reference: of a key or golden frame.
    """

    token: Token
    symbols: Token
    reference: Reference | None = None


class Part(Enum):
    """What bits are spent on."""

    TOKEN = "token"
    LATENT = "latent"


Observer = Callable[[Sequence[Step], Part, Any], None]
"""Is told the bits of some steps as soon as they are coded; an empty sequence stands for a key frame. What bits are
depends on the coder: a number, or a tensor with one for each step and sample."""


class Search(Protocol):
    """Looks for tokens and latents that serve a frame better than those of the encoder's networks; batches of one."""

    def find_token(
        self,
        steps: Sequence[Step],
        known: Mapping[int, Known],
        context: TokenContext,
        references: list[Reference],
        target: Picture,
        token: Token,
    ) -> Token:
        """A token for each of some steps, which E_T gave `token`."""
        ...

    def code_latent(
        self,
        steps: Sequence[Step],
        coder: SymbolCoder,
        condition: Condition,
        aligned: Aligned,
        near: Tensor,
        target: Picture,
    ) -> tuple[Tensor, Tensor]:
        """Does what `ImfNetwork.code_latent` does, for some steps; none stand for a key frame."""
        ...


class Executor:
    """Codes frames with a network.

    Args:
        coder: writes, reads or estimates.
        observe: is told what the bits are spent on.
        search: improves what the networks find, where frames are given.
    """

    def __init__(
        self,
        network: ImfNetwork,
        coder: SymbolCoder,
        observe: Observer | None = None,
        search: Search | None = None,
    ) -> None:
        self.network, self.coder = network, coder
        self._observe, self._search = observe, search

    def key(self, qindex: Tensor, like: Picture, frame: Picture | None) -> Known:
        """Code key frames, the anchors of what follows.

        Args:
            qindex: int64 [B].
            like: any picture of their shape.
        """
        batch, _, height, width = like.luma.shape
        zero = Token.zeros(batch, height, width, self.network.config, like.luma)
        condition = Condition(torch.full_like(qindex, int(Role.KEY)), qindex)
        nothing = Aligned.nothing(like, self.network.config)
        none = self.network.no_symbols(like)
        picture, _ = self._latent((), condition, nothing, none, frame)
        return Known(zero, zero, self.network.reference(picture, zero, none))

    def run(
        self, level: Level, known: dict[int, Known], qindices: Qindices, frames: Mapping[int, Picture] | None
    ) -> None:
        """Code one level and add it to `known`, which holds the anchor at 0 and all earlier levels."""
        qindex = torch.cat([qindices.of(step) for step in level])
        role = torch.full_like(qindex, int(level[0].role))
        references = gather_references(level, known)
        targets = None if frames is None else _cat_pictures([frames[step.position] for step in level])
        context = self._context(level, known, Condition(role, qindex))
        token = None if targets is None else self._encode_tokens(level, known, targets, references, context)
        decoded, symbols = self.network.code_token(self.coder, context, token)
        self._tell(level, Part.TOKEN)
        batch = len(qindex) // len(level)
        for i, step in enumerate(level):
            part = slice(i * batch, (i + 1) * batch)
            known[step.position] = Known(_pick(decoded, part), _pick(symbols, part))
        if level[0].latent:
            for steps in self._groups(level, references[0].picture):
                self._refine(steps, known, qindices, frames)

    def render(self, steps: Sequence[Step], known: Mapping[int, Known], qindices: Qindices) -> Iterator[Picture]:
        """Token frames that were coded, one picture [B] each, in the order given; all have as many references."""
        for group in self._groups(steps, _reference(known, steps[0].references[0]).picture):
            tokens = _cat_tokens([known[step.position].token for step in group])
            aligned = self.network.predict(tokens, gather_references(group, known), places(group, known))
            picture = self.network.decode_frame(aligned, torch.cat([qindices.of(step) for step in group]))
            batch = picture.luma.shape[0] // len(group)
            for i in range(len(group)):
                yield Picture(*(plane[i * batch : (i + 1) * batch] for plane in picture))

    def advance(self, known: Known) -> Known:
        """A golden frame as the anchor of what follows.

        Its symbols count as zeros from here on, so that no chunk needs another one to read its symbols.
        """
        assert known.reference is not None, "only golden frames become anchors"
        zero = Token(torch.zeros_like(known.token.g), torch.zeros_like(known.token.u))
        old, none = known.reference, torch.zeros_like(known.reference.latent)
        return Known(zero, zero, self.network.alignment.reference(old.picture, zero, old.features, none))

    def _refine(
        self,
        steps: Sequence[Step],
        known: dict[int, Known],
        qindices: Qindices,
        frames: Mapping[int, Picture] | None,
    ) -> None:
        """Code y of golden frames whose tokens are known."""
        tokens = _cat_tokens([known[step.position].token for step in steps])
        references = gather_references(steps, known)
        qindex = torch.cat([qindices.of(step) for step in steps])
        condition = Condition(torch.full_like(qindex, int(Role.GOLDEN)), qindex)
        near = torch.stack([reference.latent for reference in references]).mean(0)
        aligned = self.network.predict(tokens, references, places(steps, known))
        targets = None if frames is None else _cat_pictures([frames[step.position] for step in steps])
        picture, latent = self._latent(steps, condition, aligned, near, targets)
        reference = self.network.reference(picture, tokens, latent)
        batch = len(qindex) // len(steps)
        for i, step in enumerate(steps):
            part = _pick_reference(reference, slice(i * batch, (i + 1) * batch))
            known[step.position] = Known(known[step.position].token, known[step.position].symbols, part)

    def _latent(
        self, steps: Sequence[Step], condition: Condition, aligned: Aligned, near: Tensor, frame: Picture | None
    ) -> tuple[Picture, Tensor]:
        """Code y and decode the frame: picture, magnitudes of symbols."""
        if frame is None or self._search is None:
            y, symbols = self.network.code_latent(self.coder, condition, aligned, near, frame)
        else:
            y, symbols = self._search.code_latent(steps, self.coder, condition, aligned, near, frame)
        self._tell(steps, Part.LATENT)
        return self.network.decode_reference(y, aligned, condition.qindex), symbols

    def _context(self, level: Level, known: Mapping[int, Known], condition: Condition) -> TokenContext:
        sides = [[known[position] for position in step.neighbours] for step in level]
        guess = _cat_tokens([_between(side, step.fraction) for side, step in zip(sides, level, strict=True)])
        first = _cat_tokens([side[0].symbols for side in sides])
        second = (
            _cat_tokens([side[1].symbols for side in sides])
            if len(sides[0]) == 2
            else Token(*map(torch.zeros_like, first))
        )
        batch = len(condition.qindex) // len(level)

        def spread(values: list[int]) -> Tensor:
            return torch.tensor(values, device=condition.qindex.device).repeat_interleave(batch)

        levels, spans = spread([step.level for step in level]), spread([step.span for step in level])
        return TokenContext(guess, (first, second), levels, spans, condition)

    def _encode_tokens(
        self,
        level: Level,
        known: Mapping[int, Known],
        targets: Picture,
        references: list[Reference],
        context: TokenContext,
    ) -> Token:
        """E_T, and the search if there is one, so many samples at a time as fit."""
        count = max(1, GROUP_PIXELS // targets.luma[0].numel())
        place = _spread([step.place for step in level], targets.luma)
        tokens = []
        for start in range(0, len(place), count):
            part = slice(start, start + count)
            sides = [_pick_reference(reference, part) for reference in references]
            here = _pick_context(context, part)
            token = self.network.encode_token(targets.luma[part], sides, here.guess, place[part], here.condition.qindex)
            if self._search is not None:
                target = Picture(*(plane[part] for plane in targets))
                token = self._search.find_token(level[part], known, here, sides, target, token)
            tokens.append(token)
        return _cat_tokens(tokens)

    @staticmethod
    def _groups(steps: Sequence[Step], picture: Picture) -> Iterator[Sequence[Step]]:
        size = max(1, GROUP_PIXELS // picture.luma[0].numel())
        for start in range(0, len(steps), size):
            yield steps[start : start + size]

    def _tell(self, steps: Sequence[Step], part: Part) -> None:
        bits = self.coder.take_bits()
        if self._observe is not None:
            self._observe(steps, part, bits)


def gather_references(steps: Sequence[Step], known: Mapping[int, Known]) -> list[Reference]:
    """The references of steps that have as many each, as batches: first ones, second ones."""
    return [
        _cat_references([_reference(known, step.references[side]) for step in steps])
        for side in range(len(steps[0].references))
    ]


def places(steps: Sequence[Step], known: Mapping[int, Known]) -> Tensor:
    """Where the frames lie between their references, float32 [steps * B]."""
    return _spread([step.place for step in steps], _cat_tokens([known[s.position].token for s in steps]).u)


def _spread(values: list[float], like: Tensor) -> Tensor:
    """A value for each step, repeated for its samples, on the device of `like` [steps * B, ...]."""
    return torch.tensor(values, device=like.device).repeat_interleave(len(like) // len(values))


def _reference(known: Mapping[int, Known], position: int) -> Reference:
    reference = known[position].reference
    assert reference is not None, "plans name golden frames and anchors as references"
    return reference


def _between(sides: list[Known], fraction: float) -> Token:
    """The guess of a token. What neighbours say of their own references is nothing to go by."""
    a, b = sides[0].token, sides[-1].token
    motion = torch.lerp(a.u[:, :MOTION_CHANNELS], b.u[:, :MOTION_CHANNELS], fraction)
    u = torch.cat([motion, torch.zeros_like(a.u[:, MOTION_CHANNELS:])], 1)
    return Token(torch.lerp(a.g, b.g, fraction), u)


def _pick(token: Token, part: slice) -> Token:
    return Token(token.g[part], token.u[part])


def _pick_context(context: TokenContext, part: slice) -> TokenContext:
    first, second = context.near
    condition = Condition(context.condition.role[part], context.condition.qindex[part])
    return TokenContext(
        _pick(context.guess, part),
        (_pick(first, part), _pick(second, part)),
        context.level[part],
        context.span[part],
        condition,
    )


def _cat_tokens(tokens: list[Token]) -> Token:
    return tokens[0] if len(tokens) == 1 else Token(*(torch.cat(values) for values in zip(*tokens, strict=True)))


def _cat_pictures(pictures: list[Picture]) -> Picture:
    return (
        pictures[0] if len(pictures) == 1 else Picture(*(torch.cat(planes) for planes in zip(*pictures, strict=True)))
    )


def _pick_reference(reference: Reference, part: slice) -> Reference:
    return _map_reference(lambda values: values[0][part], [reference])


def _cat_references(references: list[Reference]) -> Reference:
    first, count = references[0], len(references)
    if len(first.field) == 1 and all(reference is first for reference in references):
        return _map_reference(lambda values: values[0].expand(count, *values[0].shape[1:]), [first])  # no copies
    return _map_reference(torch.cat, references)


def _map_reference(change: Callable[[list[Tensor]], Tensor], references: list[Reference]) -> Reference:
    """`change` applied to each tensor of references, to those of all references at once."""

    def each(*parts: Any) -> Any:
        if isinstance(parts[0], Tensor):
            return change(list(parts))
        values = [each(*inner) for inner in zip(*parts, strict=True)]
        return type(parts[0])(*values) if hasattr(parts[0], "_fields") else tuple(values)

    mapped = each(*references)
    assert isinstance(mapped, Reference)
    return mapped
