"""Symbols that are coded only where they are worth their bits: less is spent where a picture counts less.

Nothing of this is known to a decoder; it reads what was chosen.
"""

import math

import torch
from torch import Tensor

from imfcodec.latents.estimate import CodeLengths
from imfcodec.models.coding import SymbolCoder, Table
from imfcodec.models.latent_prior import take_places

BIT_WORTH = math.log(2) / 6
"""Squared error, in quantisation steps, that a bit is worth (`nn.quantize.bit_price`)."""


class SparingCoder:
    """The `SymbolCoder` of one y: takes its value rounded, one nearer to zero or zero, whichever costs least.

    What costs is code length, and squared error as far as the place counts; where that is 1, rounded values stay.

    Args:
        coder: takes what was chosen.
        lengths: of the tables of y.
        weights: how much each place counts, float32 [B, 1, H / 16, W / 16], above 0 and up to 1.
    """

    def __init__(self, coder: SymbolCoder, lengths: CodeLengths, weights: Tensor) -> None:
        self._coder, self._lengths = coder, lengths
        self._prices = BIT_WORTH * (1 / weights - 1)
        self._passes = 0

    def code(self, values: Tensor | None, rows: Tensor, table: Table) -> Tensor:
        assert values is not None, "what is to be coded"
        if table is Table.GAUSSIAN:
            batch, channels = values.shape[:2]
            prices = take_places(self._prices.expand(batch, channels, -1, -1), self._passes)
            self._passes += 1
            values = self._choose(values, rows, prices)
        return self._coder.code(values, rows, table)

    def take_bits(self) -> float | Tensor:
        """As the coder beneath counts them."""
        return self._coder.take_bits()

    def _choose(self, values: Tensor, rows: Tensor, prices: Tensor) -> Tensor:
        """The cheapest symbols where bits have a price, the values elsewhere; the gradient is that of the values."""
        exact, numbers = values.detach().float(), rows.detach().round().long()
        rounded = exact.round()
        candidates = torch.stack([rounded, rounded - rounded.sign(), torch.zeros_like(rounded)])
        costs = torch.stack([(exact - c).square() + prices * self._lengths.of(c, numbers) for c in candidates])
        chosen = candidates.gather(0, costs.argmin(0, keepdim=True))[0]
        return values + torch.where(prices > 0, chosen - exact, torch.zeros_like(exact))
