"""Frames to packets."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch

from imfcodec.bitstream.packet import MAX_CHUNK_FRAMES, PacketKind, Quantisers, VideoPacket
from imfcodec.codec.analysis import ChunkTrial
from imfcodec.codec.choices import Choice, Choices
from imfcodec.codec.control import Control
from imfcodec.codec.decoder import shown
from imfcodec.codec.effort import PRESETS, Effort
from imfcodec.codec.groups import Group
from imfcodec.codec.planes import to_frames, to_picture, to_weights
from imfcodec.codec.quantisers import to_qindices
from imfcodec.codec.refine import Refiner
from imfcodec.codec.settings import EncoderSettings
from imfcodec.codec.source import FrameSource
from imfcodec.codec.weighing import Weights
from imfcodec.frames import Frame
from imfcodec.latents.symbols import SymbolWriter
from imfcodec.models.executor import Executor, Known, Observer
from imfcodec.models.structure import Chunk, golden_levels, plan, undecided
from imfcodec.nn.picture import Picture
from imfcodec.nn.quantize import QINDEX_LEVELS
from imfcodec.zoo import LoadedModel

Coded = TypeVar("Coded")
Original = tuple[Frame, Picture]

SHORTEST_CHUNK = 4  # frames, where their number is chosen by rate and distortion
LENGTHENING = 2  # by which a chunk may be longer than the one before: much longer ones are seldom worth a trial
SHORT_TAIL = 2  # a rest of so few frames may be sent as token frames


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
    # Where nearly all frames are golden, few others gain by a finer one: towards the top they become alike.
    deeper = round(16 - max(0.0, settings.quality - 40) / 5)
    # Token frames say which reference shows what, which takes fine steps; at low rates they had better say little.
    lag = 75 - min(20.0, max(0.0, settings.quality - 25) * 0.8)
    adaptive = settings.structure == "offline" and settings.golden_interval is None
    # A key frame in the place of a golden frame serves as few frames as that.
    lead = 0 if settings.resilience and settings.structure == "low-delay" else 40
    return OperatingPoint(
        # Thirds apart, so that not all of them change at once: the dial has finer steps than its indices.
        key=min(QINDEX_LEVELS - 1, round(place + lead + 1 / 3)),
        quantisers=Quantisers(golden=golden, deeper=deeper, token=max(0, round(place - lag - 1 / 3))),
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
        effort: None takes that of the settings' preset.
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
        effort: Effort | None = None,
    ) -> None:
        self.model = model
        self._effort = effort or PRESETS[settings.preset]
        self._observe, self._show, self._control = observe, show, control
        self._choices = choices or Choices()
        self._tune(settings, point or operating_point(settings))

    def _tune(self, settings: EncoderSettings, point: OperatingPoint) -> None:
        self.settings, self.point = settings, point
        self._qindices = to_qindices(point.quantisers, self.model.device)
        terms = {"spatial": settings.spatial, "temporal": settings.temporal}
        self._refiner = Refiner(self.model, self._effort, point.quantisers.golden, **terms)

    def encode(self, frames: Iterator[Frame]) -> Iterator[VideoPacket]:
        """Yield the packets of `frames`, in file order; low delay takes no frame before it has yielded the last one."""
        source = FrameSource(frames, scene_cuts=self.settings.scene_cuts, key_interval=self.settings.longest_group)
        while not source.is_at_end():
            yield from self.encode_group(source)

    def encode_group(self, source: FrameSource) -> Iterator[VideoPacket]:
        """Yield the packets of the next group, none at the end. They follow from its own frames, wherever it begins."""
        if (first := source.open_group()) is not None:
            yield from self._encode_group(first, source)

    @torch.no_grad()  # not inference mode, whose tensors cannot take part in a descent
    def _encode_group(self, first: Frame, source: FrameSource) -> Iterator[VideoPacket]:
        key = first, self._picture([first])
        with self.model.autocast():
            group, packet = self._agree(partial(self._encode_key, *key))
        self._choices.note(Choice(1, opens=True))
        reference = group.known[0].reference
        self._rebuild([first], [reference.picture] if reference else [])
        yield packet
        span = 1 if self.settings.structure == "low-delay" else self.point.interval
        waiting: list[Original] = []
        longest = span
        while waiting := waiting + [(f, self._picture([f])) for f in source.take(span - len(waiting))]:
            with self.model.autocast():
                length, ends = self._extent(group, [key, *waiting], longest)
                if ends:
                    source.give_back([frame for frame, _ in waiting[length:]])
                    waiting = waiting[:length]
                if not waiting:
                    return
                chunk, waiting = waiting[:length], waiting[length:]
                coded, packet = self._agree(partial(self._encode_chunk, group, chunk, key))
                self._choices.note(Choice(length, opens=False, splits=coded.splits))
                executor = self._open()[0]
                pictures = shown(plan(coded), group.known, self._qindices, executor)
                self._rebuild([frame for frame, _ in chunk], pictures)
                group.pass_over(executor, coded)
            yield packet
            key, longest = chunk[-1], max(LENGTHENING * length, 2 * SHORTEST_CHUNK)

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
            settings = replace(self.settings, quality=quality)
            self._tune(settings, operating_point(settings))

    def _extent(self, group: Group[Known], originals: list[Original], longest: int) -> tuple[int, bool]:
        """How many of the frames that wait the next chunk takes, and whether the group ends there for a key frame.

        Args:
            originals: that of the anchor and those of the frames.
            longest: chunk that is tried.
        """
        count = len(originals) - 1
        resilience, is_live = self.settings.resilience, self.settings.structure == "low-delay"
        if coming := self._choices.coming:
            return (0, True) if coming.opens else (min(count, coming.length), resilience and not is_live)
        if resilience and is_live:
            return (0, True) if self._live_chunk(group).golden else (count, False)
        frames = {group.before + i: original for i, original in enumerate(originals)}
        trial = self._trial(_pictures(frames), self._weights(frames))
        length = self._length(group, trial, min(count, longest)) if self.point.split else count
        fall = self._fall(group, trial, length)
        return (length, resilience) if fall is None else (fall, True)

    def _encode_key(self, frame: Frame, picture: Picture) -> tuple[Group[Known], VideoPacket]:
        self._refiner.look_at({0: picture}, self._weights({0: (frame, picture)}))
        executor, writer = self._open()
        known = executor.key(torch.tensor([self.point.key], device=self.model.device), picture, picture)
        return Group.open(known), self._packet(PacketKind.KEY, [frame], writer)

    def _encode_chunk(self, group: Group[Known], coming: list[Original], anchor: Original) -> tuple[Chunk, VideoPacket]:
        """Encode what comes next; `anchor` is the original of the group's anchor, offline."""
        originals = {group.before + i + 1: original for i, original in enumerate(coming)}
        originals |= {0: anchor} if group.before == 0 else {}
        pictures = _pictures(originals)
        self._refiner.look_at(pictures, self._weights(originals))
        executor, writer = self._open()
        trial = self._trial(pictures, self._refiner.weights)
        chunk = self._next_chunk(group, trial, len(coming))
        done = 0
        if chunk.golden:
            for level in golden_levels(chunk):
                executor.run(level, group.known, self._qindices, pictures)
            chunk = self._split(chunk, group, executor, pictures, trial)
            writer.flags = chunk.splits
            done = len(golden_levels(chunk))
        for level in plan(chunk)[done:]:
            executor.run(level, group.known, self._qindices, pictures)
        kind = PacketKind.CHUNK
        if self.settings.structure == "low-delay":
            kind = PacketKind.DELAY_GOLDEN if chunk.golden else PacketKind.DELAY_TOKEN
        return chunk, self._packet(kind, [frame for frame, _ in coming], writer, golden=chunk.golden)

    def _rebuild(self, frames: Sequence[Frame], pictures: Iterable[Picture]) -> None:
        """Show what becomes of frames, if anybody wants to see it."""
        if self._show:
            height, width = frames[0].y.shape
            pairs = zip(frames, pictures, strict=True)
            self._show([to_frames(picture, width, height, [frame.pts])[0] for frame, picture in pairs])

    def _length(self, group: Group[Known], trial: ChunkTrial, count: int) -> int:
        """How many of the coming frames the next chunk takes: all, or the fraction that costs least a frame."""
        if count < 2 * SHORTEST_CHUNK:
            return count
        halvings = range(0, count.bit_length(), self._effort.length_stride)
        lengths = [count >> halving for halving in halvings if count >> halving >= SHORTEST_CHUNK]
        costs = {length: trial.cost_per_frame(length, group.known[0]) for length in lengths}
        return min(lengths, key=costs.__getitem__)

    def _fall(self, group: Group[Known], trial: ChunkTrial, length: int) -> int | None:
        """How many of a chunk's frames come before the first that costs less as a key frame; None if its end does not.

        Nor is it tried where the user says how far golden frames are apart.
        """
        tries = self._effort.key_trials and self.settings.golden_interval is None
        if not tries or not self._next_chunk(group, trial, length).golden:
            return None
        anchor, low, high = group.known[0], group.before, group.before + length
        if not trial.prefers_key(high, anchor):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if trial.prefers_key(middle, anchor) else (middle, high)
        return high - 1 - group.before

    def _next_chunk(self, group: Group[Known], trial: ChunkTrial, length: int) -> Chunk:
        if self.settings.structure == "low-delay":
            return self._live_chunk(group)
        is_tail = length <= SHORT_TAIL and length < self.point.interval
        return Chunk(length, not (is_tail and trial.prefers_tokens(length, group.known[0])), before=group.before)

    def _live_chunk(self, group: Group[Known]) -> Chunk:
        return Chunk(1, group.before + 1 >= self.point.interval, before=group.before)

    def _split(
        self,
        chunk: Chunk,
        group: Group[Known],
        executor: Executor,
        pictures: Mapping[int, Picture],
        trial: ChunkTrial,
    ) -> Chunk:
        """Code golden frames inside the chunk where they pay, and return it with its splits."""
        coming = self._choices.coming
        while intervals := undecided(chunk):
            depth, decided = len(golden_levels(chunk)), len(chunk.splits)
            if coming:
                flags = (*coming.splits[decided:], *(False for _ in intervals))[: len(intervals)]
            else:
                flags = tuple(self.point.split and trial.pays(i, depth, group.known) for i in intervals)
            chunk = replace(chunk, splits=(*chunk.splits, *flags))
            if any(flags):
                executor.run(golden_levels(chunk)[-1], group.known, self._qindices, pictures)
        return chunk

    def _trial(self, pictures: Mapping[int, Picture], weights: Weights) -> ChunkTrial:
        return ChunkTrial(self.model.network, self.model.tables, self._qindices, pictures, weights)

    def _open(self) -> tuple[Executor, SymbolWriter]:
        writer = SymbolWriter(self.model.tables)
        return Executor(self.model.network, writer, self._observe, self._refiner), writer

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

    def _weights(self, originals: Mapping[int, Original]) -> Weights:
        """The weights of frames, as far as they have any."""
        strength, device = self.settings.roi_strength, self.model.device
        found = {position: to_weights(frame, strength, device) for position, (frame, _) in originals.items()}
        return {position: weights for position, weights in found.items() if weights is not None}

    def _picture(self, frames: Sequence[Frame]) -> Picture:
        return to_picture(frames, self.model.device)


def _pictures(originals: Mapping[int, Original]) -> dict[int, Picture]:
    return {position: picture for position, (_, picture) in originals.items()}
