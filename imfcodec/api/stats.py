"""What a job did, and how far it is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from imfcodec.frames import VideoFormat
from imfcodec.progress import Progress
from imfcodec.video.notes import describe_damage

Notify = Callable[[Progress], None]


@dataclass(frozen=True)
class EncodeStats:
    """What an encode did.

    Attributes:
        frames: frames coded.
        duration_seconds: playing time of the frames.
        byte_count: size of the stream.
        bytes_by_kind: the same in parts: keys, tokens, audio, container.
        elapsed_seconds: wall time from the first frame to the last byte, without loading the model.
        damaged_frames: frames of the source that are not as they were coded.
        repeated_frames: those of them that show the frame before, because nothing of them can be decoded.
        cut_off: whether the source ends too early.
        passes: how often the whole video was coded to meet a target.
    """

    frames: int
    duration_seconds: float
    byte_count: int
    bytes_by_kind: dict[str, int]
    elapsed_seconds: float
    damaged_frames: int = 0
    repeated_frames: int = 0
    cut_off: bool = False
    passes: int = 1

    @property
    def kbps(self) -> float:
        """Kilobits per second of playing time, everything in the file included."""
        return _kbps(self.byte_count, self.duration_seconds)

    @property
    def kbps_by_kind(self) -> dict[str, float]:
        """`kbps` in the parts of `bytes_by_kind`."""
        return {kind: _kbps(count, self.duration_seconds) for kind, count in self.bytes_by_kind.items()}

    @property
    def damage(self) -> str:
        """What is damaged in the source, in a few words; empty if nothing is."""
        if not self.damaged_frames and not self.repeated_frames:
            return ""
        return describe_damage(self.damaged_frames, self.repeated_frames)

    @property
    def fps(self) -> float:
        """Frames coded per second of wall time."""
        return self.frames / self.elapsed_seconds

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values for JSON."""
        return {**asdict(self), "kbps": self.kbps, "kbps_by_kind": self.kbps_by_kind, "fps": self.fps}


@dataclass(frozen=True)
class DecodeStats:
    """What a decode did.

    Attributes:
        frames: frames written, concealed ones included.
        concealed_frames: frames made up for lost ones.
        lost_packets: damaged or missing packets, of video or sound.
        duration_seconds: playing time of the frames.
        elapsed_seconds: wall time, without loading the model.
    """

    frames: int
    concealed_frames: int
    lost_packets: int
    duration_seconds: float
    elapsed_seconds: float

    @property
    def has_losses(self) -> bool:
        """Whether anything was lost."""
        return self.concealed_frames > 0 or self.lost_packets > 0

    @property
    def fps(self) -> float:
        """Frames decoded per second of wall time."""
        return self.frames / self.elapsed_seconds


class Meter:
    """Counts frames and wall time, and tells the caller about them.

    Attributes:
        frames: frames counted so far.
    """

    def __init__(self, video: VideoFormat, notify: Notify | None) -> None:
        self._video, self._notify = video, notify
        self._start = time.monotonic()
        self._first_pts: int | None = None
        self._last_pts = 0
        self._last_seconds = 1 / video.frame_rate
        self.frames = 0

    def add(self, pts: Sequence[int]) -> None:
        """Count frames with these time stamps as done."""
        self._first_pts = pts[0] if self._first_pts is None else self._first_pts
        self._last_pts = pts[-1]
        self.frames += len(pts)

    def end(self, last_duration: int | None) -> None:
        """Say how many ticks the last frame counted is shown, None for one frame."""
        if last_duration is not None:
            self._last_seconds = last_duration * self._video.time_base

    def tell(self, byte_count: int, done: int, total: int | None) -> None:
        """Report progress: `byte_count` bytes of stream, `done` of `total` (frames or bytes, None if unknown)."""
        if self._notify:
            share = min(1.0, done / total) if total else None
            self._notify(Progress(self.frames, share, self.elapsed_seconds, byte_count, self.duration_seconds))

    @property
    def elapsed_seconds(self) -> float:
        """Wall time since the start, never quite zero."""
        return max(time.monotonic() - self._start, 1e-6)

    @property
    def end_seconds(self) -> float:
        """Time at which the last frame counted ends."""
        return float(self._last_pts * self._video.time_base + self._last_seconds)

    @property
    def duration_seconds(self) -> float:
        """Playing time of the frames counted."""
        if self._first_pts is None:
            return 0.0
        return self.end_seconds - float(self._first_pts * self._video.time_base)


def _kbps(byte_count: int, seconds: float) -> float:
    return byte_count * 8 / 1000 / seconds
