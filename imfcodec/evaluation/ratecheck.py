"""Do the tables fit the likelihoods? Bits of real payloads beside those that training counts for the same symbols."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from imfcodec.codec.encoder import Encoder, EncoderSettings
from imfcodec.latents.symbols import PriorTables, SymbolWriter
from imfcodec.models.prior import HyperPrior
from imfcodec.models.rate import RateEstimator
from imfcodec.video.reader import open_clip
from imfcodec.zoo import LoadedModel


@dataclass(frozen=True)
class RateCheck:
    """Rate of the packets of one clip, headers left out.

    Attributes:
        estimated_bits: by CompressAI's likelihoods of the symbols.
        coded_bits: whole payloads, 8 for each byte.
        termination_bits: the part of `coded_bits` that only brings each range-coded message to its end.
    """

    estimated_bits: float
    coded_bits: int
    termination_bits: float

    @property
    def difference(self) -> float:
        """Coded bits over estimated ones, less 1."""
        return self.coded_bits / self.estimated_bits - 1


class CountingWriter(SymbolWriter):
    """Codes symbols into a payload, and estimates what each of them takes."""

    def __init__(self, tables: PriorTables, device: torch.device) -> None:
        super().__init__(tables)
        self._estimator = RateEstimator(1, device, rounded=True)

    @property
    def estimated_bits(self) -> float:
        """Bits of the symbols so far, by their likelihoods."""
        return float(self._estimator.bits)

    def gaussian(self, values: Tensor | None, index: Tensor) -> Tensor:
        symbols = super().gaussian(values, index)
        self._estimator.gaussian(symbols.reshape(1, -1), index.reshape(1, -1))  # frames share one payload
        return symbols

    def hyper(self, bottleneck: HyperPrior, values: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        self._estimator.hyper(bottleneck, values, shape)
        return super().hyper(bottleneck, values, shape)


def check_rates(model: LoadedModel, clip: Path, quality: int, frame_limit: int) -> RateCheck:
    """Encode the first frames of a clip, estimating the rate of every symbol that is coded.

    Args:
        model: loaded with its likelihoods.
        quality: 0..100.
    Raises:
        InputError: the clip cannot be read.
    """
    writers: list[SymbolWriter] = []
    encoder = Encoder(
        model,
        EncoderSettings(quality),
        open_writer=lambda tables: CountingWriter(tables, model.device),
        keep=writers.append,
    )
    with open_clip(clip, audio=False) as source:
        packets = encoder.encode(itertools.islice(source.frames(), frame_limit))
        coded = 8 * sum(len(packet.payload) for packet in packets)
    return RateCheck(
        estimated_bits=sum(writer.estimated_bits for writer in writers if isinstance(writer, CountingWriter)),
        coded_bits=coded,
        termination_bits=coded - sum(writer.range.bits for writer in writers),
    )
