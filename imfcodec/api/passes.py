"""From a source to its stream: at the size and by the passes that give what was asked for."""

import itertools
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, cast

from imfcodec.api.model import Model
from imfcodec.api.options import EncodeOptions
from imfcodec.api.sound import Sound
from imfcodec.api.stats import EncodeStats, Meter, Notify
from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.codec.choices import Choice, Choices
from imfcodec.codec.control import Accounted, Control, LeakyBucket, Ledger
from imfcodec.codec.sizes import Size, coded_size, ladder
from imfcodec.codec.targets import Aim, Target, guess
from imfcodec.errors import InputError
from imfcodec.frames import AudioPacket, Clip, Frame, VideoFormat
from imfcodec.video.likeness import LikenessMeter
from imfcodec.video.scaling import resized

if TYPE_CHECKING:
    from imfcodec.bitstream.packet import VideoPacket
    from imfcodec.codec.size_trial import SizeChoice

SCOUT_INTERVAL = 16  # frames from one golden frame to the next where nothing is decided by trial
SCOUTS = 3
TRIAL_START = 50  # frame that a size is chosen by, or the middle of a shorter video
STREAM_MEMORY = 16 << 20  # bytes of a stream that wait in memory for the passes to end


@dataclass(frozen=True)
class Material:
    """A video that may be gone over again.

    Attributes:
        clip: gives it from its start; True says that this is the last time.
        sound: gives its sound from its start.
        is_live: nothing may wait for frames that are yet to come.
    """

    clip: Callable[[bool], Clip]
    sound: Callable[[], Sound]
    is_live: bool = False


@dataclass(frozen=True)
class PassResult:
    """What a pass came to, as `codec.targets.Result` has it, with the stream it made."""

    stats: EncodeStats
    stream: BinaryIO
    likeness: float | None
    ledger: Ledger
    choices: Sequence[Choice]

    @property
    def byte_count(self) -> int:
        """Of the whole stream."""
        return self.stats.byte_count

    @property
    def sound_bytes(self) -> int:
        """Those of them that are sound."""
        return self.stats.bytes_by_kind.get("audio", 0)

    @property
    def duration_seconds(self) -> float:
        """Playing time."""
        return self.stats.duration_seconds


class Coder:
    """Makes the stream of one video.

    Args:
        say: called with a line about a target that is not met, and about a size that was chosen.
    """

    def __init__(
        self,
        material: Material,
        options: EncodeOptions,
        model: Model,
        progress: Notify | None,
        say: Callable[[str], None],
    ) -> None:
        self._material, self._options, self._model = material, options, model
        self._progress, self._say = progress, say

    def write(self, sink: BinaryIO) -> EncodeStats:
        """Write the stream into `sink`."""
        self._options, size = self._choose_size()
        target = self._options.target
        if target and not self._options.is_one_pass:
            return self._write_best(target, size, sink)
        bucket = self._bucket(target) if target else None
        stats = self._code(self._material.clip(True), size, sink, control=bucket)
        if bucket and bucket.overflows:
            self._say(f"{bucket.overflows} packets overflow the buffer, though the quality is at its lowest")
        return stats

    def _write_best(self, target: Target, size: Size | None, sink: BinaryIO) -> EncodeStats:
        adaptive = self._options.structure == "offline" and self._options.golden_interval is None
        aim = Aim(target, self._runner(target, size), self._options.quality, SCOUTS if adaptive else 0)
        outcome = aim.reach()
        result = cast(PassResult, outcome.result)
        result.stream.seek(0)
        for piece in iter(lambda: result.stream.read(1 << 20), b""):
            sink.write(piece)
        if outcome.miss:
            self._say(outcome.miss)
        return replace(result.stats, passes=outcome.passes)

    def _runner(self, target: Target, size: Size | None) -> Callable[[Accounted, Choices | None], PassResult]:
        fixed = replace(self._options, golden_interval=SCOUT_INTERVAL)

        def run(control: Accounted, choices: Choices | None) -> PassResult:
            clip = self._material.clip(False)
            meter = None if target.kind.is_rate else LikenessMeter(target.name, clip.format)
            stream = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=STREAM_MEMORY))  # noqa: SIM115  # goes with it
            options = self._options if choices else fixed
            made = choices or Choices()
            stats = self._code(clip, size, stream, options, control, made, meter)
            return PassResult(stats, stream, meter.mean() if meter else None, control.ledger, made.made)

        return run

    def _bucket(self, target: Target) -> LeakyBucket:
        from imfcodec.codec.encoder import operating_point

        video = self._material.clip(False).format
        rate = max(1.0, target.value - self._sound_rate())
        size = self._options.vbv or target.value
        return LeakyBucket(
            rate,
            size,
            self._options.quality,
            lambda quality: operating_point(replace(self._options, quality=quality)).interval,
            1 / float(video.frame_rate),
        )

    def _sound_rate(self) -> float:
        """Bits a second of the sound."""
        clip = self._material.clip(False)
        if not clip.frame_count:
            return 0.0
        count = sum(len(packet.data) for batch in self._material.sound().until(math.inf) for packet in batch)
        return 8 * count * float(clip.format.frame_rate) / clip.frame_count

    def _choose_size(self) -> tuple[EncodeOptions, Size | None]:
        """The coded size, None for that of the frames, and the options with a quality that suits it to begin with."""
        options, video = self._options, self._material.clip(False).format
        if options.target:
            options = replace(options, quality=guess(options.target, video))
        source = video.width, video.height
        size = coded_size(options.coded_size, source)
        if size or self._material.is_live or len(ladder(source)) == 1:
            return options, size
        choice = self._try_sizes(options, video)
        if choice.size == source:
            return options, None
        self._say(f"coded at {choice.size[0]}x{choice.size[1]} (--coded-size 1 keeps {source[0]}x{source[1]})")
        return replace(options, quality=choice.quality), choice.size

    def _try_sizes(self, options: EncodeOptions, video: VideoFormat) -> "SizeChoice":
        from imfcodec.codec.size_trial import TRIAL_FRAMES, SizeTrial

        clip = self._material.clip(False)
        start = min(TRIAL_START, max(0, ((clip.frame_count or 0) - TRIAL_FRAMES) // 2))
        frames = list(itertools.islice(clip.frames, start, start + TRIAL_FRAMES))
        trial = SizeTrial(self._model.load(), options, frames, video, options.min_fps)
        rate = self._asked_rate(options.target, clip)
        if rate:
            return trial.by_rate(rate, options.quality)
        if options.target and options.target.name == "psnr":
            return trial.by_decibels(options.target.value, options.quality)
        return trial.by_quality(options.quality)

    def _asked_rate(self, target: Target | None, clip: Clip) -> float | None:
        """Bits a second left to the pictures, where a rate is asked for and the length is known."""
        if target is None or not target.kind.is_rate or not clip.frame_count:
            return None
        seconds = clip.frame_count / float(clip.format.frame_rate)
        asked = target.value if target.name == "bitrate" else 8 * target.value / seconds
        return max(1.0, asked - self._sound_rate())

    def _code(
        self,
        clip: Clip,
        size: Size | None,
        sink: BinaryIO,
        options: EncodeOptions | None = None,
        control: Control | None = None,
        choices: Choices | None = None,
        likeness: LikenessMeter | None = None,
    ) -> EncodeStats:
        """Go over the video once."""
        first = next(clip.frames, None)
        if first is None:
            raise InputError("there are no frames to encode")
        sound = self._material.sound()
        header = self._header(clip, size, sound, first.pts)
        frames = itertools.chain((first,), clip.frames)
        packets = self._packets(frames, header, options or self._options, control, choices, likeness)
        meter = Meter(clip.format, self._progress)
        writer = StreamWriter(sink, header)
        for packet in packets:
            writer.write_video(packet)
            meter.add(packet.pts)
            meter.tell(sum(writer.bytes_by_kind.values()), meter.frames, clip.frame_count)
            _write_all(writer, sound.until(meter.end_seconds))
        _write_all(writer, sound.until(math.inf))
        meter.end(clip.last_duration)
        writer.close(last_duration=clip.last_duration)
        sizes = dict(writer.bytes_by_kind)
        return EncodeStats(meter.frames, meter.duration_seconds, sum(sizes.values()), sizes, meter.elapsed_seconds)

    def _header(self, clip: Clip, size: Size | None, sound: Sound, first_pts: int) -> StreamHeader:
        width, height = size or (clip.format.width, clip.format.height)
        return StreamHeader(
            replace(clip.format, width=width, height=height),
            self._model.model_id,
            sound.track,
            clip.variable_rate,
            first_pts,
            shown_size=(clip.format.width, clip.format.height) if size else None,
        )

    def _packets(
        self,
        frames: Iterator[Frame],
        header: StreamHeader,
        options: EncodeOptions,
        control: Control | None,
        choices: Choices | None,
        likeness: LikenessMeter | None,
    ) -> "Iterator[VideoPacket]":
        from imfcodec.codec.encoder import Encoder
        from imfcodec.codec.monitor import Monitor

        model = self._model.load()
        monitor = Monitor(model, header, likeness) if likeness else None
        originals = monitor.originals(frames) if monitor else frames
        coded = resized(originals, header.format.width, header.format.height)
        packets = Encoder(model, options, control=control, choices=choices).encode(coded)
        return self._model.paced(monitor.packets(packets) if monitor else packets)


def _write_all(writer: StreamWriter, batches: Iterable[list[AudioPacket]]) -> None:
    for batch in batches:
        writer.write_audio(batch)
