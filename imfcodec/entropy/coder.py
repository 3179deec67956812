"""Range coding of integers with tables: integers to bytes and back (SPEC.md, "Video payload")."""

import constriction
import numpy as np
import numpy.typing as npt

from imfcodec.entropy.tables import PRECISION, Tables
from imfcodec.errors import CorruptStreamError, SymbolRangeError

Integers = npt.NDArray[np.int32]

MAX_SYMBOL = (1 << 20) - 1  # largest magnitude a symbol may have
CHECK = 0xA5  # ends a payload; not what reading past its end gives, which is low values
_ESCAPE_BYTES = 3  # an escaped value is sent as this many uniform bytes

_BYTE = constriction.stream.model.Uniform(256)
_BIT = constriction.stream.model.Uniform(2)


class CodingTables:
    """Tables with the coder's models built for them once."""

    def __init__(self, tables: Tables) -> None:
        self.offsets = tables.offsets
        self.escapes = tables.lengths - 2  # index of each row's escape symbol
        self.models = tables.models()
        widths = np.diff(np.maximum.accumulate(tables.cdf, axis=1), axis=1)
        self.lengths = PRECISION - np.log2(np.maximum(widths, 1))  # bits of each row's symbols; padding is not used
        self.lengths[np.arange(len(self.escapes)), self.escapes] += 8 * _ESCAPE_BYTES

    def information(self, symbols: Integers, rows: Integers) -> float:
        """Bits that symbols [n] with tables rows [n] take, but for the coder's rounding."""
        indices = symbols - self.offsets[rows]
        escapes = self.escapes[rows]
        outside = (indices < 0) | (indices >= escapes)
        return float(self.lengths[rows, np.where(outside, escapes, indices)].sum())


def _by_table(rows: Integers) -> list[tuple[int, npt.NDArray[np.intp]]]:
    """Positions of the symbols of each table in use, tables ascending, positions ascending."""
    order = np.argsort(rows, kind="stable")
    used, starts = np.unique(rows[order], return_index=True)
    ends = [*starts[1:], len(order)]
    return [(int(row), order[start:end]) for row, start, end in zip(used, starts, ends, strict=False)]


class RangeEncoder:
    """Writes sets of integers; a `RangeDecoder` must ask for the same sets in the same order."""

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: Integers, rows: Integers, tables: CodingTables) -> None:
        """Write symbols [n] with table rows[i] for symbols[i], grouped by table.

        Raises:
            SymbolRangeError: a symbol is larger than 2^20 - 1 in magnitude.
        """
        if symbols.size and int(np.abs(symbols).max()) > MAX_SYMBOL:
            raise SymbolRangeError(f"a latent exceeds {MAX_SYMBOL} quantisation steps; lower the quality")
        for row, places in _by_table(rows):
            escape = int(tables.escapes[row])
            indices = symbols[places] - tables.offsets[row]
            outside = (indices < 0) | (indices >= escape)
            self._encoder.encode(np.where(outside, escape, indices).astype(np.int32), tables.models[row])
            if outside.any():
                self._encoder.encode(_to_bytes(symbols[places][outside]), _BYTE)

    def encode_flag(self, flag: bool) -> None:
        """Write one bit."""
        self._encoder.encode(np.array([flag], dtype=np.int32), _BIT)

    def encode_check(self) -> None:
        """Write the symbol that ends a payload and tells a reader that it read what was written."""
        self._encoder.encode(np.array([CHECK], dtype=np.int32), _BYTE)

    def finish(self) -> bytes:
        """The shortest payload that reads as what was written; bytes left off at its end read as zeros."""
        words, (lower, interval) = self._encoder.pos()
        padded = self._encoder.get_compressed().astype(">u4").tobytes().ljust(4 * (words + 2), b"\0")
        message = int.from_bytes(padded, "big")
        low = message - (message - lower) % 2**64  # pos() knows the last 64 bits alone, of which a carry may be due
        for spare in range(64, -1, -8):
            rounded = -(-low >> spare) << spare
            if rounded < low + interval:
                return rounded.to_bytes(len(padded), "big").rstrip(b"\0")
        raise AssertionError("an interval holds at least its lower end")


class RangeDecoder:
    """Reads what a `RangeEncoder` wrote. Damaged payloads give other integers or CorruptStreamError, never a crash.

    Args:
        check: the payload ends with the check symbol; without one it must be what an encoder makes of its symbols.
    """

    def __init__(self, payload: bytes, *, check: bool = True) -> None:
        self._payload, self._again = payload, None if check else RangeEncoder()
        padded = payload + bytes(-len(payload) % 4)
        self._decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(padded, dtype=">u4").astype(np.uint32))

    def decode(self, rows: Integers, tables: CodingTables) -> Integers:
        """Read one symbol per table row of `rows` [n], int32.

        Raises:
            CorruptStreamError: the payload cannot come from an encoder.
        """
        symbols = np.empty(rows.shape, dtype=np.int32)
        for row, places in _by_table(rows):
            indices = self._take(tables.models[row], len(places))
            values = indices + tables.offsets[row]
            outside = indices == tables.escapes[row]
            if outside.any():
                first = int(tables.offsets[row])
                values[outside] = self._take_escaped(int(outside.sum()), first, first + int(tables.escapes[row]))
            symbols[places] = values
        if self._again is not None:
            self._again.encode(symbols, rows, tables)
        return symbols

    def decode_flag(self) -> bool:
        """Read one bit."""
        return bool(self._take(_BIT, 1)[0])

    def finish(self) -> None:
        """Make sure that the payload ends where its symbols do.

        Raises:
            CorruptStreamError: it does not.
        """
        ends = self._take(_BYTE, 1)[0] == CHECK if self._again is None else self._again.finish() == self._payload
        if not ends:
            raise CorruptStreamError("payload is damaged: it does not end where its frames do; copy the file again")

    def _take_escaped(self, count: int, first: int, end: int) -> Integers:
        """Values that have no symbol of their own in a table for `first` to `end` - 1."""
        values = _from_bytes(self._take(_BYTE, count * _ESCAPE_BYTES))
        if int(np.abs(values).max()) > MAX_SYMBOL or ((first <= values) & (values < end)).any():
            raise CorruptStreamError("payload is damaged: an escaped value is none that an encoder writes")
        return values

    def _take(self, model: "constriction.stream.model.Model", count: int) -> Integers:
        try:
            return self._decoder.decode(model, count)
        except AssertionError as error:  # how constriction reports words that no encoder writes
            raise CorruptStreamError(f"payload is damaged: {error}; re-encode or copy the file again") from None


def _to_bytes(values: Integers) -> Integers:
    """Zigzag, then three bytes each, low byte first."""
    folded = np.where(values < 0, -2 * values - 1, 2 * values)
    return (folded[:, None] >> (8 * np.arange(_ESCAPE_BYTES)) & 0xFF).astype(np.int32).reshape(-1)


def _from_bytes(data: Integers) -> Integers:
    folded = (data.reshape(-1, _ESCAPE_BYTES) << (8 * np.arange(_ESCAPE_BYTES))).sum(1)
    return np.where(folded % 2 == 1, -(folded + 1) // 2, folded // 2).astype(np.int32)
