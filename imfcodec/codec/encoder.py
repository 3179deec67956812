"""Frames to packets."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch

from imfcodec.bitstream.packet import MAX_CHUNK_FRAMES, PacketKind, Quantisers, VideoPacket
from imfcodec.codec.analysis import ChunkTrial, is_scene_cut, squared_error
from imfcodec.codec.choices import Choice, Choices
from imfcodec.codec.control import Control
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

Coded = TypeVar("Coded")

QUALITY_DROP_DB = 5.0  # a golden frame this much worse than its group's key frame asks for a new key frame
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
    place = 20 + 2.3 * settings.quality
    golden = round(place)
    adaptive = settings.structure == "offline" and settings.golden_interval is None
    return OperatingPoint(
        # Thirds apart, so that not all of them change at once: the dial has finer steps than its indices.
        key=min(QINDEX_LEVELS - 1, round(place + 40 + 1 / 3)),
        quantisers=Quantisers(golden=golden, deeper=16, token=max(0, round(place - 75 - 1 / 3))),
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
        control: decides on the quality of every packet in place of the settings.
        choices: notes what is decided about the order of frames, or says it.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: EncoderSettings,
        point: OperatingPoint | None = None,
        observe: Observer | None = None,
        show: Callable[[list[Frame]], None] | None = None,
        control: Control | None = None,
        choices: Choices | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.point = point or operating_point(settings)
        self._observe, self._show, self._control = observe, show, control
        self._choices = choices or Choices()
        self._qindices = to_qindices(self.point.quantisers, model.device)

    def encode(self, frames: Iterator[Frame]) -> Iterator[VideoPacket]:
        """Yield the packets of `frames`, in file order."""
        source = _Lookahead(frames)
        while source.peek() is not None:
            yield from self._encode_group(_GroupFrames(source, self.settings.key_interval))

    @torch.inference_mode()
    def _encode_group(self, frames: "_GroupFrames") -> Iterator[VideoPacket]:
        first = frames.take(1)
        key = self._picture(first)
        with self.model.autocast():
            group, packet = self._agree(lambda: self._encode_key(first, key))
        self._choices.note(Choice(1, opens=True))
        reference = group.known[0].reference
        self._rebuild(first, [reference.picture] if reference else [])
        yield packet
        key_error = _anchor_error(group, key)
        span = 1 if self.settings.structure == "low-delay" else self.point.interval
        waiting: list[tuple[Frame, Picture]] = []
        while waiting := waiting + [(f, self._picture([f])) for f in frames.take(span - len(waiting))]:
            with self.model.autocast():
                length = self._length(group, [picture for _, picture in waiting], key)
                chunk, waiting = waiting[:length], waiting[length:]
                coded, packet = self._agree(partial(self._encode_chunk, group, chunk, key))
                self._choices.note(Choice(length, opens=False, splits=coded.splits))
                executor = self._open()[0]
                pictures = shown(plan(coded), group.known, self._qindices, executor)
                self._rebuild([frame for frame, _ in chunk], pictures)
                group.pass_over(executor, coded)
            yield packet
            key = chunk[-1][1]
            if self._ends_group(group, key, key_error):
                frames.close()

    def _agree(self, code: Callable[[], tuple[Coded, VideoPacket]]) -> tuple[Coded, VideoPacket]:
        """Code a packet at the quality that the control wants, again where it is not content."""
        while True:
            if self._control:
                self._retune(self._control.quality())
            coded, packet = code()
            if self._control is None or self._control.takes(packet):
                return coded, packet

    def _retune(self, quality: float) -> None:
        if quality != self.settings.quality:
            self.settings = replace(self.settings, quality=quality)
            self.point = operating_point(self.settings)
            self._qindices = to_qindices(self.point.quantisers, self.model.device)

    def _ends_group(self, group: Group, target: Picture, key_error: float) -> bool:
        """Whether a key frame is better next: the golden frame that shows `target` is so much worse than the last."""
        if coming := self._choices.coming:
            return coming.opens
        return group.before == 0 and _anchor_error(group, target) > key_error * 10 ** (QUALITY_DROP_DB / 10)

    def _encode_key(self, frames: list[Frame], picture: Picture) -> tuple[Group, VideoPacket]:
        executor, writer = self._open()
        known = executor.key(torch.tensor([self.point.key], device=self.model.device), picture, picture)
        return Group.open(known), self._packet(PacketKind.KEY, frames, writer)

    def _encode_chunk(
        self, group: Group, frames: list[tuple[Frame, Picture]], anchor: Picture
    ) -> tuple[Chunk, VideoPacket]:
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
        kind = PacketKind.CHUNK
        if self.settings.structure == "low-delay":
            kind = PacketKind.DELAY_GOLDEN if chunk.golden else PacketKind.DELAY_TOKEN
        return chunk, self._packet(kind, [frame for frame, _ in frames], writer, golden=chunk.golden)

    def _rebuild(self, frames: Sequence[Frame], pictures: Iterable[Picture]) -> None:
        """Show what becomes of frames, if anybody wants to see it."""
        if self._show:
            height, width = frames[0].y.shape
            pairs = zip(frames, pictures, strict=True)
            self._show([to_frames(picture, width, height, [frame.pts])[0] for frame, picture in pairs])

    def _length(self, group: Group, frames: list[Picture], anchor: Picture) -> int:
        """How many of the coming frames the next chunk takes: all, or a fraction that costs much less a frame."""
        length = len(frames)
        if coming := self._choices.coming:
            return min(length, coming.length)
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
        trial, coming = self._trial(frames), self._choices.coming
        while intervals := undecided(chunk):
            depth, decided = len(golden_levels(chunk)), len(chunk.splits)
            if coming:
                flags = (*coming.splits[decided:], *(False for _ in intervals))[: len(intervals)]
            else:
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
