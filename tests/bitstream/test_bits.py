"""Integers, checksum, and sources that give bytes in small pieces."""

import io

import pytest

from imfcodec.bitstream.bits import MAX_VARINT, ByteCursor, ByteSource, crc16, encode_varint, encode_zigzag
from imfcodec.errors import CorruptStreamError, InputError, LimitError, TruncatedStreamError

EDGES = [0, 1, 127, 128, 16383, 16384, (1 << 32) - 1, MAX_VARINT]


class Trickle(io.RawIOBase):
    """A source that cannot seek and gives one byte a call; it remembers the largest request."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.largest = 0

    def read(self, count: int = -1) -> bytes:
        self.largest = max(self.largest, count)
        return self._data.read(1)


@pytest.mark.parametrize("value", EDGES)
def test_varint_round_trip(value: int) -> None:
    cursor = ByteCursor(encode_varint(value))
    assert cursor.varint() == value
    assert cursor.remaining == 0


@pytest.mark.parametrize("value", [0, -1, 1, 63, -64, 64, -65, 1 << 61, -(1 << 61)])
def test_zigzag_round_trip(value: int) -> None:
    data = encode_zigzag(value)
    assert ByteCursor(data).zigzag() == value
    assert len(data) == 1 or not -64 <= value < 64


@pytest.mark.parametrize("value", [-1, MAX_VARINT + 1])
def test_varint_out_of_range(value: int) -> None:
    with pytest.raises(LimitError):
        encode_varint(value)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff" * 9 + b"\x01"])
def test_varint_faults(data: bytes) -> None:
    with pytest.raises(CorruptStreamError):
        ByteCursor(data).varint()


def test_checksum_check_value() -> None:
    assert crc16(b"123456789") == 0x29B1


def test_source_looks_ahead_without_consuming() -> None:
    source = ByteSource(Trickle(b"abcdef"))
    assert source.peek(2, 4) == b"cd"
    assert source.consume(3) == b"abc"
    assert source.peek(0, 2) == b"de"
    assert (source.offset, source.available(9)) == (3, 3)
    with pytest.raises(TruncatedStreamError):
        source.peek(0, 4)


def test_source_asks_for_bounded_pieces() -> None:
    trickle = Trickle(b"abc")
    assert ByteSource(trickle).available(1 << 40) == 3
    assert trickle.largest <= 1 << 16


def test_failing_source_is_an_input_error() -> None:
    class Failing(io.RawIOBase):
        def read(self, count: int = -1) -> bytes:
            raise OSError("device gone")

    with pytest.raises(InputError, match="device gone"):
        ByteSource(Failing()).peek(0, 1)
