"""From a source to its stream: at the size and by the passes that give what was asked for."""

import itertools
import math
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, cast

from imfcodec.api.model import Model
from imfcodec.api.options import EncodeOptions
from imfcodec.api.resuming import whole_groups
from imfcodec.api.side_by_side import Jobs, code_side_by_side
from imfcodec.api.sound import Sound
from imfcodec.api.stats import EncodeStats, Meter, Notify
from imfcodec.api.verifying import VerifiedSink
from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import AudioBatch
from imfcodec.codec.choices import Choice, Choices
from imfcodec.codec.control import Accounted, Control, LeakyBucket, Ledger
from imfcodec.codec.monitor import Monitor
from imfcodec.codec.sizes import Size, coded_size, ladder
from imfcodec.codec.targets import Aim, Target, guess, sound_hint
from imfcodec.errors import InputError
from imfcodec.files import UnfinishedFile
from imfcodec.frames import Frame, VideoFormat
from imfcodec.limits import Limits
from imfcodec.video.likeness import LikenessMeter
from imfcodec.video.notes import Notes, Say
from imfcodec.video.regions import with_weights
from imfcodec.video.scaling import resized

if TYPE_CHECKING:
    from imfcodec.bitstream.packet import VideoPacket
    from imfcodec.codec.size_trial import SizeChoice

SCOUT_INTERVAL = 16  # frames from one golden frame to the next where nothing is decided by trial
SCOUTS = 3
TRIAL_START = 50  # frame that a size is chosen by, or the middle of a shorter video
STREAM_MEMORY = 16 << 20  # bytes of a stream that wait in memory for the passes to end


TakeFrames = Callable[[bool], Iterator[Frame]]
"""Gives the frames of a video from its start; True says that this is the last time."""


@dataclass(frozen=True)
class Material:
    """A video that may be gone over again.

    Attributes:
        format: of its frames.
        frames: gives them.
        sound: gives its sound from its start.
        variable_rate: whether frames are shown at times of their own.
        frame_count: about how many there are; None where that is not known, and frames may come as they are made.
        last_duration: ticks the last frame is shown, None for one frame; known after it.
    """

    format: VideoFormat
    frames: TakeFrames
    sound: Callable[[], Sound]
    variable_rate: bool
    frame_count: int | None
    last_duration: Callable[[], int | None]


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
        tell: takes lines about a target that is not met, and about a size that was chosen.
        say: called with a line about an unfinished run.
        jobs: processes that code; None is this one.
    """

    def __init__(
        self,
        material: Material,
        options: EncodeOptions,
        model: Model,
        limits: Limits,
        progress: Notify | None,
        tell: Notes,
        say: Say | None,
        jobs: Jobs | None = None,
    ) -> None:
        self._material, self._options, self._model, self._limits = material, options, model, limits
        self._progress, self._tell, self._say = progress, tell, say
        self._jobs = jobs
        self._size: Size | None = None

    def write(self, sink: BinaryIO, unfinished: UnfinishedFile | None = None) -> EncodeStats:
        """Write the stream into `sink`; what an `unfinished` run has written is taken over."""
        self._options, self._size = self._choose_size()
        target = self._options.target
        if target and not self._options.is_one_pass:
            return self._write_best(target, sink)
        bucket = self._bucket(target) if target else None
        stats = self._code(sink, self._options, bucket, unfinished=unfinished, last=True)
        if bucket and bucket.overflows:
            hint = sound_hint(target, self._sound_rate()) if target else ""
            self._tell([f"{bucket.overflows} packets overflow the buffer, though the quality is at its lowest{hint}"])
        return stats

    def _write_best(self, target: Target, sink: BinaryIO) -> EncodeStats:
        adaptive = self._options.structure == "offline" and self._options.golden_interval is None
        aim = Aim(target, self._runner(target), self._options.quality, SCOUTS if adaptive else 0)
        outcome = aim.reach()
        result = cast(PassResult, outcome.result)
        result.stream.seek(0)
        for piece in iter(lambda: result.stream.read(1 << 20), b""):
            sink.write(piece)
        if outcome.miss:
            self._tell([outcome.miss])
        return replace(result.stats, passes=outcome.passes)

    def _runner(self, target: Target) -> Callable[[Accounted, Choices | None], PassResult]:
        fixed = replace(self._options, golden_interval=SCOUT_INTERVAL, preset="fast")

        def run(control: Accounted, choices: Choices | None) -> PassResult:
            meter = None if target.kind.is_rate else LikenessMeter(target.name, self._material.format)
            stream = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=STREAM_MEMORY))  # noqa: SIM115  # goes with it
            made = choices or Choices()
            stats = self._code(stream, self._options if choices else fixed, control, made, meter)
            return PassResult(stats, stream, meter.mean() if meter else None, control.ledger, made.made)

        return run

    def _bucket(self, target: Target) -> LeakyBucket:
        from imfcodec.codec.encoder import operating_point

        return LeakyBucket(
            max(1.0, target.value - self._sound_rate()),
            self._options.vbv or target.value,
            self._options.quality,
            lambda quality: operating_point(replace(self._options, quality=quality)).interval,
            1 / float(self._material.format.frame_rate),
        )

    def _seconds(self) -> float | None:
        """About the playing time, None where it is not known."""
        count = self._material.frame_count
        return count / float(self._material.format.frame_rate) if count else None

    def _sound_rate(self) -> float:
        """Bits a second of the sound, 0 where the playing time is not known."""
        seconds = self._seconds()
        if seconds is None:
            return 0.0
        batches = self._material.sound().until(math.inf)
        return 8 * sum(len(packet.data) for batch in batches for packet in batch) / seconds

    def _choose_size(self) -> tuple[EncodeOptions, Size | None]:
        """The options with a quality to begin with, and the coded size, None for that of the frames."""
        options, video = self._options, self._material.format
        if options.target:
            options = replace(options, quality=guess(options.target, video))
        source = video.width, video.height
        size = coded_size(options.coded_size, source)
        # Where frames come as they are made, and go out so, none can wait for a trial.
        is_live = options.structure == "low-delay" and self._material.frame_count is None
        if size or is_live or len(ladder(source)) == 1:
            return options, None if size == source else size
        choice = self._try_sizes(options)
        if choice.size == source:
            return options, None
        chosen, kept = (f"{width}x{height}" for width, height in (choice.size, source))
        self._tell([f"coded at {chosen} (--coded-size 1 keeps {kept})"])
        return replace(options, quality=choice.quality), choice.size

    def _try_sizes(self, options: EncodeOptions) -> "SizeChoice":
        from imfcodec.codec.size_trial import TRIAL_FRAMES, SizeTrial

        start = min(TRIAL_START, max(0, ((self._material.frame_count or 0) - TRIAL_FRAMES) // 2))
        frames = list(itertools.islice(self._material.frames(False), start, start + TRIAL_FRAMES))
        trial = SizeTrial(self._model.load(), options, frames, self._material.format, options.min_fps)
        rate = self._asked_rate(options.target)
        with self._model.own_threads():
            if rate:
                return trial.by_rate(rate, options.quality)
            if options.target and options.target.name == "psnr":
                return trial.by_decibels(options.target.value, options.quality)
            return trial.by_quality(options.quality)

    def _asked_rate(self, target: Target | None) -> float | None:
        """Bits a second left to the pictures, where a rate is asked for and the playing time is known."""
        seconds = self._seconds()
        if target is None or not target.kind.is_rate or seconds is None:
            return None
        asked = target.value if target.name == "bitrate" else 8 * target.value / seconds
        return max(1.0, asked - self._sound_rate())

    def _code(
        self,
        sink: BinaryIO,
        options: EncodeOptions,
        control: Control | None,
        choices: Choices | None = None,
        likeness: LikenessMeter | None = None,
        *,
        unfinished: UnfinishedFile | None = None,
        last: bool = False,
    ) -> EncodeStats:
        """Go over the video once, for the `last` time or not."""
        frames = self._material.frames(last)
        frames = with_weights(frames, options.roi, self._material.format, self._limits, self._tell)
        first = next(frames, None)
        if first is None:
            raise InputError("there are no frames to encode")
        frames = itertools.chain((first,), frames)
        sound = self._material.sound()
        header = self._header(sound, first.pts)
        meter = Meter(self._material.format, self._progress)
        verify = options.verify and self._jobs is None  # jobs verify what they code
        checked = VerifiedSink(sink, self._model, self._limits) if verify else None
        writer = StreamWriter(cast(BinaryIO, checked or sink), header)
        if unfinished:
            self._take_over(unfinished, header, writer, meter, checked)
            deque(sound.until(meter.end_seconds if meter.frames else -math.inf), maxlen=0)  # is written
        coming = itertools.islice(frames, meter.frames, None)
        if self._jobs:
            coded = code_side_by_side(self._jobs, coming, meter.frames, options, self._model, self._limits, header)
        else:
            coded = self._packets(coming, header, options, control, choices, likeness, checked)
        with closing(coded) as packets:
            for packet in packets:
                writer.write_video(packet)
                meter.add(packet.pts)
                meter.tell(sum(writer.bytes_by_kind.values()), meter.frames, self._material.frame_count)
                sound.write(writer, meter.end_seconds)
        sound.write(writer, math.inf)
        meter.end(self._material.last_duration())
        writer.close(last_duration=self._material.last_duration())
        if checked:
            checked.finish()
        sizes = dict(writer.bytes_by_kind)
        return EncodeStats(meter.frames, meter.duration_seconds, sum(sizes.values()), sizes, meter.elapsed_seconds)

    def _header(self, sound: Sound, first_pts: int) -> StreamHeader:
        video, size = self._material.format, self._size
        width, height = size or (video.width, video.height)
        return StreamHeader(
            replace(video, width=width, height=height),
            self._model.model_id,
            sound.track,
            self._material.variable_rate,
            first_pts,
            shown_size=(video.width, video.height) if size else None,
        )

    def _take_over(
        self,
        unfinished: UnfinishedFile,
        header: StreamHeader,
        writer: StreamWriter,
        meter: Meter,
        checked: VerifiedSink | None,
    ) -> None:
        """Write what an earlier run has written, and say so."""
        for item in whole_groups(unfinished.previous, header) if unfinished.previous else ():
            if isinstance(item, AudioBatch):
                writer.write_audio(item.packets)
                continue
            if checked:
                checked.pass_over(item.frame_count)
            writer.write_video(item)
            meter.add(item.pts)
        unfinished.settle()
        if meter.frames:
            Notes(unfinished.name, self._say)([f"goes on after {meter.frames} frames of an unfinished run"])

    def _packets(
        self,
        frames: Iterator[Frame],
        header: StreamHeader,
        options: EncodeOptions,
        control: Control | None,
        choices: Choices | None,
        likeness: LikenessMeter | None,
        checked: VerifiedSink | None,
    ) -> "Generator[VideoPacket, None, None]":
        from imfcodec.codec.encoder import Encoder

        monitor = Monitor(likeness) if likeness else None
        watching = [watch for watch in (monitor and monitor.show, checked and checked.expect) if watch]

        def show(shown: list[Frame]) -> None:
            for watch in watching:
                watch(shown)

        originals = monitor.originals(frames) if monitor else frames
        coded = resized(originals, header.format.width, header.format.height)
        encoder = Encoder(self._model.load(), options, None, None, show if watching else None, control, choices)
        return self._model.paced(encoder.encode(coded))
