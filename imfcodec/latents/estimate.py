"""What symbols would cost by a model's integer tables, with a slope to follow: the `SymbolCoder` of searches.

Training estimates from distributions (`training.likelihoods`), since its tables are made last; here they are given.
"""

import torch
from torch import Tensor

from imfcodec.entropy.coder import CodingTables
from imfcodec.latents.symbols import PriorTables
from imfcodec.models.coding import Table


class CodeLengths:
    """Code lengths of one group of tables, for tensors."""

    def __init__(self, tables: CodingTables, device: torch.device) -> None:
        self._bits = torch.from_numpy(tables.lengths).float().to(device)
        self._offsets = torch.from_numpy(tables.offsets).to(device).long()
        self._escapes = torch.from_numpy(tables.escapes).to(device).long()

    def of(self, symbols: Tensor, rows: Tensor) -> Tensor:
        """Bits of whole numbers, float32; what no table reaches costs an escape."""
        escapes = self._escapes[rows]
        indices = symbols.long() - self._offsets[rows]
        return self._bits[rows, torch.where((indices < 0) | (indices > escapes), escapes, indices)]


class SymbolEstimator:
    """Counts the bits its symbols would take, differentiably, each sample for itself.

    The value is the code length of the rounded symbol. Its gradient is that of the expected code length when a value
    is rounded up or down at random in proportion to where it lies: the slope between its two neighbouring integers.

    Attributes:
        hardness: how far values are moved to their integers, 0..1; what is estimated is what is coded at 1.
    """

    def __init__(self, tables: PriorTables, device: torch.device) -> None:
        self.hardness = 1.0
        self._lengths = {table: CodeLengths(tables[table], device) for table in Table}
        self._bits: Tensor | float = 0.0

    def code(self, values: Tensor | None, rows: Tensor, table: Table) -> Tensor:
        assert values is not None, "what is to be coded"
        lengths, numbers = self._lengths[table], rows.detach().round().long()
        with torch.autocast(values.device.type, enabled=False):
            rounded, below = values.detach().round(), values.detach().floor()
            line = values * (lengths.of(below + 1, numbers) - lengths.of(below, numbers))
            bits = lengths.of(rounded, numbers) + (line - line.detach())
        self._bits = self._bits + bits.flatten(1).sum(1)
        return values + self.hardness * (rounded - values.detach())

    def take_bits(self) -> Tensor:
        """Bits of each sample since the last call, float32 [B]."""
        bits, self._bits = self._bits, 0.0
        assert isinstance(bits, Tensor), "something was coded"
        return bits
