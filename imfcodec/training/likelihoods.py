"""Rate estimation: CompressAI's likelihoods, and the symbol coder of training."""

import torch
from compressai.entropy_models import EntropyBottleneck
from torch import Tensor

from imfcodec.models.coding import SCALE_MIN, SCALE_RATIO, Table
from imfcodec.nn.quantize import round_through
from imfcodec.training.tables import SymbolCounts, code_length, tail_scale

LEAST_LIKELY = 1e-9  # bounds the code length of one symbol of z at 30 bits
USUAL_BITS = 1000.0  # of a frame or crop whose symbols are counted once each
TAIL_REACH = 60.0  # scales of the tail (float32 holds no more); beyond, the slope of the code length stays


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

    def _lengths(self, values: Tensor, symbols: Tensor, index: Tensor) -> Tensor:
        scales = torch.exp(index * SCALE_RATIO) * SCALE_MIN
        distance = values.abs()
        with torch.no_grad():
            below = torch.minimum(distance, TAIL_REACH * tail_scale(scales)).floor()
            slope = code_length(below + 1, scales) - code_length(below, scales)
        line = distance * slope
        reached = torch.minimum(symbols.detach().abs(), (TAIL_REACH + 1) * tail_scale(scales).detach())
        return code_length(reached, scales) + (line - line.detach())
