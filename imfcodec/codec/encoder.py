"""Frames to packets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from imfcodec.bitstream.packet import MAX_CHUNK_FRAMES, PacketKind, VideoPacket
from imfcodec.codec.groups import Golden, Group
from imfcodec.codec.planes import to_picture
from imfcodec.errors import UsageError
from imfcodec.frames import Frame
from imfcodec.latents.symbols import PriorTables, SymbolWriter
from imfcodec.nn.picture import Picture
from imfcodec.nn.quantize import QUALITY_LEVELS
from imfcodec.zoo import LoadedModel

STRUCTURES = ("offline", "low-delay")
SCENE_CUT = 0.10  # mean change of an 8x8-averaged luma, 0..1, between two frames
QUALITY_DROP_DB = 5.0  # a golden frame this much worse than its group's key frame asks for a new key frame
LONGEST_CHUNK = 16  # frames, offline
RARE_BELOW, CLOSE_FROM = 15, 50  # qualities at which golden frames come closer together, low delay
REFINE_FROM = 65  # quality from which token frames carry y
SHORT_TAIL = 2  # a rest of so few frames is sent as plain tokens, not as a golden frame


@dataclass(frozen=True)
class EncoderSettings:
    """What the user chooses.

    Attributes:
        quality: 0..100, higher is better and larger.
        structure: "offline" looks ahead a chunk; "low-delay" sends every frame on its own.
        golden_interval: frames from one golden frame to the next, 2..64; None chooses by movement (offline) or by
            quality (low delay).
        key_interval: frames after which a new group is opened; None opens one at scene cuts only.
    """

    quality: int = 50
    structure: str = "offline"
    golden_interval: int | None = None
    key_interval: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality} is not within 0..100")
        if self.structure not in STRUCTURES:
            raise UsageError(f"structure {self.structure!r} is unknown; use one of: {', '.join(STRUCTURES)}")
        if self.golden_interval is not None and not 2 <= self.golden_interval <= MAX_CHUNK_FRAMES:
            raise UsageError(f"golden interval {self.golden_interval} is not within 2..{MAX_CHUNK_FRAMES}")
        if self.key_interval is not None and self.key_interval < 1:
            raise UsageError(f"key interval {self.key_interval} is not at least 1")


@dataclass(frozen=True)
class OperatingPoint:
    """What a quality stands for.

    Attributes:
        key, golden, token: quantiser indices 0..255.
        interval: frames of a chunk, at most.
        refine: whether token frames carry y.
        split: a chunk is halved where the squared error in its middle exceeds that of its golden frame by this factor;
            None never halves.
    """

    key: int
    golden: int
    token: int
    interval: int
    refine: bool
    split: float | None = None


def operating_point(settings: EncoderSettings) -> OperatingPoint:
    """The operating point of a quality, found on training clips with `benchmarks/tune_quality.py`.

    Where tokens carry the picture as well as golden frames do, more golden frames are waste; where they do not, golden
    frames closer together are worth their rate. At the lowest rates less is halved. Coarser golden frames closer
    together beat refined token frames up to far higher rates, but leave quality going up and down.
    """
    quality = settings.quality
    golden = round(max(44 + 0.4 * quality, 10 + 2.1 * quality))
    refine = quality >= REFINE_FROM
    adaptive = settings.structure == "offline" and settings.golden_interval is None
    return OperatingPoint(
        key=min(QUALITY_LEVELS - 1, golden + 30),
        golden=golden,
        token=max(0, golden - (30 if refine else 60)),
        interval=settings.golden_interval or (LONGEST_CHUNK if adaptive else _low_delay_interval(quality)),
        refine=refine,
        split=max(1.6, 3 - 0.07 * quality) if adaptive else None,
    )


def _low_delay_interval(quality: int) -> int:
    return 16 if quality < RARE_BELOW else 8 if quality < CLOSE_FROM else 4


class Encoder:
    """Encodes one video. Memory holds one chunk of frames at a time.

    Args:
        point: quantiser indices and chunk length; None takes those of the settings' quality.
        open_writer: makes the writer of each packet, and of those that are tried.
        keep: is given the writer of each packet that is sent, in file order.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: EncoderSettings,
        point: OperatingPoint | None = None,
        open_writer: Callable[[PriorTables], SymbolWriter] = SymbolWriter,
        keep: Callable[[SymbolWriter], None] | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.point = point or operating_point(settings)
        self._open_writer, self._keep = open_writer, keep

    def encode(self, frames: Iterator[Frame]) -> Iterator[VideoPacket]:
        """Yield the packets of `frames`, in file order."""
        for group in self._split_groups(frames):
            yield from self._encode_group(group)

    def _split_groups(self, frames: Iterator[Frame]) -> Iterator["_GroupFrames"]:
        source = _Lookahead(frames)
        while source.peek() is not None:
            yield _GroupFrames(source, self.settings.key_interval)

    @torch.inference_mode()
    def _encode_group(self, frames: "_GroupFrames") -> Iterator[VideoPacket]:
        first = frames.take(1)
        key = self._picture(first)
        with self.model.autocast():
            writer = self._writer()
            group = Group.open(self.model.network, writer, self.point.key, key, key)
        yield self._packet(PacketKind.KEY, first, writer)
        key_error = _error(group.anchor.picture, key)
        span = 1 if self.settings.structure == "low-delay" else self.point.interval
        while chunk := frames.take(span):
            for packet in self._encode_chunks(group, chunk):
                yield packet
            if packet.golden and _error(group.anchor.picture, self._picture(chunk[-1:])) > key_error * _FALL:
                frames.close()

    def _encode_chunks(self, group: Group, frames: list[Frame]) -> Iterator[VideoPacket]:
        """Encode frames as one chunk, or by halves where there is too much movement in it."""
        with self.model.autocast():
            packet = self._encode_chunk(group, frames)
        if packet is not None:
            yield packet
        else:
            half = len(frames) // 2
            yield from self._encode_chunks(group, frames[:half])
            yield from self._encode_chunks(group, frames[half:])

    def _encode_chunk(self, group: Group, frames: list[Frame]) -> VideoPacket | None:
        """Encode a chunk, or change nothing and return None where it had better be halved."""
        if self.settings.structure == "low-delay":
            return self._encode_delay(group, frames)
        pictures = [self._picture([frame]) for frame in frames]
        writer = self._writer()
        writer.range.encode_flag(self.point.refine)
        golden, span = None, len(frames)
        if span > SHORT_TAIL:
            golden = group.golden(writer, self.point.golden, span, pictures[-1])
            if span // 2 > SHORT_TAIL and self._moves_too_much(group, golden, pictures):
                return None
            tokens = group.tokens_between(writer, self.point.token, golden, span, pictures[:-1])
        else:
            tokens = [group.token_after(writer, self.point.token, picture) for picture in pictures]
        if self.point.refine:
            for token, place, picture in zip(tokens, group.places(len(tokens), golden), pictures, strict=False):
                group.refined(writer, self.point.token, token, golden, place, picture)
        if golden is not None:
            group.advance(golden)
        return self._packet(PacketKind.CHUNK, frames, writer, golden is not None)

    def _moves_too_much(self, group: Group, golden: Golden, pictures: list[Picture]) -> bool:
        """Whether the frame in the middle of a chunk would come out that much worse than its golden frame."""
        if self.point.split is None:
            return False
        target = pictures[len(pictures) // 2 - 1]
        middle = group.middle(self._writer(), self.point.token, golden, len(pictures), target)
        return _error(middle, target) > self.point.split * _error(golden.reference.picture, pictures[-1])

    def _encode_delay(self, group: Group, chunk: list[Frame]) -> VideoPacket:
        picture = self._picture(chunk)
        writer = self._writer()
        if group.distance + 1 >= self.point.interval:
            group.advance(group.golden(writer, self.point.golden, group.distance + 1, picture))
            return self._packet(PacketKind.DELAY_GOLDEN, chunk, writer)
        writer.range.encode_flag(self.point.refine)
        token = group.token_after(writer, self.point.token, picture)
        if self.point.refine:
            group.refined(writer, self.point.token, token, None, 0.0, picture)
        return self._packet(PacketKind.DELAY_TOKEN, chunk, writer)

    def _packet(self, kind: PacketKind, frames: list[Frame], writer: SymbolWriter, golden: bool = False) -> VideoPacket:
        if self._keep is not None:
            self._keep(writer)
        return VideoPacket(
            kind=kind,
            frame_count=len(frames),
            quality=self.point.key if kind is PacketKind.KEY else self.point.golden,
            token_quality=self.point.token,
            pts=tuple(frame.pts for frame in frames),
            payload=writer.range.finish(),
            golden=golden,
            golden_quality=self.point.golden,
        )

    def _writer(self) -> SymbolWriter:
        return self._open_writer(self.model.tables)

    def _picture(self, frames: list[Frame]) -> Picture:
        return to_picture(frames, self.model.device)


_FALL = 10 ** (QUALITY_DROP_DB / 10)


def _error(picture: Picture, target: Picture) -> float:
    return float((picture.luma - target.luma).square().mean())


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


def is_scene_cut(before: Frame, after: Frame) -> bool:
    """Whether two neighbouring frames show different scenes."""
    change = np.abs(_thumbnail(after) - _thumbnail(before)).mean()
    return bool(change > SCENE_CUT * 255)


def _thumbnail(frame: Frame) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    height, width = (side // 8 * 8 for side in frame.y.shape)
    return frame.y[:height, :width].reshape(height // 8, 8, width // 8, 8).mean((1, 3), dtype=np.float32)
