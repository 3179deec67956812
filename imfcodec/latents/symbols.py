"""Tensors to coded symbols and back: the writing and the reading `SymbolCoder` of the priors."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imfcodec.entropy.coder import MAX_SYMBOL, CodingTables, Integers, RangeDecoder, RangeEncoder
from imfcodec.errors import SymbolRangeError
from imfcodec.models.prior import HyperPrior


@dataclass(frozen=True)
class PriorTables:
    """The tables of a model.

    Attributes:
        gaussian: 64 rows, one a scale.
        hyper: one row a channel of z.
    """

    gaussian: CodingTables
    hyper: CodingTables


def _to_integers(values: Tensor) -> Integers:
    rounded = values.detach().round().flatten().cpu()
    if not bool(torch.isfinite(rounded).all()) or (rounded.numel() and float(rounded.abs().max()) > MAX_SYMBOL):
        raise SymbolRangeError(f"a latent is not finite or exceeds {MAX_SYMBOL} quantisation steps")
    return rounded.numpy().astype(np.int32)


def _channel_rows(shape: tuple[int, ...]) -> Integers:
    """Table row of every element of [B, C, h, w]: its channel."""
    return np.broadcast_to(np.arange(shape[1], dtype=np.int32)[None, :, None, None], shape).reshape(-1)


class SymbolWriter:
    """Codes symbols into one payload."""

    def __init__(self, tables: PriorTables) -> None:
        self.range = RangeEncoder()
        self._tables = tables

    def gaussian(self, values: Tensor | None, index: Tensor) -> Tensor:
        assert values is not None
        self.range.encode(_to_integers(values), _to_integers(index), self._tables.gaussian)
        return values.round()

    def hyper(self, bottleneck: HyperPrior, values: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        assert values is not None
        centred = (values - bottleneck.quantiles[:, 0, 1][:, None, None]).round()
        self.range.encode(_to_integers(centred), _channel_rows(shape), self._tables.hyper)
        return centred


class SymbolReader:
    """Reads symbols from one payload, in the order in which they were written."""

    def __init__(self, tables: PriorTables, payload: bytes) -> None:
        self.range = RangeDecoder(payload)
        self._tables = tables

    def gaussian(self, values: Tensor | None, index: Tensor) -> Tensor:
        symbols = self.range.decode(_to_integers(index), self._tables.gaussian)
        return torch.from_numpy(symbols.astype(np.float32)).reshape(index.shape).to(index.device)

    def hyper(self, bottleneck: HyperPrior, values: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        symbols = self.range.decode(_channel_rows(shape), self._tables.hyper)
        return torch.from_numpy(symbols.astype(np.float32)).reshape(shape).to(bottleneck.quantiles.device)
