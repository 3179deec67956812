"""Writes streams whose symbols are drawn, not made of pictures: every machine writes the same bytes.

Which symbols there are, and with which tables, follows from integers alone, so no floating-point number reaches a file.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import PacketKind, Quantisers, VideoPacket
from imfcodec.codec.groups import Group
from imfcodec.codec.planes import padded_size
from imfcodec.codec.quantisers import to_qindices
from imfcodec.entropy.coder import MAX_SYMBOL
from imfcodec.entropy.tables import PRECISION, Tables
from imfcodec.frames import AudioPacket, VideoFormat
from imfcodec.latents.symbols import PriorTables, SymbolWriter
from imfcodec.models.coding import Table
from imfcodec.models.executor import Executor, Known
from imfcodec.models.structure import Chunk, plan, undecided
from imfcodec.nn.picture import Picture
from imfcodec.zoo import LoadedModel
from maker.numbers import Numbers

USUAL = Quantisers(golden=140, deeper=12, token=90)
KEY_QINDEX = 170


@dataclass(frozen=True)
class Draw:
    """How symbols are drawn.

    Attributes:
        calm: so many numbers of 65536 that lead to other values are set to the middle of the table instead.
        far: escaped values lie far away, to the largest that there are; otherwise just outside the table.
    """

    calm: int = 0
    far: bool = False


class Inventor(SymbolWriter):
    """Writes symbols that it draws, each as often as its table says."""

    def __init__(self, tables: PriorTables, rows: Mapping[Table, Tables], numbers: Numbers, draw: Draw) -> None:
        super().__init__(tables)
        self._rows, self._numbers, self._draw = rows, numbers, draw

    def code(self, values: Tensor | None, rows: Tensor, table: Table) -> Tensor:
        drawn = self._invent(rows.detach().flatten().long().numpy(), self._rows[table])
        return super().code(torch.from_numpy(drawn).float().reshape(rows.shape), rows, table)

    def _invent(self, rows: np.ndarray, tables: Tables) -> np.ndarray:
        used = np.arange(tables.cdf.shape[1]) < tables.lengths[:, None]
        bounds = np.where(used, tables.cdf, 1 << PRECISION + 1)[rows]
        words, spare = self._numbers.words(len(rows)), self._numbers.words(len(rows))
        words = np.where(spare < self._draw.calm, (1 << PRECISION) // 2, words)
        indices = (bounds <= words[:, None]).sum(1) - 1
        first, escape = tables.offsets[rows].astype(np.int64), tables.lengths[rows] - 2
        distance = spare * (MAX_SYMBOL >> PRECISION) if self._draw.far else spare & 3
        outside = np.where(spare & 4, first + escape + distance, first - 1 - distance)
        return np.where(indices == escape, np.clip(outside, -MAX_SYMBOL, MAX_SYMBOL), first + indices)


class Studio:
    """Writes one stream, packet by packet.

    Args:
        name: of the stream; its symbols are drawn by it.
        model, rows: the model and its tables.
        settings: of the header, see `make_header`; `draw` says how symbols are drawn.
    """

    def __init__(
        self, name: str, model: LoadedModel, rows: Mapping[Table, Tables], draw: Draw = Draw(), **settings: object
    ) -> None:
        self.header = make_header(model.model_id, **settings)
        self._model, self._rows, self._draw = model, rows, draw
        self._numbers = Numbers(name)
        self._sink = io.BytesIO()
        self._writer = StreamWriter(self._sink, self.header)
        self._last_pts = self.header.first_pts - self.header.nominal_ticks
        self._usual = USUAL
        self._group: Group[Known] | None = None
        width, height = padded_size(self.header.format.width, self.header.format.height)
        self._like = Picture(torch.zeros(1, 1, height, width), torch.zeros(1, 2, height // 2, width // 2))

    def key(self, qindex: int = KEY_QINDEX, usual: Quantisers = USUAL, steps: Sequence[int] = ()) -> None:
        """A KEY packet; `steps` are the distances of time stamps, in a stream of variable rate."""
        executor, writer = self._open()
        with torch.inference_mode():
            self._group = Group.open(executor.key(torch.tensor([qindex]), self._like, None))
        self._usual = usual
        payload = writer.finish(check=True)
        self._write(VideoPacket(PacketKind.KEY, 1, self._times(1, steps), payload, usual, key_qindex=qindex))

    def chunk(self, frames: int, splits: str = "", steps: Sequence[int] = (), **own: int) -> None:
        """A CHUNK packet with a golden frame; `splits` are its bits, zeros at the end left off."""
        self._video(PacketKind.CHUNK, _chunk_with_golden(frames, splits, self._before), steps, own)

    def tail(self, frames: int, steps: Sequence[int] = (), **own: int) -> None:
        """A CHUNK packet of token frames."""
        self._video(PacketKind.CHUNK, Chunk(frames, False, before=self._before), steps, own)

    def golden(self, steps: Sequence[int] = (), **own: int) -> None:
        """A DELAY_GOLDEN packet."""
        self._video(PacketKind.DELAY_GOLDEN, Chunk(1, True, before=self._before), steps, own)

    def token(self, steps: Sequence[int] = (), **own: int) -> None:
        """A DELAY_TOKEN packet."""
        self._video(PacketKind.DELAY_TOKEN, Chunk(1, False, before=self._before), steps, own)

    def sound(self, *packets: tuple[int, int, bytes]) -> None:
        """Sound packets: time stamp, duration, data."""
        self._writer.write_audio([AudioPacket(*packet) for packet in packets])

    def finish(self, last_duration: int | None = None) -> bytes:
        """The stream; a second call gives the same."""
        self._writer.close(last_duration)
        return self._sink.getvalue()

    @property
    def _before(self) -> int:
        assert self._group is not None, "a stream starts with a key frame"
        return self._group.before

    def _open(self) -> tuple[Executor, Inventor]:
        writer = Inventor(self._model.tables, self._rows, self._numbers, self._draw)
        return Executor(self._model.network, writer), writer

    def _video(self, kind: PacketKind, chunk: Chunk, steps: Sequence[int], own: Mapping[str, int]) -> None:
        group, quantisers = self._group, replace(self._usual, **own)
        assert group is not None, "a stream starts with a key frame"
        executor, writer = self._open()
        writer.flags = chunk.splits
        with torch.inference_mode():
            for level in plan(chunk):
                executor.run(level, group.known, to_qindices(quantisers, self._model.device), None)
            group.pass_over(executor, chunk)
        payload = writer.finish(check=kind is not PacketKind.DELAY_TOKEN)
        golden = chunk.golden and kind is PacketKind.CHUNK
        self._write(VideoPacket(kind, chunk.length, self._times(chunk.length, steps), payload, quantisers, golden))

    def _times(self, count: int, steps: Sequence[int]) -> tuple[int, ...]:
        if not self.header.variable_rate:
            return self.header.pts_from(self._writer.total_frames, count)
        steps = [*steps, *[self.header.nominal_ticks] * (count - len(steps))]
        return tuple(self._last_pts + int(sum(steps[: n + 1])) for n in range(count))

    def _write(self, packet: VideoPacket) -> None:
        self._last_pts = packet.pts[-1]
        self._writer.write_video(packet)


def _chunk_with_golden(frames: int, splits: str, before: int) -> Chunk:
    """A chunk with the splits given as bits, the ones left off being 0."""
    chunk, given = Chunk(frames, True, before=before), iter(splits)
    while intervals := undecided(chunk):
        chunk = replace(chunk, splits=(*chunk.splits, *(next(given, "0") == "1" for _ in intervals)))
    assert next(given, None) is None, f"{splits} are too many splits for {frames} frames"
    return chunk


def make_header(model_id: bytes, size: tuple[int, int] = (64, 64), **settings: object) -> StreamHeader:
    """A header; `settings` are fields of VideoFormat or StreamHeader. 25 frames a second where they say nothing."""
    video = {"frame_rate": Fraction(25), "time_base": Fraction(1, 25)}
    names = VideoFormat.__dataclass_fields__
    video |= {name: value for name, value in settings.items() if name in names}
    rest = {name: value for name, value in settings.items() if name not in names}
    return StreamHeader(VideoFormat(*size, **video), model_id, **rest)
