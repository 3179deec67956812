"""Tensors to coded symbols and back: the writing and the reading `SymbolCoder` of the priors."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from imfcodec.entropy.coder import MAX_SYMBOL, CodingTables, Integers, RangeDecoder, RangeEncoder
from imfcodec.errors import SymbolRangeError
from imfcodec.models.coding import Table

PriorTables: TypeAlias = Mapping[Table, CodingTables]
"""The tables of a model: 64 Gaussian rows, one a scale, and one hyper row a channel of z."""


def _to_integers(values: Tensor) -> Integers:
    rounded = values.detach().round().flatten().cpu()
    if not bool(torch.isfinite(rounded).all()) or (rounded.numel() and float(rounded.abs().max()) > MAX_SYMBOL):
        raise SymbolRangeError(f"a latent is not finite or exceeds {MAX_SYMBOL} quantisation steps")
    return rounded.numpy().astype(np.int32)


class SymbolWriter:
    """Keeps the symbols of one packet until all decisions are taken, then writes its payload.

    Attributes:
        flags: of the packet, written before all symbols.
    """

    def __init__(self, tables: PriorTables) -> None:
        self.flags: tuple[bool, ...] = ()
        self._tables = tables
        self._sets: list[tuple[Integers, Integers, CodingTables]] = []
        self._bits = 0.0

    def code(self, values: Tensor | None, rows: Tensor, table: Table) -> Tensor:
        assert values is not None
        symbols, numbers, tables = _to_integers(values), _to_integers(rows), self._tables[table]
        self._sets.append((symbols, numbers, tables))
        self._bits += tables.information(symbols, numbers)
        return values.round()

    def take_bits(self) -> float:
        """Information content of the symbols since the last call, bits."""
        bits, self._bits = self._bits, 0.0
        return bits

    def finish(self, *, check: bool) -> bytes:
        """The payload.

        Args:
            check: ends with the check symbol (SPEC.md, "Range coder").
        """
        encoder = RangeEncoder()
        for flag in self.flags:
            encoder.encode_flag(flag)
        for symbols, rows, tables in self._sets:
            encoder.encode(symbols, rows, tables)
        if check:
            encoder.encode_check()
        return encoder.finish()


class SymbolReader:
    """Reads symbols from one payload, in the order in which they were written.

    Args:
        count: keeps account of their bits.
        check: the payload ends with the check symbol.
    """

    def __init__(self, tables: PriorTables, payload: bytes, *, count: bool = False, check: bool = True) -> None:
        self.range = RangeDecoder(payload, check=check)
        self._tables, self._count = tables, count
        self._bits = 0.0

    def code(self, values: Tensor | None, rows: Tensor, table: Table) -> Tensor:
        numbers, tables = _to_integers(rows), self._tables[table]
        symbols = self.range.decode(numbers, tables)
        if self._count:
            self._bits += tables.information(symbols, numbers)
        return torch.from_numpy(symbols.astype(np.float32)).reshape(rows.shape).to(rows.device)

    def take_bits(self) -> float:
        """Information content of the symbols since the last call, bits; 0 where nobody counts."""
        bits, self._bits = self._bits, 0.0
        return bits
