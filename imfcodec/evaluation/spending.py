"""Where our bits go over time: those of each packet, by what they tell the decoder."""

import io
from collections.abc import Sequence

from torch import Tensor

from imfcodec.bitstream.container import StreamReader
from imfcodec.bitstream.packet import PacketKind, VideoPacket
from imfcodec.codec.encoder import Encoder, EncoderSettings
from imfcodec.frames import Frame
from imfcodec.latents.symbols import PriorTables, SymbolWriter
from imfcodec.models.prior import HyperPrior
from imfcodec.zoo import load_model

PARTS = ("key", "golden", "g", "u", "y", "other")


class PartWriter(SymbolWriter):
    """Codes symbols, and keeps account of them.

    Attributes:
        spent: "g", "u" or "y" and the bits of each set of symbols, in coding order.
    """

    def __init__(self, tables: PriorTables) -> None:
        super().__init__(tables)
        self.spent: list[tuple[str, float]] = []

    def gaussian(self, values: Tensor | None, index: Tensor) -> Tensor:
        before = self.range.bits
        symbols = super().gaussian(values, index)
        self.spent.append((_part(index), self.range.bits - before))
        return symbols

    def hyper(self, bottleneck: HyperPrior, values: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        before = self.range.bits
        symbols = super().hyper(bottleneck, values, shape)
        self.spent.append(("y", self.range.bits - before))
        return symbols


def spending_over_time(stream: bytes, frames: Sequence[Frame], quality: int) -> list[dict[str, float]]:
    """Bits of every video packet of a stream; encodes the frames again.

    Args:
        stream: an .imf file without sound, made of `frames` by the default model.
        frames: pictures of one size, as they were encoded.
        quality: 0..100, as they were encoded.
    Returns:
        For each packet "start" and "duration" in seconds and the bits of PARTS: a key frame; a golden frame with its
        token; g, u and y (with its hyper-latent) of the token frames; all else in the packet. The first packet's
        "other" includes the stream's header and end, so that all bits are those of the file.
    """
    writers: list[SymbolWriter] = []
    encoder = Encoder(load_model(), EncoderSettings(quality), open_writer=PartWriter, keep=writers.append)
    packets = list(encoder.encode(iter(frames)))
    reader = StreamReader(io.BytesIO(stream))
    sizes = [record.size for record in reader.records() if isinstance(record.item, VideoPacket)]
    sizes[0] += len(stream) - sum(sizes)
    seconds = float(1 / reader.header.format.frame_rate)
    rows, frame = [], 0
    for packet, size, writer in zip(packets, sizes, writers, strict=True):
        assert isinstance(writer, PartWriter)
        parts = _sum_parts(packet, writer.spent)
        parts["other"] = 8 * size - sum(parts.values())
        rows.append({"start": frame * seconds, "duration": packet.frame_count * seconds, **parts})
        frame += packet.frame_count
    return rows


def _part(index: Tensor) -> str:
    """What a set of symbols belongs to: y comes flattened, pass by pass; u as a grid, g without places."""
    if index.ndim == 3:
        return "y"
    return "g" if index.shape[-2:] == (1, 1) else "u"


def _sum_parts(packet: VideoPacket, spent: Sequence[tuple[str, float]]) -> dict[str, float]:
    whole = {PacketKind.KEY: "key", PacketKind.DELAY_GOLDEN: "golden"}.get(packet.kind)
    parts = dict.fromkeys(PARTS, 0.0)
    in_golden, before = packet.golden, ""
    for part, bits in spent:
        # A chunk's golden frame comes first and ends with y; its token frames begin with u.
        in_golden = in_golden and (before, part) != ("y", "u")
        parts[whole or ("golden" if in_golden else part)] += bits
        before = part
    return parts
