"""How priors and coders speak: sets of symbols, what both sides know before them, integer contexts."""

import math
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.models.roles import Role, Table
from imfcodec.nn.quantize import ACTIVATION_UNIT

SCALE_LEVELS = 64
SCALE_MIN, SCALE_MAX = 0.11, 64.0
SCALE_RATIO = math.log(SCALE_MAX / SCALE_MIN) / (SCALE_LEVELS - 1)
INDEX_GAIN, INDEX_START = 8.0, 8.0  # table index of an integer network's output o: 8 o + 8


class SymbolCoder(Protocol):
    """Takes sets of symbols in coding order: writes, reads or estimates them."""

    def code(self, values: Tensor | None, rows: Tensor, table: Table) -> Tensor:
        """Code round(values), each with row `rows` of a group of tables.

        Args:
            values: float32, any shape with the batch first, in quantisation steps, mean taken off; None when reading.
            rows: float32 of the same shape, whole numbers.
        Returns:
            The rounded values, float32.
        """
        ...

    def take_bits(self) -> float | Tensor:
        """Bits of what was coded since the last call: of all of it, or float32 [B] where the coder estimates."""
        ...


class Condition(NamedTuple):
    """What both sides know before any symbol of a batch of frames.

    Attributes:
        role: int64 [B], see `Role`.
        qindex: int64 [B], quantiser index 0..255.
    """

    role: Tensor
    qindex: Tensor

    def planes(self, height: int, width: int) -> Tensor:
        """Integer-network inputs [B, 4, height, width]: quantiser index, then the role one-hot."""
        qindex = (self.qindex // 2).float() / ACTIVATION_UNIT
        one_hot = F.one_hot(self.role, len(Role)).float() * 2
        return torch.cat([qindex[:, None], one_hot], 1)[:, :, None, None].expand(-1, -1, height, width)


CONDITION_PLANES = 1 + len(Role)


def scale_indices(output: Tensor) -> Tensor:
    """Table rows, whole float32 numbers in 0..63, from an integer network's output; gradient passes through."""
    index = (output * INDEX_GAIN + INDEX_START).clamp(0, SCALE_LEVELS - 1)
    return index + (index.round() - index).detach()


def magnitude(symbols: Tensor, limit: int) -> Tensor:
    """Magnitudes of symbols as context of later ones, whole numbers 0..limit, float32."""
    return symbols.detach().abs().clamp(max=limit)
