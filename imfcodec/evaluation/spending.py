"""Where our bits go over time: those of each packet and frame, by what they tell the decoder, read off a stream."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imfcodec.bitstream.container import StreamReader
from imfcodec.bitstream.packet import PacketKind, VideoPacket
from imfcodec.codec.decoder import Decoder
from imfcodec.frames import Frame
from imfcodec.models.executor import Part
from imfcodec.models.structure import Step
from imfcodec.zoo import LoadedModel, load_model

PARTS = ("key", "latent", "golden_token", "token", "other")
KEY, GOLDEN, TOKEN = KINDS = ("key", "golden", "token")


@dataclass(frozen=True)
class FrameSpending:
    """What one frame costs.

    Attributes:
        kind: one of KINDS.
        bits: of its symbols, which frames that are coded together share evenly, and of the rest of its packet.
        qindex: quantiser index 0..255, higher is finer.
    """

    kind: str
    bits: float
    qindex: int


@dataclass(frozen=True)
class PacketSpending:
    """What one video packet costs.

    Attributes:
        parts: the bits of PARTS; "other" is all else in the packet.
        frames: in display order.
    """

    parts: dict[str, float]
    frames: tuple[FrameSpending, ...]


def spending_of_packets(reader: StreamReader, model: LoadedModel) -> Iterator[tuple[PacketSpending, list[Frame]]]:
    """Decode a stream packet by packet: what each costs, and its frames."""
    account = _Account()
    decoder = Decoder(model, reader.header, account.note)
    for record in reader.records():
        if isinstance(record.item, VideoPacket):
            frames = list(decoder.decode(iter([record.item])))
            yield account.close(record.item, record.size), frames


def spending_over_time(stream: bytes) -> list[dict[str, float]]:
    """Bits of every video packet of a stream; decodes it.

    Args:
        stream: an .imf file without sound, made by the default model.
    Returns:
        For each packet "start" and "duration" in seconds and the bits of PARTS: a key frame; y of golden frames; their
        tokens; tokens of token frames; all else in the packet. The first packet's "other" includes the stream's header
        and end, so that all bits are those of the file.
    """
    reader = StreamReader(io.BytesIO(stream))
    seconds = float(1 / reader.header.format.frame_rate)
    rows: list[dict[str, float]] = []
    frame = 0
    for spending, frames in spending_of_packets(reader, load_model()):
        rows.append({"start": frame * seconds, "duration": len(frames) * seconds, **spending.parts})
        frame += len(frames)
    add_outside(rows, 8 * len(stream))
    return rows


def add_outside(rows: Sequence[dict[str, float]], bits: float) -> None:
    """Have the first packet's "other" include what no packet holds of so many bits in all."""
    rows[0]["other"] += bits - sum(row[part] for row in rows for part in PARTS)


class _Account:
    """Collects what the decoder tells of one packet."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._parts = dict.fromkeys(PARTS, 0.0)
        self._bits: dict[int, float] = {}
        self._steps: dict[int, Step] = {}

    def note(self, steps: Sequence[Step], part: Part, bits: Any) -> None:
        """Take down the bits of some steps; see `models.executor.Observer`."""
        self._parts[_part(steps, part)] += bits
        for step in steps:
            self._steps[step.position] = step
            self._bits[step.position] = self._bits.get(step.position, 0.0) + bits / len(steps)

    def close(self, packet: VideoPacket, size: int) -> PacketSpending:
        """Add up a packet of `size` bytes, and begin the next."""
        parts, steps, bits = self._parts, self._steps, self._bits
        self._begin()
        parts["other"] = 8 * size - sum(parts.values())
        share = parts["other"] / packet.frame_count
        if packet.kind is PacketKind.KEY:
            return PacketSpending(parts, (FrameSpending(KEY, parts["key"] + share, packet.key_qindex),))
        frames = [_frame(steps[position], bits[position] + share, packet) for position in sorted(steps)]
        return PacketSpending(parts, tuple(frames))


def _frame(step: Step, bits: float, packet: VideoPacket) -> FrameSpending:
    if not step.latent:
        return FrameSpending(TOKEN, bits, packet.quantisers.token)
    return FrameSpending(GOLDEN, bits, max(0, packet.quantisers.golden - step.depth * packet.quantisers.deeper))


def _part(steps: Sequence[Step], part: Part) -> str:
    if not steps:
        return "key"
    if part is Part.LATENT:
        return "latent"
    return "golden_token" if steps[0].latent else "token"
