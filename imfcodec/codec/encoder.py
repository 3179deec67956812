"""Frames to packets."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from imfcodec.bitstream.packet import MAX_CHUNK_FRAMES, PacketKind, Quantisers, VideoPacket
from imfcodec.codec.analysis import ChunkTrial, is_scene_cut, squared_error
from imfcodec.codec.decoder import shown
from imfcodec.codec.groups import Group, to_qindices
from imfcodec.codec.planes import to_frames, to_picture
from imfcodec.codec.settings import EncoderSettings
from imfcodec.frames import Frame
from imfcodec.latents.symbols import SymbolWriter
from imfcodec.models.executor import Executor, Observer
from imfcodec.models.structure import Chunk, golden_levels, plan, undecided
from imfcodec.nn.picture import Picture
from imfcodec.nn.quantize import QINDEX_LEVELS
from imfcodec.zoo import LoadedModel

QUALITY_DROP_DB = 5.0  # a golden frame this much worse than its group's key frame asks for a new key frame
# Frames, by structure; until then decodes in float32 and bfloat16 drift apart by less than a level on average.
LONGEST_GROUP = {"offline": 1000, "low-delay": 250}
SHORTEST_CHUNK = 4  # frames, where their number is chosen by rate and distortion
SHORTENING_GAIN = 1.4  # by which fewer frames must pay, as golden frames inside a chunk are not all counted
SHORT_TAIL = 2  # a rest of so few frames is sent as token frames below quality TAIL_BELOW
TAIL_BELOW = 40


@dataclass(frozen=True)
class OperatingPoint:
    """What a quality stands for.

    Attributes:
        key: quantiser index of key frames, 0..255.
        quantisers: those of the other frames.
        interval: frames of a chunk, at most.
        split: whether chunks have golden frames inside, where they pay.
    """

    key: int
    quantisers: Quantisers
    interval: int
    split: bool


def operating_point(settings: EncoderSettings) -> OperatingPoint:
    """The operating point of a quality.

    Compared on two or three training clips, 65 frames each (`benchmarks/tune_quality.py` searches in the same way).
    """
    golden = round(20 + 2.3 * settings.quality)
    adaptive = settings.structure == "offline" and settings.golden_interval is None
    return OperatingPoint(
        key=min(QINDEX_LEVELS - 1, golden + 40),
        quantisers=Quantisers(golden=golden, deeper=16, token=max(0, golden - 75)),
        interval=settings.golden_interval or (MAX_CHUNK_FRAMES if adaptive else _low_delay_interval(settings.quality)),
        split=adaptive,
    )


def _low_delay_interval(quality: float) -> int:
    return 16 if quality < 15 else 8 if quality < 45 else 4 if quality < 65 else 2 if quality < 80 else 1


class Encoder:
    """Encodes one video. Memory holds one chunk of frames at a time.

    Args:
        point: quantiser indices and chunk length; None takes those of the settings' quality.
        observe: is told the bits of every step that is sent, see `models.executor.Observer`.
        show: is given the frames of every packet as a decoder will show them, before the packet comes.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: EncoderSettings,
        point: OperatingPoint | None = None,
        observe: Observer | None = None,
        show: Callable[[list[Frame]], None] | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.point = point or operating_point(settings)
        self._observe, self._show = observe, show
        self._qindices = to_qindices(self.point.quantisers, model.device)

    def encode(self, frames: Iterator[Frame]) -> Iterator[VideoPacket]:
        """Yield the packets of `frames`, in file order."""
        source = _Lookahead(frames)
        longest = self.settings.key_interval or LONGEST_GROUP[self.settings.structure]
        while source.peek() is not None:
            yield from self._encode_group(_GroupFrames(source, longest))

    @torch.inference_mode()
    def _encode_group(self, frames: "_GroupFrames") -> Iterator[VideoPacket]:
        first = frames.take(1)
        key = self._picture(first)
        executor, writer = self._open()
        with self.model.autocast():
            known = executor.key(torch.tensor([self.point.key], device=self.model.device), key, key)
        group = Group.open(known)
        self._rebuild(first, [known.reference.picture] if known.reference else [])
        yield self._packet(PacketKind.KEY, first, writer)
        key_error = _anchor_error(group, key)
        span = 1 if self.settings.structure == "low-delay" else self.point.interval
        waiting: list[tuple[Frame, Picture]] = []
        while waiting := waiting + [(f, self._picture([f])) for f in frames.take(span - len(waiting))]:
            with self.model.autocast():
                length = self._length(group, [picture for _, picture in waiting], key)
                chunk, waiting = waiting[:length], waiting[length:]
                packet = self._encode_chunk(group, chunk, key)
            yield packet
            key = chunk[-1][1]
            if group.before == 0 and _anchor_error(group, key) > key_error * 10 ** (QUALITY_DROP_DB / 10):
                frames.close()

    def _encode_chunk(self, group: Group, frames: list[tuple[Frame, Picture]], anchor: Picture) -> VideoPacket:
        """Encode what comes next; `anchor` is the original of the group's anchor, offline."""
        pictures = {group.before + i + 1: picture for i, (_, picture) in enumerate(frames)}
        executor, writer = self._open()
        chunk = self._next_chunk(group, len(frames))
        done = 0
        if chunk.golden:
            for level in golden_levels(chunk):
                executor.run(level, group.known, self._qindices, pictures)
            chunk = self._split(chunk, group, executor, {0: anchor, **pictures})
            writer.flags = chunk.splits
            done = len(golden_levels(chunk))
        for level in plan(chunk)[done:]:
            executor.run(level, group.known, self._qindices, pictures)
        self._rebuild([frame for frame, _ in frames], shown(plan(chunk), group.known, self._qindices, executor))
        group.pass_over(executor, chunk)
        kind = PacketKind.CHUNK
        if self.settings.structure == "low-delay":
            kind = PacketKind.DELAY_GOLDEN if chunk.golden else PacketKind.DELAY_TOKEN
        return self._packet(kind, [frame for frame, _ in frames], writer, golden=chunk.golden)

    def _rebuild(self, frames: Sequence[Frame], pictures: Iterable[Picture]) -> None:
        """Show what becomes of frames, if anybody wants to see it."""
        if self._show:
            height, width = frames[0].y.shape
            pairs = zip(frames, pictures, strict=True)
            self._show([to_frames(picture, width, height, [frame.pts])[0] for frame, picture in pairs])

    def _length(self, group: Group, frames: list[Picture], anchor: Picture) -> int:
        """How many of the coming frames the next chunk takes: all, or a fraction that costs much less a frame."""
        length = len(frames)
        if not self.point.split or length < 2 * SHORTEST_CHUNK:
            return length
        trial = self._trial(dict(enumerate([anchor, *frames])))
        lengths = [
            length >> halvings for halvings in range(length.bit_length()) if length >> halvings >= SHORTEST_CHUNK
        ]
        costs = {candidate: trial.cost_per_frame(candidate, group.known[0]) for candidate in lengths}
        best = min(lengths, key=costs.__getitem__)
        return best if costs[best] * SHORTENING_GAIN < costs[length] else length

    def _next_chunk(self, group: Group, length: int) -> Chunk:
        if self.settings.structure == "low-delay":
            return Chunk(1, group.before + 1 >= self.point.interval, before=group.before)
        tail = length <= SHORT_TAIL and length < self.point.interval and self.settings.quality < TAIL_BELOW
        return Chunk(length, not tail, before=group.before)

    def _split(self, chunk: Chunk, group: Group, executor: Executor, frames: dict[int, Picture]) -> Chunk:
        """Code golden frames inside the chunk where they pay, and return it with its splits."""
        trial = self._trial(frames)
        while intervals := undecided(chunk):
            depth = len(golden_levels(chunk))
            flags = tuple(self.point.split and trial.pays(i, depth, group.known) for i in intervals)
            chunk = replace(chunk, splits=(*chunk.splits, *flags))
            if any(flags):
                executor.run(golden_levels(chunk)[-1], group.known, self._qindices, frames)
        return chunk

    def _trial(self, frames: dict[int, Picture]) -> ChunkTrial:
        return ChunkTrial(self.model.network, self.model.tables, self._qindices, frames)

    def _open(self) -> tuple[Executor, SymbolWriter]:
        writer = SymbolWriter(self.model.tables)
        return Executor(self.model.network, writer, self._observe), writer

    def _packet(
        self, kind: PacketKind, frames: Sequence[Frame], writer: SymbolWriter, *, golden: bool = False
    ) -> VideoPacket:
        return VideoPacket(
            kind=kind,
            frame_count=len(frames),
            pts=tuple(frame.pts for frame in frames),
            payload=writer.finish(check=kind is not PacketKind.DELAY_TOKEN),
            quantisers=self.point.quantisers,
            golden=golden and kind is PacketKind.CHUNK,
            key_qindex=self.point.key if kind is PacketKind.KEY else 0,
        )

    def _picture(self, frames: Sequence[Frame]) -> Picture:
        return to_picture(frames, self.model.device)


def _anchor_error(group: Group, target: Picture) -> float:
    reference = group.known[0].reference
    assert reference is not None, "anchors are references"
    return squared_error(reference.picture, target)


class _Lookahead:
    """An iterator with one frame of look-ahead."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._next = next(frames, None)

    def peek(self) -> Frame | None:
        return self._next

    def next(self) -> Frame:
        frame, self._next = self._next, next(self._frames, None)
        assert frame is not None
        return frame


class _GroupFrames:
    """The frames of one group: up to the next scene cut, the key interval or the end."""

    def __init__(self, source: _Lookahead, key_interval: int | None) -> None:
        self._source, self._limit = source, key_interval
        self._taken = 0
        self._before: Frame | None = None
        self._closed = False

    def take(self, count: int) -> list[Frame]:
        """The next `count` frames of the group; fewer at its end."""
        frames: list[Frame] = []
        while len(frames) < count and not self._at_end():
            self._before = self._source.next()
            self._taken += 1
            frames.append(self._before)
        return frames

    def close(self) -> None:
        """End the group here."""
        self._closed = True

    def _at_end(self) -> bool:
        coming = self._source.peek()
        if self._closed or coming is None or (self._limit is not None and self._taken >= self._limit):
            return True
        return self._before is not None and is_scene_cut(self._before, coming)
