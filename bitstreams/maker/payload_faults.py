"""Payloads that a decoder must refuse, each for one reason."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from unittest import mock

import numpy as np

from imfcodec.entropy import coder
from imfcodec.entropy.coder import CodingTables, Integers, RangeEncoder
from maker.changes import CHANGES, KEY_ALONE, Change, accept, payload, refuse
from maker.header_faults import MODEL_ID
from maker.pieces import Pieces
from maker.studio import Draw, Studio

damaged = "payload is damaged"
refuse(
    "payload-cut",
    "A payload that ends before its frame does.",
    payload(lambda data: data[:40]),
    damaged,
    base=KEY_ALONE,
    frames=1,
)
refuse("payload-empty", "No payload.", payload(lambda data: b""), damaged, base=KEY_ALONE, frames=1)
refuse(
    "payload-flipped",
    "A payload with a bit turned over: other symbols, another end.",
    payload(lambda data: data[:20] + bytes((data[20] ^ 8,)) + data[21:]),
    damaged,
    base=KEY_ALONE,
    frames=1,
)
refuse(
    "payload-none",
    "A payload that no encoder writes.",
    payload(lambda data: b"\xff" * 40),
    damaged,
    base=KEY_ALONE,
    frames=1,
)


def tokens_first(pieces: Pieces) -> None:
    """A CHUNK with a golden frame and one of token frames in the wrong order."""
    pieces.packets[1:3] = pieces.packets[2:0:-1]


def other_model(pieces: Pieces) -> None:
    body = bytearray(pieces.head.body)
    body[MODEL_ID] = bytes(8)
    pieces.head.body = bytes(body)


refuse(
    "golden-after-tokens",
    "A CHUNK of four frames with a golden one after token frames from the past.",
    tokens_first,
    "follows token frames",
    base="valid/tail",
    frames=7,
)
CHANGES.append(
    Change(
        "faulty/model-id",
        "A model that the reader does not have.",
        KEY_ALONE,
        other_model,
        "made with model",
        "ModelError",
    )
)


# Payloads of an encoder that breaks a rule


class EscapesAll(RangeEncoder):
    """Spells out every value, those too that have a symbol."""

    def encode(self, symbols: Integers, rows: Integers, tables: CodingTables) -> None:
        for row, places in coder._by_table(rows):
            self._encoder.encode(np.full(len(places), tables.escapes[row], np.int32), tables.models[row])
            self._encoder.encode(coder._to_bytes(symbols[places]), coder._BYTE)


@dataclass(frozen=True)
class Forgery:
    """A key frame coded while parts of the codec are replaced, by their names."""

    name: str
    purpose: str
    replaced: dict[str, object]
    far: bool = False
    message: str = damaged


MODULES = ("imfcodec.entropy.coder", "imfcodec.latents.symbols", "maker.studio")
FORGERIES = [
    Forgery("check", "A payload that ends with another check.", {"imfcodec.entropy.coder.CHECK": 0xA4}),
    Forgery("escape-known", "Values that have a symbol, escaped.", {f"{MODULES[1]}.RangeEncoder": EscapesAll}),
    Forgery(
        "escape-limit",
        "Escaped values beyond 2^20 - 1.",
        {f"{module}.MAX_SYMBOL": (1 << 23) - 1 for module in MODULES},
        far=True,
    ),
]


def forge(forgery: Forgery, make: Callable[..., Studio]) -> bytes:
    """The faulty stream; `make` opens a studio, as `Studio` with a name and settings."""
    with ExitStack() as stack:
        for name, value in forgery.replaced.items():
            stack.enter_context(mock.patch(name, value))
        studio = make(f"faulty/{forgery.name}", draw=Draw(far=forgery.far))
        studio.key()
        return studio.finish()


# Valid ones

accept("payload-zeros", "A payload with zero bytes at its end.", payload(lambda data: data + b"\0\0\0"))
accept(
    "payload-long",
    "A payload that ends in other bytes than the fewest.",
    payload(lambda data: data + b"\1\2\3\4\5\6\7"),
)
