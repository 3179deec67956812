"""Streams taken apart, so that single parts can be changed while lengths, checksums and hash stay right."""

import hashlib
from dataclasses import dataclass
from itertools import accumulate

from imfcodec.bitstream.bits import ByteCursor, crc16, encode_varint
from imfcodec.bitstream.packet import add_checksum, count_frames

HASH_BYTES = 8


@dataclass
class Part:
    """A header or packet: what stands before its length, and its body."""

    start: bytes
    body: bytes

    def sealed(self, place: int | None = None) -> bytes:
        """With length and checksum; `place` is the number of frames before a packet that does not say it."""
        data = self.start + encode_varint(len(self.body)) + self.body
        return data + crc16(data).to_bytes(2, "big") if place is None else add_checksum(data, place)


@dataclass
class Pieces:
    """A stream as its header and its packets, the last of them END."""

    head: Part
    packets: list[Part]

    @classmethod
    def of(cls, data: bytes) -> "Pieces":
        """Take a valid stream apart."""
        cursor = ByteCursor(data)
        parts = [_take(cursor, 4)]
        while cursor.remaining:
            parts.append(_take(cursor, 1))
        return cls(parts[0], parts[1:])

    def sealed_packets(self) -> list[bytes]:
        """Each packet with the checksum that it has in its place."""
        places = accumulate((count_frames(part.start[0]) for part in self.packets), initial=0)
        return [part.sealed(place) for part, place in zip(self.packets, places, strict=False)]

    def sealed(self) -> bytes:
        """The stream, with a hash that is right; END has no other packet behind it."""
        before = b"".join([self.head.sealed(), *self.sealed_packets()[:-1]])
        end = self.packets[-1]
        digest = hashlib.sha256(before + Part(end.start, end.body).sealed()[: -HASH_BYTES - 2]).digest()
        return before + Part(end.start, end.body[:-HASH_BYTES] + digest[:HASH_BYTES]).sealed()


def _take(cursor: ByteCursor, start: int) -> Part:
    part = Part(cursor.take(start), cursor.take(cursor.varint()))
    cursor.take(2)
    return part
