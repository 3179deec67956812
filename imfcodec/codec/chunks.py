"""What a packet says of its frames: chunks, and which of their frames are shown together. Needs no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from imfcodec.bitstream.packet import PacketKind, VideoPacket
from imfcodec.entropy.coder import RangeDecoder
from imfcodec.errors import CorruptStreamError
from imfcodec.models.structure import Chunk, Step, undecided


class ReadsFlags(Protocol):
    """A reader of a payload."""

    range: RangeDecoder


def read_chunk(packet: VideoPacket, before: int, reader: ReadsFlags) -> Chunk:
    """What a packet other than KEY says of its frames; reads the flags at the start of the payload."""
    golden = packet.golden or packet.kind is PacketKind.DELAY_GOLDEN
    if golden and before and packet.frame_count > 1:
        raise CorruptStreamError("a chunk with a golden frame follows token frames; copy the file again")
    chunk = Chunk(packet.frame_count, golden, before=before)
    while golden and (intervals := undecided(chunk)):
        chunk = replace(chunk, splits=(*chunk.splits, *(reader.range.decode_flag() for _ in intervals)))
    return chunk


def runs(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps in display order, by those that can be rendered together: of one role and with the same references."""
    run: list[Step] = []
    for step in steps:
        if run and (step.role, step.references) != (run[0].role, run[0].references):
            yield run
            run = []
        run.append(step)
    yield run
