"""Frames to packets."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from imfcodec.bitstream.packet import MAX_CHUNK_FRAMES, PacketKind, Quantisers, VideoPacket
from imfcodec.codec.analysis import ChunkTrial
from imfcodec.codec.decoder import shown
from imfcodec.codec.effort import PRESETS, Effort
from imfcodec.codec.groups import Group, to_qindices
from imfcodec.codec.planes import to_frames, to_picture
from imfcodec.codec.refine import Refiner
from imfcodec.codec.settings import EncoderSettings
from imfcodec.codec.source import FrameSource
from imfcodec.frames import Frame
from imfcodec.latents.symbols import SymbolWriter
from imfcodec.models.executor import Executor, Observer
from imfcodec.models.structure import Chunk, golden_levels, plan, undecided
from imfcodec.nn.picture import Picture
from imfcodec.nn.quantize import QINDEX_LEVELS
from imfcodec.zoo import LoadedModel

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
        effort: None takes that of the settings' preset.
        show: is given the frames of every packet as a decoder will show them, before the packet comes.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: EncoderSettings,
        point: OperatingPoint | None = None,
        observe: Observer | None = None,
        effort: Effort | None = None,
        show: Callable[[list[Frame]], None] | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.point = point or operating_point(settings)
        self._observe, self._show = observe, show
        self._qindices = to_qindices(self.point.quantisers, model.device)
        self._effort = effort or PRESETS[settings.preset]
        weights = {"spatial": settings.spatial, "temporal": settings.temporal}
        refines = self._effort.refines
        self._refiner = Refiner(model, self._effort, self.point.quantisers.golden, **weights) if refines else None

    def encode(self, frames: Iterator[Frame]) -> Iterator[VideoPacket]:
        """Yield the packets of `frames`, in file order; low delay takes no frame before it has yielded the last one."""
        source = FrameSource(frames, scene_cuts=self.settings.scene_cuts, key_interval=self.settings.key_interval)
        while (first := source.open_group()) is not None:
            yield from self._encode_group(first, source)

    @torch.no_grad()  # not inference mode, whose tensors cannot take part in a descent
    def _encode_group(self, first: Frame, source: FrameSource) -> Iterator[VideoPacket]:
        key = self._picture([first])
        executor, writer = self._open()
        with self.model.autocast():
            known = executor.key(torch.tensor([self.point.key], device=self.model.device), key, key)
        group = Group.open(known)
        self._rebuild([first], [known.reference.picture] if known.reference else [])
        yield self._packet(PacketKind.KEY, [first], writer)
        span = 1 if self.settings.structure == "low-delay" else self.point.interval
        waiting: list[tuple[Frame, Picture]] = []
        while waiting := waiting + [(f, self._picture([f])) for f in source.take(span - len(waiting))]:
            with self.model.autocast():
                trial = self._trial(group.before, [key, *(picture for _, picture in waiting)])
                length = self._length(group, trial, len(waiting))
                fall = self._fall(group, trial, length)
                if fall is not None:
                    source.give_back([frame for frame, _ in waiting[fall:]])
                    length, waiting = fall, waiting[:fall]
                if not waiting:
                    return
                chunk, waiting = waiting[:length], waiting[length:]
                packet = self._encode_chunk(group, chunk, key)
            yield packet
            key = chunk[-1][1]

    def _encode_chunk(self, group: Group, frames: list[tuple[Frame, Picture]], anchor: Picture) -> VideoPacket:
        """Encode what comes next; `anchor` is the original of the group's anchor, offline."""
        pictures = {group.before + i + 1: picture for i, (_, picture) in enumerate(frames)}
        originals = {0: anchor, **pictures} if group.before == 0 else pictures
        if self._refiner is not None:
            self._refiner.look_at(originals)
        executor, writer = self._open()
        chunk = self._next_chunk(group, len(frames))
        done = 0
        if chunk.golden:
            for level in golden_levels(chunk):
                executor.run(level, group.known, self._qindices, pictures)
            chunk = self._split(chunk, group, executor, originals)
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

    def _length(self, group: Group, trial: ChunkTrial, count: int) -> int:
        """How many of the coming frames the next chunk takes: all, or a fraction that costs much less a frame."""
        if not self.point.split or count < 2 * SHORTEST_CHUNK:
            return count
        halvings = range(0, count.bit_length(), self._effort.length_stride)
        lengths = [count >> halving for halving in halvings if count >> halving >= SHORTEST_CHUNK]
        costs = {length: trial.cost_per_frame(length, group.known[0]) for length in lengths}
        best = min(lengths, key=costs.__getitem__)
        return best if costs[best] * SHORTENING_GAIN < costs[count] else count

    def _fall(self, group: Group, trial: ChunkTrial, length: int) -> int | None:
        """How many of a chunk's frames come before the first that costs less as a key frame; None if its end does not.

        Nor is it tried where the user says how far golden frames are apart.
        """
        tries = self._effort.key_trials and self.settings.golden_interval is None
        if not tries or not self._next_chunk(group, length).golden:
            return None
        anchor, low, high = group.known[0], group.before, group.before + length
        if not trial.prefers_key(high, anchor):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if trial.prefers_key(middle, anchor) else (middle, high)
        return high - 1 - group.before

    def _next_chunk(self, group: Group, length: int) -> Chunk:
        if self.settings.structure == "low-delay":
            return Chunk(1, group.before + 1 >= self.point.interval, before=group.before)
        tail = length <= SHORT_TAIL and length < self.point.interval and self.settings.quality < TAIL_BELOW
        return Chunk(length, not tail, before=group.before)

    def _split(self, chunk: Chunk, group: Group, executor: Executor, frames: dict[int, Picture]) -> Chunk:
        """Code golden frames inside the chunk where they pay, and return it with its splits."""
        trial = ChunkTrial(self.model.network, self.model.tables, self._qindices, frames)
        while intervals := undecided(chunk):
            depth = len(golden_levels(chunk))
            flags = tuple(self.point.split and trial.pays(i, depth, group.known) for i in intervals)
            chunk = replace(chunk, splits=(*chunk.splits, *flags))
            if any(flags):
                executor.run(golden_levels(chunk)[-1], group.known, self._qindices, frames)
        return chunk

    def _trial(self, before: int, pictures: Sequence[Picture]) -> ChunkTrial:
        """Trials of what comes next; `pictures` are the original of the anchor and the frames that wait."""
        frames = {before + i: picture for i, picture in enumerate(pictures)}
        return ChunkTrial(self.model.network, self.model.tables, self._qindices, frames)

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

    def _picture(self, frames: Sequence[Frame]) -> Picture:
        return to_picture(frames, self.model.device)
