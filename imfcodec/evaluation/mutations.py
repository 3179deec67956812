"""Damaged streams for tests of robustness: bytes of a stream changed, or its packets, with all checksums made anew.

Every change is drawn from a `random.Random`, so that a seed and a number name a damaged stream.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from imfcodec.bitstream.bits import CHECKSUM_BYTES, HASH_BYTES, ByteCursor, crc16, encode_varint
from imfcodec.bitstream.packet import PacketKind, add_checksum, count_frames
from imfcodec.errors import CorruptStreamError

MOST_FAULTS = 4
LONGEST_RUN = 64
_MAGIC_BYTES = 4  # magic and version
_TELLING = (0x00, 0x01, 0x7F, 0x80, 0xFF)  # bytes at which fields and varints turn over


@dataclass
class StreamParts:
    """A stream taken apart, its checksums and hash left out.

    Attributes:
        magic: magic and version.
        header: body of the header.
        packets: first byte and body of each packet.
        rest: what is no packet any more.
    """

    magic: bytes
    header: bytes
    packets: list[tuple[int, bytes]] = field(default_factory=list)
    rest: bytes = b""

    @classmethod
    def split(cls, data: bytes) -> "StreamParts":
        """Take a stream apart as far as its lengths lead; checksums are not looked at."""
        cursor = ByteCursor(data)
        parts = cls(b"", b"")
        try:
            parts.magic = cursor.take(_MAGIC_BYTES)
            parts.header = _take_body(cursor)
            while cursor.remaining:
                start = cursor.position
                parts.packets.append((cursor.u8(), _take_body(cursor)))
        except CorruptStreamError:
            parts.rest = data[start:] if parts.header else data[len(parts.magic) :]
        return parts

    def join(self) -> bytes:
        """Put the stream together, every checksum right, and the hash in every END packet too."""
        data = self.magic + encode_varint(len(self.header)) + self.header
        data += crc16(data).to_bytes(CHECKSUM_BYTES, "big")
        place = 0
        for first, body in self.packets:
            packet = bytes((first,)) + encode_varint(len(body)) + body
            if first == PacketKind.END and len(body) >= HASH_BYTES:
                packet = packet[:-HASH_BYTES]
                packet += hashlib.sha256(data + packet).digest()[:HASH_BYTES]
            data += add_checksum(packet, place)
            place += count_frames(first)
        return data + self.rest


def mutate(data: bytes, dice: random.Random, *, valid: bool) -> bytes:
    """A stream with up to four faults.

    Args:
        valid: in packets and header, checksums and hash made anew; otherwise in bytes.
    """
    for _ in range(dice.randint(1, MOST_FAULTS)):
        if valid:
            parts = StreamParts.split(data)
            dice.choice(_PART_FAULTS)(parts, dice)
            data = parts.join()
        else:
            data = dice.choice(_BYTE_FAULTS)(data, dice)
    return data


def _take_body(cursor: ByteCursor) -> bytes:
    body = cursor.take(cursor.varint())
    cursor.take(CHECKSUM_BYTES)
    return body


def _run(data: bytes, dice: random.Random) -> slice:
    """Some bytes of the stream."""
    start = dice.randrange(len(data) + 1)
    return slice(start, min(len(data), start + dice.randint(1, LONGEST_RUN)))


def _flip(data: bytes, dice: random.Random) -> bytes:
    if not data:
        return data
    at = dice.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << dice.randrange(8),)) + data[at + 1 :]


def _set(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + bytes((dice.choice(_TELLING),)) + data[at + 1 :]


def _overwrite(data: bytes, dice: random.Random) -> bytes:
    run = _run(data, dice)
    return data[: run.start] + dice.randbytes(run.stop - run.start) + data[run.stop :]


def _insert(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + dice.randbytes(dice.randint(1, LONGEST_RUN)) + data[at:]


def _delete(data: bytes, dice: random.Random) -> bytes:
    run = _run(data, dice)
    return data[: run.start] + data[run.stop :]


def _repeat(data: bytes, dice: random.Random) -> bytes:
    run = _run(data, dice)
    return data[: run.stop] + data[run] + data[run.stop :]


def _cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


_BYTE_FAULTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _set,
    _overwrite,
    _insert,
    _delete,
    _repeat,
    _cut,
)


def _change_header(parts: StreamParts, dice: random.Random) -> None:
    parts.header = dice.choice(_BYTE_FAULTS)(parts.header, dice)


def _change_body(parts: StreamParts, dice: random.Random) -> None:
    if parts.packets:
        at = dice.randrange(len(parts.packets))
        first, body = parts.packets[at]
        parts.packets[at] = first, dice.choice(_BYTE_FAULTS)(body, dice)


def _change_first_byte(parts: StreamParts, dice: random.Random) -> None:
    if parts.packets:
        at = dice.randrange(len(parts.packets))
        parts.packets[at] = dice.randrange(256), parts.packets[at][1]


def _drop(parts: StreamParts, dice: random.Random) -> None:
    if parts.packets:
        del parts.packets[dice.randrange(len(parts.packets))]


def _double(parts: StreamParts, dice: random.Random) -> None:
    if parts.packets:
        parts.packets.insert(dice.randrange(len(parts.packets) + 1), dice.choice(parts.packets))


def _swap(parts: StreamParts, dice: random.Random) -> None:
    if parts.packets:
        one, other = (dice.randrange(len(parts.packets)) for _ in range(2))
        parts.packets[one], parts.packets[other] = parts.packets[other], parts.packets[one]


_PART_FAULTS: tuple[Callable[[StreamParts, random.Random], None], ...] = (
    _change_header,
    _change_body,
    _change_body,
    _change_first_byte,
    _drop,
    _double,
    _swap,
)
