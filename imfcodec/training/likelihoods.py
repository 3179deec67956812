"""Rate estimation: CompressAI's likelihoods, and the symbol coder of training."""

import functools
from typing import NamedTuple

import torch
from compressai.entropy_models import EntropyBottleneck
from torch import Tensor

from imfcodec.models.coding import SCALE_LEVELS, SCALE_MIN, SCALE_RATIO, Table
from imfcodec.nn.quantize import round_through
from imfcodec.training.tables import SymbolCounts, code_length, tail_scale

LEAST_LIKELY = 1e-9  # bounds the code length of one symbol of z at 30 bits
USUAL_BITS = 1000.0  # of a frame or crop whose symbols are counted once each
TAIL_REACH = 60.0  # scales of the tail (float32 holds no more); beyond, the slope of the code length stays
FARTHEST = 4096  # magnitude of a symbol beyond which its code length stays
ROW_SHIFT = 1e-3  # for the derivative by the row


class RateEstimator:
    """A `SymbolCoder` that counts the bits its symbols would take, differentiably.

    The value is the code length of the rounded symbol. Its gradient, to the value that was rounded, is that of the
    expected code length when it is rounded up or down at random in proportion to where it lies: the slope of the line
    between the code lengths of both neighbouring integers. It tells which way is cheaper even inside a step, which the
    likelihood of the rounded symbol alone does not.

    Args:
        bottleneck: factorised prior of z.
        counts: counts the symbols, for tables to be fitted to: those of each frame by the inverse of its bits, as low
            rates weigh no less than high ones in the loss either.
    """

    def __init__(self, bottleneck: EntropyBottleneck, counts: SymbolCounts | None = None) -> None:
        self._counts = counts
        self._waiting: list[tuple[Tensor, Tensor, Table]] = []
        self._bits: Tensor | None = None
        self._bottleneck = bottleneck

    def code(self, values: Tensor | None, rows: Tensor, table: Table) -> Tensor:
        assert values is not None
        with torch.autocast(values.device.type, enabled=False):
            symbols = round_through(values)
            lengths = self._hyper(values) if table is Table.HYPER else self._lengths(values, symbols, rows)
        if self._counts is not None:
            self._waiting.append((symbols.detach(), rows.detach(), table))
        bits = lengths.flatten(1).sum(1)
        self._bits = bits if self._bits is None else self._bits + bits
        return symbols

    def take_bits(self) -> Tensor:
        """Bits of each sample since the last call, float32 [B]."""
        bits, self._bits = self._bits, None
        assert bits is not None, "something was coded"
        for symbols, rows, table in self._waiting:
            assert self._counts is not None, "symbols wait for it"
            self._counts.add(symbols, rows, table, USUAL_BITS / bits.clamp_min(1))
        self._waiting.clear()
        return bits

    def _hyper(self, values: Tensor) -> Tensor:
        """z is trained with noise in place of rounding: nearly all of it is small, where a rounded one has no slope."""
        _, likelihood = self._bottleneck(values, training=torch.is_grad_enabled())
        return -likelihood.clamp_min(LEAST_LIKELY).log2()

    def _lengths(self, values: Tensor, symbols: Tensor, rows: Tensor) -> Tensor:
        """Looked up: error functions and their gradients would take a tenth of a training step."""
        tables, distance = _length_tables(values.device), values.abs()
        with torch.no_grad():
            row = rows.long() * (FARTHEST + 1)
            symbol = row + symbols.abs().clamp(max=FARTHEST).long()
            bits, by_row = tables.bits[symbol], tables.by_row[symbol]
            slope = tables.slope[row + distance.clamp(max=FARTHEST).long()]
        line = distance * slope + rows * by_row
        return bits + (line - line.detach())


class _LengthTables(NamedTuple):
    """Code lengths of magnitudes 0..FARTHEST with every row, float32 [SCALE_LEVELS * (FARTHEST + 1)].

    Attributes:
        bits: of the magnitude.
        slope: bits that the next magnitude takes more.
        by_row: derivative of `bits` by the row.
    """

    bits: Tensor
    slope: Tensor
    by_row: Tensor


@functools.lru_cache
def _length_tables(device: torch.device) -> _LengthTables:
    with torch.inference_mode(False):
        magnitudes = torch.arange(FARTHEST + 1, dtype=torch.float64)

        def lengths(shift: float, ahead: int) -> Tensor:
            scales = SCALE_MIN * torch.exp((torch.arange(SCALE_LEVELS, dtype=torch.float64) + shift) * SCALE_RATIO)
            reach = (TAIL_REACH * tail_scale(scales)).floor()
            return code_length(
                torch.minimum(magnitudes, reach[:, None]) + ahead, scales[:, None].expand(-1, FARTHEST + 1)
            )

        bits = lengths(0, 0)
        by_row = (lengths(ROW_SHIFT, 0) - lengths(-ROW_SHIFT, 0)) / (2 * ROW_SHIFT)
        tables = _LengthTables(bits, lengths(0, 1) - bits, by_row)
        return _LengthTables(*(table.flatten().float().to(device) for table in tables))
