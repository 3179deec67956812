"""Integers to bytes and back."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imfcodec.entropy import coder
from imfcodec.entropy.coder import MAX_SYMBOL, CodingTables, RangeDecoder, RangeEncoder
from imfcodec.entropy.tables import Tables
from imfcodec.errors import CorruptStreamError, ImfError, ModelError, SymbolRangeError


def small_tables() -> CodingTables:
    """Two tables: values -1..1 and -2..2, each with an escape symbol."""
    narrow = [0, 2000, 62000, 65000, 65536, 0, 0]
    wide = [0, 9000, 20000, 45000, 55000, 65000, 65536]
    tables = Tables(
        np.array([narrow, wide], dtype=np.int32), np.array([5, 7], dtype=np.int32), np.array([-1, -2], dtype=np.int32)
    )
    return CodingTables(tables)


def integers(values) -> np.ndarray:
    return np.array(values, dtype=np.int32)


@given(st.lists(st.tuples(st.integers(-MAX_SYMBOL, MAX_SYMBOL), st.integers(0, 1)), max_size=40))
def test_sets_come_back_as_written(pairs):
    tables = small_tables()
    symbols, rows = integers([p[0] for p in pairs]), integers([p[1] for p in pairs])
    encoder = RangeEncoder()
    encoder.encode_flag(True)
    encoder.encode(symbols, rows, tables)
    encoder.encode(integers([0, 1]), integers([1, 0]), tables)
    decoder = RangeDecoder(encoder.finish())
    assert decoder.decode_flag() is True
    assert decoder.decode(rows, tables).tolist() == symbols.tolist()
    assert decoder.decode(integers([1, 0]), tables).tolist() == [0, 1]


def test_exact_bytes_are_frozen():
    encoder = RangeEncoder()
    encoder.encode_flag(False)
    encoder.encode(integers([0, 0, 1, -2, 0, 5, -1]), integers([0, 1, 0, 1, 1, 0, 0]), small_tables())
    assert encoder.finish().hex() == "78176a202ce9"


@pytest.mark.parametrize("seed", range(10))
def test_tables_become_the_intervals_of_the_specification(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(3, 40))
    inner = np.sort(random.choice(np.arange(1, 1 << 16), count - 1, replace=False))
    cdf = integers([[0, *inner, 1 << 16]])
    tables = CodingTables(Tables(cdf, integers([count + 1]), integers([0])))

    def symbol_at(quantile: int) -> int:
        """What a decoder reads where the first 24 bits are `quantile` (the escape symbol reads past it)."""
        payload = quantile.to_bytes(3, "big") + b"\x80"
        return int(RangeDecoder(payload).decode(integers([0]), tables)[0])

    for i in range(1, count - 1):
        start = (int(cdf[0, i]) * ((1 << 24) - count) >> 16) + i
        assert symbol_at(start) == i and symbol_at(start - 1) == i - 1


def test_payloads_end_as_early_as_can_be():
    tables, random = small_tables(), np.random.default_rng(3)
    for _ in range(300):
        count = int(random.integers(0, 40))
        symbols = random.choice(integers([-2, -1, 0, 0, 0, 0, 1, 2, 9]), count)
        rows = random.integers(0, 2, count).astype(np.int32)
        encoder = RangeEncoder()
        encoder.encode(symbols, rows, tables)
        payload = encoder.finish()
        assert RangeDecoder(payload).decode(rows, tables).tolist() == symbols.tolist()
        assert 8 * len(payload) < tables.information(symbols, rows) + 9


def test_an_empty_payload_decodes():
    assert RangeDecoder(b"").decode(integers([0, 0]), small_tables()).shape == (2,)


def test_likely_symbols_cost_little():
    encoder = RangeEncoder()
    encoder.encode(np.zeros(8000, dtype=np.int32), np.zeros(8000, dtype=np.int32), small_tables())
    assert len(encoder.finish()) < 8000 * 0.13 / 8 + 8  # -log2(60000 / 65536) = 0.127 bits each


def test_too_large_symbols_are_refused():
    with pytest.raises(SymbolRangeError, match="lower the quality"):
        RangeEncoder().encode(integers([MAX_SYMBOL + 1]), integers([0]), small_tables())


def test_damaged_payloads_never_crash():
    tables, random = small_tables(), np.random.default_rng(5)
    rows = random.integers(0, 2, 300).astype(np.int32)
    for _ in range(500):
        try:
            symbols = RangeDecoder(random.bytes(int(random.integers(0, 60)))).decode(rows, tables)
        except ImfError as error:
            assert isinstance(error, CorruptStreamError)
        else:
            assert np.abs(symbols.astype(np.int64)).max() <= MAX_SYMBOL


@pytest.mark.parametrize(
    "value, is_right",
    [
        *((value, True) for value in (MAX_SYMBOL, -MAX_SYMBOL, 2, -2)),
        *((value, False) for value in (MAX_SYMBOL + 1, -MAX_SYMBOL - 1, (1 << 23) - 1, 1, 0, -1)),
    ],
)
def test_an_escape_stands_for_what_has_no_symbol_and_is_in_range(value, is_right):
    tables = small_tables()
    encoder = RangeEncoder()
    folded = 2 * value if value >= 0 else -2 * value - 1
    encoder._encoder.encode(integers([tables.escapes[0]]), tables.models[0])
    encoder._encoder.encode(integers([folded >> shift & 255 for shift in (0, 8, 16)]), coder._BYTE)
    decoder = RangeDecoder(encoder.finish())
    if is_right:
        assert decoder.decode(integers([0]), tables).tolist() == [value]
    else:
        with pytest.raises(CorruptStreamError, match="escaped value"):
            decoder.decode(integers([0]), tables)


def test_information_is_the_code_length():
    """A symbol's is that of its share of 2^16; an escaped one pays for the escape symbol and three bytes."""
    tables = small_tables()
    lengths = {(-1, 0): 2000, (0, 0): 60000, (1, 0): 3000, (0, 1): 25000, (2, 1): 10000}
    for (symbol, row), mass in lengths.items():
        assert tables.information(integers([symbol]), integers([row])) == pytest.approx(-np.log2(mass / 65536))
    for symbol, row, escape in ((2, 0, 536), (-2, 0, 536), (3, 1, 536), (-3, 1, 536), (MAX_SYMBOL, 0, 536)):
        expected = 24 - np.log2(escape / 65536)
        assert tables.information(integers([symbol]), integers([row])) == pytest.approx(expected)
    assert tables.information(integers([]), integers([])) == 0


def test_payloads_are_as_long_as_their_information():
    tables, random = small_tables(), np.random.default_rng(4)
    symbols, rows = random.integers(-3, 4, 5000).astype(np.int32), random.integers(0, 2, 5000).astype(np.int32)
    encoder = RangeEncoder()
    encoder.encode(symbols, rows, tables)
    assert 8 * len(encoder.finish()) == pytest.approx(tables.information(symbols, rows), rel=1e-3)


@given(st.lists(st.integers(-3, 3), max_size=60), st.booleans())
def test_the_check_symbol_ends_a_payload(values, flag):
    tables, rows = small_tables(), integers([0] * len(values))
    encoder = RangeEncoder()
    encoder.encode_flag(flag)
    encoder.encode(integers(values), rows, tables)
    encoder.encode_check()
    payload = encoder.finish()
    decoder = RangeDecoder(payload)
    assert decoder.decode_flag() is flag and decoder.decode(rows, tables).tolist() == values
    decoder.finish()


def test_one_symbol_too_many_fails_the_check():
    """But for one payload in some hundred, where what follows reads as the check symbol."""
    tables, random, passed = small_tables(), np.random.default_rng(6), 0
    for _ in range(300):
        symbols = random.choice(integers([-1, 0, 0, 0, 1, 5]), 30)
        encoder = RangeEncoder()
        encoder.encode(symbols, np.zeros(30, np.int32), tables)
        encoder.encode_check()
        decoder = RangeDecoder(encoder.finish())
        with contextlib.suppress(CorruptStreamError):
            decoder.decode(np.zeros(31, np.int32), tables)
            decoder.finish()
            passed += 1
    assert passed <= 6


def test_a_payload_without_check_symbol_is_the_one_an_encoder_writes():
    """Cut off, longer, or with another bit: what it decodes to is written differently."""
    tables, random = small_tables(), np.random.default_rng(7)
    rows = random.integers(0, 2, 40).astype(np.int32)
    encoder = RangeEncoder()
    encoder.encode(random.choice(integers([-1, 0, 0, 0, 1, 5]), 40), rows, tables)
    payload, refused = encoder.finish(), 0
    flipped = [bytes(x ^ (1 << bit % 8) * (at == bit // 8) for at, x in enumerate(payload)) for bit in range(40)]
    for data in (payload, payload + b"\0", payload + b"\1", payload[:-1], *flipped):
        decoder = RangeDecoder(data, check=False)
        try:
            decoder.decode(rows, tables)
            decoder.finish()
        except CorruptStreamError:
            refused += 1
            assert data != payload
    assert refused >= 35


def test_reading_past_the_end_of_a_payload_does_not_pass_the_check():
    """An empty or cut payload reads as low values."""
    decoder = RangeDecoder(b"")
    decoder.decode(integers([0] * 50), small_tables())
    with pytest.raises(CorruptStreamError, match="does not end"):
        decoder.finish()


@pytest.mark.parametrize("row", [[0, 5, 65535], [1, 5, 65536], [0, 70000, 65536], [0, 5, 5, 65536]])
def test_improper_tables_are_refused(row):
    with pytest.raises(ModelError, match="proper distribution"):
        Tables(integers([row]), integers([len(row)]), integers([0]))
