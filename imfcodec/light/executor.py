"""Runs plans with an exported model: what `models.executor` does for decoding, on arrays and graphs.

Arrays are float32 [B, ...]; the frames of a level, or of a group of golden frames, are the batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from imfcodec.bitstream.packet import Quantisers
from imfcodec.entropy.coder import RangeDecoder
from imfcodec.light.arrays import inverse_cosine_transform, put_places, take_places, token_planes
from imfcodec.light.model import G_STEPS, STEPS, U_STEPS, Array, LightModel
from imfcodec.models.roles import Role, Table
from imfcodec.models.structure import GROUP_PIXELS, MOTION_CHANNELS, Level, Step

PASSES = 4
PATCH_CHANNELS = 96
LAST_QINDEX = 255


class Token(NamedTuple):
    """A latent token or its symbols: g [B, C_g], u [B, C_u, H / 32, W / 32]."""

    g: Array
    u: Array


class Picture(NamedTuple):
    """luma [B, 1, H, W] and chroma [B, 2, H / 2, W / 2], -0.5..0.5."""

    luma: Array
    chroma: Array


class Reference(NamedTuple):
    """A decoded frame that others are predicted from.

    Attributes:
        picture: as it is shown.
        memory: outputs of the graph `remember`.
        features: f_r at 1/32 and 1/16 scale.
        latent: magnitudes of its symbols of y, zeros of an anchor.
    """

    picture: Picture
    memory: tuple[Array, ...]
    features: tuple[Array, Array]
    latent: Array


class Known(NamedTuple):
    """What is known of a decoded frame; all of batch 1."""

    token: Token
    symbols: Token
    reference: Reference | None = None


class LightExecutor:
    """Decodes the frames of one packet.

    Args:
        range: decoder of its payload.
        width, height: of the frames, multiples of 64.
    """

    def __init__(self, model: LightModel, range: RangeDecoder, width: int, height: int) -> None:
        self._model, self._config = model, model.config
        self._height, self._width = height, width
        self.range = range

    def key(self, qindex: int) -> Known:
        """A key frame, the anchor of what follows."""
        nothing = [self._zeros(1, 1), self._zeros(2, 2), self._zeros(2 * PATCH_CHANNELS, 8)]
        nothing.append(self._zeros(self._config.align_channels[1], 16))
        none = self._zeros(self._config.latent_channels, 16)
        picture, features, _ = self._latent(Role.KEY, np.array([qindex]), nothing, none)
        return self._anchor(picture, features)

    def run(self, level: Level, known: dict[int, Known], quantisers: Quantisers) -> None:
        """Decode one level and add it to `known`, which holds the anchor at 0 and all earlier levels."""
        sides = [[known[position] for position in step.neighbours] for step in level]
        qindex = np.array([_qindex(step, quantisers) for step in level])
        guess = _join(*(_between(side, step.fraction) for side, step in zip(sides, level, strict=True)))
        token, symbols = self._token(level, qindex, guess, sides)
        for i, step in enumerate(level):
            known[step.position] = Known(_pick(token, i), _pick(symbols, i))
        if level[0].latent:
            size = max(1, GROUP_PIXELS // (self._height * self._width))
            for start in range(0, len(level), size):
                self._refine(level[start : start + size], known, qindex[start : start + size])

    def render(self, steps: Sequence[Step], known: Mapping[int, Known], quantisers: Quantisers) -> Iterator[Picture]:
        """Token frames that were decoded, in the order given."""
        for step in steps:
            aligned = self._predict([step], known)
            yield Picture(*self._model.run("token_frame", *aligned, np.array([_qindex(step, quantisers)])))

    def advance(self, known: Known) -> Known:
        """A golden frame as the anchor of what follows: its symbols count as zeros from here on."""
        assert known.reference is not None, "only golden frames become anchors"
        return self._anchor(known.reference.picture, known.reference.features)

    def recall(self, picture: Picture, token: Token | None = None) -> Known:
        """A picture that was shown as a reference: as an anchor, or with its token from one."""
        features = self._model.run("picture_features", *picture)
        return self._anchor(picture, (features[0], features[1]), token)

    def _anchor(self, picture: Picture, features: tuple[Array, Array], token: Token | None = None) -> Known:
        zero = Token(
            np.zeros((1, self._config.global_channels), np.float32), self._zeros(self._config.grid_channels, 32)
        )
        token = token or zero
        none = self._zeros(self._config.latent_channels, 16)
        memory = tuple(self._model.run("remember", *token, *features))
        return Known(token, zero, Reference(picture, memory, features, none))

    def _token(
        self, level: Level, qindex: Array, guess: Token, sides: Sequence[Sequence[Known]]
    ) -> tuple[Token, Token]:
        """Decode the tokens of a level: tokens and their symbols."""
        first = _join(*(side[0].symbols for side in sides))
        second = _join(*(side[1].symbols if len(side) > 1 else _nothing(side[0].symbols) for side in sides))
        planes = [token_planes(level, qindex, *shape) for shape in ((1, 1), guess.u.shape[-2:])]
        near = (first.g[:, :, None, None], first.u, second.g[:, :, None, None], second.u)
        g_rows, u_rows = self._model.run("token_rows", *near, *planes)
        u = self._symbols(u_rows, Table.GAUSSIAN)
        g = self._symbols(g_rows, Table.GAUSSIAN)[:, :, 0, 0]
        moved = inverse_cosine_transform(u * self._model.steps[U_STEPS][qindex][:, :, None, None])
        return Token(guess.g + g * self._model.steps[G_STEPS][qindex], guess.u + moved), Token(g, u)

    def _refine(self, steps: Sequence[Step], known: dict[int, Known], qindex: Array) -> None:
        """Decode y of golden frames whose tokens are known."""
        sides = range(len(steps[0].references))
        latents = [np.concatenate([_reference(known, s.references[side]).latent for s in steps]) for side in sides]
        near = np.mean(latents, axis=0, dtype=np.float32)
        picture, features, latent = self._latent(Role.GOLDEN, qindex, self._predict(steps, known), near)
        token = _join(*(known[step.position].token for step in steps))
        memory = self._model.run("remember", *token, *features)
        for i, step in enumerate(steps):
            part = slice(i, i + 1)
            reference = Reference(
                Picture(picture.luma[part], picture.chroma[part]),
                tuple(values[part] for values in memory),
                (features[0][part], features[1][part]),
                latent[part],
            )
            known[step.position] = known[step.position]._replace(reference=reference)

    def _predict(self, steps: Sequence[Step], known: Mapping[int, Known]) -> list[Array]:
        """The graphs' `ALIGNED` of frames that have as many references each."""
        token = _join(*(known[step.position].token for step in steps))
        sides: list[Array] = []
        for side in range(len(steps[0].references)):
            references = [_reference(known, step.references[side]) for step in steps]
            parts = [(*reference.picture, *reference.memory) for reference in references]
            sides += [values[0] if len(values) == 1 else np.concatenate(values) for values in zip(*parts, strict=True)]
        if len(steps[0].references) == 1:
            return self._model.run("predict_from_one", *token, *sides)
        place = np.array([step.place for step in steps], np.float32)
        return self._model.run("predict_from_two", *token, place, *sides)

    def _latent(
        self, role: Role, qindex: Array, aligned: Sequence[Array], near: Array
    ) -> tuple[Picture, tuple[Array, Array], Array]:
        """Decode y and the frame: picture, f_r, magnitudes of symbols."""
        luma, chroma, _, features = aligned
        hyper = self._hyper(len(qindex))
        roles = np.full(len(qindex), int(role))
        contexts = self._model.run("latent_shared", hyper, near, luma, chroma, features, roles, qindex)
        decoded, symbols = np.zeros_like(near), np.zeros_like(near)
        for number in range(PASSES):
            mean, rows = self._model.run("latent_pass", decoded, symbols, *contexts, np.array(number))
            coded = self._symbols(take_places(rows, number), Table.GAUSSIAN)
            put_places(decoded, coded + take_places(mean, number), number)
            put_places(symbols, np.minimum(np.abs(coded), self._config.context_limit), number)
        y = decoded * self._model.steps[STEPS[role]][qindex][:, :, None, None]
        shown_luma, shown_chroma, *f_r = self._model.run("reference_frame", y, *aligned, qindex)
        return Picture(shown_luma, shown_chroma), (f_r[0], f_r[1]), symbols

    def _hyper(self, batch: int) -> Array:
        """z [B, C_z, H / 64, W / 64]; each channel has its table."""
        channels = self._config.hyper_channels
        rows = np.broadcast_to(
            np.arange(channels)[:, None, None], (batch, channels, self._height // 64, self._width // 64)
        )
        return self._symbols(rows, Table.HYPER)

    def _symbols(self, rows: Array, table: Table) -> Array:
        """Read one set of symbols."""
        numbers = np.rint(rows).astype(np.int32).ravel()
        return self.range.decode(numbers, self._model.tables[table]).astype(np.float32).reshape(rows.shape)

    def _zeros(self, channels: int, scale: int) -> Array:
        return np.zeros((1, channels, self._height // scale, self._width // scale), np.float32)


def _qindex(step: Step, quantisers: Quantisers) -> int:
    if step.role is not Role.GOLDEN:
        return quantisers.token
    return min(max(quantisers.golden - step.depth * quantisers.deeper, 0), LAST_QINDEX)


def _reference(known: Mapping[int, Known], position: int) -> Reference:
    reference = known[position].reference
    assert reference is not None, "plans name golden frames and anchors as references"
    return reference


def _between(side: Sequence[Known], fraction: float) -> Token:
    """The guess of a token. What neighbours say of their own references is nothing to go by."""
    a, b = side[0].token, side[-1].token
    share = np.float32(fraction)
    u = a.u + (b.u - a.u) * share
    u[:, MOTION_CHANNELS:] = 0
    return Token(a.g + (b.g - a.g) * share, u)


def _nothing(token: Token) -> Token:
    return Token(np.zeros_like(token.g), np.zeros_like(token.u))


def _pick(token: Token, i: int) -> Token:
    return Token(token.g[i : i + 1], token.u[i : i + 1])


def _join(*tokens: Token) -> Token:
    return Token(np.concatenate([token.g for token in tokens]), np.concatenate([token.u for token in tokens]))
