"""Where our bits go over time: those of each packet, by what they tell the decoder, read off a stream."""

import io
from collections.abc import Sequence

from imfcodec.bitstream.container import StreamReader
from imfcodec.bitstream.packet import VideoPacket
from imfcodec.codec.decoder import Decoder
from imfcodec.models.executor import Part
from imfcodec.models.structure import Step
from imfcodec.zoo import load_model

PARTS = ("key", "latent", "golden_token", "token", "other")


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
    records = [(record.item, record.size) for record in reader.records() if isinstance(record.item, VideoPacket)]
    outside = len(stream) - sum(size for _, size in records)
    seconds = float(1 / reader.header.format.frame_rate)
    spent: dict[str, float] = {}

    def observe(steps: Sequence[Step], part: Part, bits: float) -> None:
        name = _part(steps, part)
        spent[name] = spent.get(name, 0.0) + bits

    rows: list[dict[str, float]] = []
    frame = 0
    decoder = Decoder(load_model(), reader.header, observe)
    for packet, size in records:
        spent.clear()
        for _ in decoder.decode(iter([packet])):
            pass
        parts = {name: spent.get(name, 0.0) for name in PARTS}
        parts["other"] = 8 * (size + (0 if rows else outside)) - sum(parts.values())
        rows.append({"start": frame * seconds, "duration": packet.frame_count * seconds, **parts})
        frame += packet.frame_count
    return rows


def _part(steps: Sequence[Step], part: Part) -> str:
    if not steps:
        return "key"
    if part is Part.LATENT:
        return "latent"
    return "golden_token" if steps[0].latent else "token"
