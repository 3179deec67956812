"""Streams made of others by changing a part: most of them faulty, a few valid ones that no encoder of ours writes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from maker.pieces import Part, Pieces

Edit = Callable[[Pieces], bytes | None]
"""Changes a stream in place; what it returns is taken as the stream, otherwise the pieces are sealed anew."""

KEY, AUDIO, INDEX, END = b"\x01", b"\x05", b"\x06", b"\x07"  # first bytes


@dataclass(frozen=True)
class Change:
    """A stream made of another one.

    Attributes:
        name, purpose: as of `catalogue.Entry`; the purpose is the rule that is broken.
        base: the stream that is changed.
        edit: how.
        message: what the error says, part of it; empty for a valid stream.
        error: class of the error.
        frames: how many frames a concealing reader gives, where that is certain.
    """

    name: str
    purpose: str
    base: str
    edit: Edit
    message: str = ""
    error: str = "CorruptStreamError"
    frames: int | None = None


CHANGES: list[Change] = []
KEY_ALONE = "valid/key"
TWO_GROUPS = "valid/two-groups"  # KEY, CHUNK of 3, KEY, CHUNK of 2, INDEX, END
VARIABLE = "valid/variable-rate"  # KEY, CHUNK of 4, CHUNK of 2 token frames, KEY, ...
FRAMES = 7  # of two groups


def refuse(
    name: str, purpose: str, edit: Edit, message: str, base: str = TWO_GROUPS, frames: int | None = None
) -> None:
    """Enter a stream that breaks the format."""
    CHANGES.append(Change(f"faulty/{name}", purpose, base, edit, message, frames=frames))


def above(name: str, purpose: str, edit: Edit, message: str, base: str = TWO_GROUPS) -> None:
    """Enter a stream beyond a limit."""
    CHANGES.append(Change(f"faulty/{name}", purpose, base, edit, message, "LimitError"))


def cut_off(name: str, purpose: str, edit: Edit) -> None:
    """Enter a stream that ends too early."""
    CHANGES.append(Change(f"faulty/{name}", purpose, TWO_GROUPS, edit, "early", "TruncatedStreamError"))


def accept(name: str, purpose: str, edit: Edit, base: str = KEY_ALONE) -> None:
    """Enter a valid stream that no encoder of ours writes."""
    CHANGES.append(Change(f"uncommon/{name}", purpose, base, edit))


def apply(change: Change, streams: Mapping[str, bytes]) -> bytes:
    """The changed stream."""
    pieces = Pieces.of(streams[change.base])
    changed = change.edit(pieces)
    return pieces.sealed() if changed is None else changed


# Ways to change a stream


def start(data: bytes) -> Edit:
    """Other bytes at the very start."""
    return lambda pieces: data + pieces.sealed()[len(data) :]


def flipped(place: int) -> Edit:
    """A bit of the stream turned over."""

    def edit(pieces: Pieces) -> bytes:
        data = bytearray(pieces.sealed())
        data[place] ^= 1
        return bytes(data)

    return edit


def cut(size: int) -> Edit:
    """The first bytes, or all but the last."""
    return lambda pieces: pieces.sealed()[:size]


def packet(number: int, *, first: bytes | None = None, body: Callable[[bytes], bytes] | None = None) -> Edit:
    """Another first byte or body for a packet."""

    def edit(pieces: Pieces) -> None:
        part = pieces.packets[number]
        part.start = first or part.start
        part.body = body(part.body) if body else part.body

    return edit


def order(*numbers: int) -> Edit:
    """Packets left out, doubled or out of order, as they may come from a network; END is as it was."""
    return lambda pieces: pieces.head.sealed() + b"".join(pieces.sealed_packets()[number] for number in numbers)


def insert(number: int, *parts: Part) -> Edit:
    def edit(pieces: Pieces) -> None:
        pieces.packets[number:number] = parts

    return edit


def end(counts: Callable[[bytes], bytes]) -> Edit:
    """Other numbers in the END packet, before its hash."""
    return packet(-1, body=lambda body: counts(body[:-8]) + body[-8:])


def payload(change: Callable[[bytes], bytes]) -> Edit:
    """Another payload for the key frame of a stream of constant rate."""
    return packet(0, body=lambda body: body[:5] + change(body[5:]))
