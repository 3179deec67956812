"""Variable-length integers, checksums, and bounds-checked reading of bytes and of streams (pipes included)."""

import hashlib
from array import array
from binascii import crc_hqx
from functools import cache
from typing import BinaryIO

from imfcodec.errors import CorruptStreamError, InputError, LimitError, TruncatedStreamError

MAX_VARINT_BYTES = 9
MAX_VARINT = (1 << (7 * MAX_VARINT_BYTES)) - 1
MAX_TIME_STAMP = 1 << 60
CHECKSUM_BYTES = 2
HASH_BYTES = 8
CRC_START = 0xFFFF
_READ_BYTES = 1 << 16
_BLOCK_BYTES = 256
_CRC_POLYNOMIAL = 0x11021
# So many zero bytes leave any checksum as it is: the order of x^8 modulo the polynomial.
_CRC_PERIOD = 32767


def encode_varint(value: int) -> bytes:
    """Code an integer in 0..MAX_VARINT as base-128 digits, least significant first, top bit set on all but the last."""
    if not 0 <= value <= MAX_VARINT:
        raise LimitError(f"integer {value} does not fit a varint (0..{MAX_VARINT})")
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def encode_zigzag(value: int) -> bytes:
    """Code a signed integer as the varint of 0, -1, 1, -2, 2, ... -> 0, 1, 2, 3, 4, ..."""
    return encode_varint(value << 1 if value >= 0 else (-value << 1) - 1)


def crc16(data: bytes | bytearray, register: int = CRC_START) -> int:
    """CRC-16 with polynomial 0x1021, start 0xFFFF, not reflected ("CRC-16/IBM-3740"; "123456789" gives 0x29B1).

    Args:
        register: what bytes before `data` left, to go on with.
    """
    return crc_hqx(data, register)


def crc16_after_zeros(state: int, count: int) -> int:
    """The CRC-16 register `state` after `count` zero bytes, in constant time; before them where `count` is negative."""
    product, factor = 0, _zero_byte_powers()[count % _CRC_PERIOD]
    while factor:
        if factor & 1:
            product ^= state
        factor >>= 1
        state <<= 1
        if state > 0xFFFF:
            state ^= _CRC_POLYNOMIAL
    return product


@cache
def _zero_byte_powers() -> "array[int]":
    """x^(8 n) modulo the polynomial, for n = 0.._CRC_PERIOD - 1."""
    powers = array("H", (1,))
    while len(powers) < _CRC_PERIOD:
        powers.append(crc_hqx(b"\0", powers[-1]))
    return powers


def check_time_stamp(pts: int) -> int:
    """Return `pts`, or raise LimitError when it lies outside +-2^60 ticks."""
    if abs(pts) > MAX_TIME_STAMP:
        raise LimitError(f"time stamp {pts} is outside +-2^60 ticks; use a coarser time base")
    return pts


class ByteCursor:
    """Reads fields one after another from bytes held in memory; running off the end is a CorruptStreamError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self.remaining:
            raise CorruptStreamError(f"a field of {count} bytes runs past the end of its packet")
        self.position += count
        return self._data[self.position - count : self.position]

    def rest(self) -> bytes:
        """All bytes not read yet."""
        return self.take(self.remaining)

    def u8(self) -> int:
        """The next byte, 0..255."""
        return self.take(1)[0]

    def varint(self) -> int:
        """The next varint; only its shortest form is accepted."""
        value = 0
        for index in range(MAX_VARINT_BYTES):
            digit = self.u8()
            value |= (digit & 0x7F) << (7 * index)
            if digit < 0x80:
                if digit == 0 and index > 0:
                    raise CorruptStreamError("a varint is not in its shortest form")
                return value
        raise CorruptStreamError(f"a varint is longer than {MAX_VARINT_BYTES} bytes")

    def zigzag(self) -> int:
        """The next signed integer."""
        value = self.varint()
        return value >> 1 if value & 1 == 0 else -(value + 1 >> 1)


class ByteSource:
    """A binary stream that can be looked ahead into, also when it cannot seek, and that hashes what is consumed.

    It asks the stream for no more bytes than a caller needs, so a live pipe never waits for a later packet.
    """

    def __init__(self, source: BinaryIO, offset: int = 0) -> None:
        self._source = source
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._is_exhausted = False
        self._arrived = 0
        self._register = 0
        self._block_registers = array("H", (0,))  # at every _BLOCK_BYTES bytes that arrived
        self.offset = offset
        name = getattr(source, "name", None)
        self.name = name if isinstance(name, str) else "<stream>"

    def peek(self, start: int, end: int) -> bytes:
        """Bytes start..end counted from the current position, not consumed; TruncatedStreamError if there are fewer."""
        self._fill(end)
        return bytes(self._buffer[start:end])

    def peek_byte(self, position: int) -> int:
        """The byte `position` bytes ahead, 0..255."""
        if position >= len(self._buffer):
            self._fill(position + 1)
        return self._buffer[position]

    def available(self, count: int) -> int:
        """How many of the next `count` bytes the stream still holds."""
        try:
            self._fill(count)
        except TruncatedStreamError:
            return len(self._buffer)
        return count

    def peek_varint(self, start: int) -> tuple[int, int]:
        """The varint at `start` and the position after it."""
        if (digit := self.peek_byte(start)) < 0x80:
            return digit, start + 1
        end = start + 1
        while self.peek_byte(end - 1) >= 0x80 and end - start < MAX_VARINT_BYTES:
            end += 1
        return ByteCursor(self.peek(start, end)).varint(), end

    def checksum(self, start: int, end: int, register: int = CRC_START) -> int:
        """`crc16` of the bytes start..end ahead; looks at two blocks of them at most, however many there are.

        That makes a search for sound packets linear: registers kept at block borders stand for the bytes in between.
        """
        self._fill(end)
        base = self._arrived - len(self._buffer)
        first, last = -(-(base + start) // _BLOCK_BYTES), (base + end) // _BLOCK_BYTES
        if first >= last:
            return crc16(self._buffer[start:end], register)
        register = crc16(self._buffer[start : first * _BLOCK_BYTES - base], register) ^ self._block_registers[first]
        register = crc16_after_zeros(register, (last - first) * _BLOCK_BYTES) ^ self._block_registers[last]
        return crc_hqx(self._buffer[last * _BLOCK_BYTES - base : end], register)

    def consume(self, count: int) -> bytes:
        """Take the next `count` bytes and add them to the hash."""
        data = self.peek(0, count)
        del self._buffer[:count]
        self._digest.update(data)
        self.offset += count
        return data

    def hash_ahead(self, count: int) -> bytes:
        """First 8 bytes of the SHA-256 of everything consumed so far and the next `count` bytes."""
        digest = self._digest.copy()
        digest.update(self.peek(0, count))
        return digest.digest()[:HASH_BYTES]

    def _fill(self, count: int) -> None:
        # Piecewise, so that a false length costs no more memory than the stream has bytes.
        while len(self._buffer) < count:
            if not self._is_exhausted:
                self._take_in(self._read(min(count - len(self._buffer), _READ_BYTES)))
            if self._is_exhausted:
                missing = count - len(self._buffer)
                raise TruncatedStreamError(f"the stream ends {missing} or more bytes early; fetch the whole file again")

    def _read(self, count: int) -> bytes:
        try:
            return self._source.read(count)
        except OSError as error:
            raise InputError(f"reading failed: {error}; check the file or the pipe") from error

    def _take_in(self, piece: bytes) -> None:
        self._is_exhausted = not piece
        self._buffer += piece
        rest = memoryview(piece)
        while rest:
            part = rest[: _BLOCK_BYTES - self._arrived % _BLOCK_BYTES]
            rest = rest[len(part) :]
            self._register = crc_hqx(part, self._register)
            self._arrived += len(part)
            if self._arrived % _BLOCK_BYTES == 0:
                self._block_registers.append(self._register)
