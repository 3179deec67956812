"""Encoding as an object that may be kept: options, a model, and sources to encode with them."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from imfcodec.api.model import Model, as_model
from imfcodec.api.options import EncodeOptions
from imfcodec.api.places import Location, open_sink
from imfcodec.api.resuming import resume_tag, whole_groups
from imfcodec.api.sound import Sound, open_sound
from imfcodec.api.stats import EncodeStats, Meter, Notify
from imfcodec.api.verifying import VerifiedSink
from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import AudioBatch
from imfcodec.errors import InputError
from imfcodec.files import UnfinishedFile, check_distinct, check_target, keep_beside
from imfcodec.frames import Clip, Frame
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.editing import EditedClip
from imfcodec.video.notes import Notes, Say
from imfcodec.video.pipes import read_once, until_end
from imfcodec.video.reader import ClipReader, open_clip

if TYPE_CHECKING:
    from imfcodec.bitstream.packet import VideoPacket

DEFAULT_OPTIONS = EncodeOptions()


class Encoder:
    """Makes .imf streams, any number of them one after the other; frames stream through.

    Args:
        options: what to make of the sources.
        model: a `Model`, its name or path; None is the default one.
        limits: what a source may ask for at most.
        progress: called after every packet.
        say: called with one line for whatever is damaged, left out or changed in a source.
    """

    def __init__(
        self,
        options: EncodeOptions = DEFAULT_OPTIONS,
        *,
        model: Model | str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        progress: Notify | None = None,
        say: Say | None = None,
    ) -> None:
        self.options, self.model, self.limits = options, as_model(model), limits
        self._progress, self._say = progress, say

    def encode(
        self, source: Location, target: Location, *, overwrite: bool = False, resume: bool = False
    ) -> EncodeStats:
        """Encode a video.

        Args:
            source: a file FFmpeg reads (a pipe is read once), or a binary stream of Y4M.
            target: path or binary stream; a path appears only when the stream is complete.
            overwrite: replace an existing target.
            resume: keep what is written beside the target if the run does not finish, and go on with what such a run
                has written of whole groups; the stream is that of an undisturbed run. For files only.
        Raises:
            UsageError: an option does not fit, or the target exists.
            InputError: the source cannot be read, has no frames or, if that is asked for, is damaged.
            LimitError: the source is outside the limits.
            ModelError: the model is missing or damaged.
            OutputError: the target cannot be written.
        """
        options = self.options
        self._check(source, target, overwrite)
        tag = resume_tag(source, target, options, self.model) if resume else None
        with (
            read_once(source, is_raw=options.raw is not None) as place,
            open_clip(
                place,
                raw=options.raw,
                audio=options.audio != "none",
                options=options.source_options,
                limits=self.limits,
            ) as clip,
        ):
            tell = Notes(source, self._say)
            tell(clip.notes)
            footage = EditedClip(clip, lambda: until_end(clip.frames(), place), options.edits)
            self.limits.check_format(footage.format)
            self.limits.check_memory(footage.format)
            stats = self._write(footage, footage.frames(), open_sound(footage, options, tell), target, overwrite, tag)
            tell(clip.notes)
        return replace(
            stats,
            damaged_frames=clip.damaged_frames,
            repeated_frames=clip.repeated_frames,
            cut_off=clip.cut_off,
        )

    def encode_clip(self, clip: Clip, target: Location, *, overwrite: bool = False) -> EncodeStats:
        """Encode frames that the caller makes, and sound as it is if there is any; otherwise as `encode`.

        Frames are taken one after the other, when they are needed. Of the options, those about sources do not matter.

        Raises:
            UsageError: frames that do not fit the clip's format, or times that do not fit its rate.
        """
        self._check(None, target, overwrite)
        self.limits.check_format(clip.format)
        self.limits.check_memory(clip.format)
        frames = self.limits.counted(_fitting(clip))
        return self._write(clip, frames, Sound(clip.audio, clip.audio_packets), target, overwrite)

    def _check(self, source: Location | None, target: Location, overwrite: bool) -> None:
        check_distinct([source, self.model.file], [target])
        if isinstance(target, str | Path):
            check_target(target, overwrite=overwrite)

    def _write(
        self,
        clip: Clip | ClipReader | EditedClip,
        frames: Iterator[Frame],
        sound: Sound,
        target: Location,
        overwrite: bool,
        tag: str | None = None,
    ) -> EncodeStats:
        model = self.model.load()
        first = next(frames, None)
        if first is None:
            raise InputError("there are no frames to encode")
        header = StreamHeader(clip.format, model.model_id, sound.track, clip.variable_rate, first.pts)
        meter = Meter(clip.format, self._progress)
        with self._open(target, overwrite, tag) as (sink, unfinished):
            checked = VerifiedSink(sink, self.model, self.limits) if self.options.verify else None
            writer = StreamWriter(cast(BinaryIO, checked or sink), header)
            if unfinished:
                self._take_over(unfinished, header, writer, meter, checked)
                deque(sound.until(meter.end_seconds if meter.frames else -math.inf), maxlen=0)  # is written
            for packet in self._packets(islice(chain((first,), frames), meter.frames, None), checked):
                writer.write_video(packet)
                meter.add(packet.pts)
                meter.tell(sum(writer.bytes_by_kind.values()), meter.frames, clip.frame_count_hint)
                sound.write(writer, meter.end_seconds)
            sound.write(writer, math.inf)
            meter.end(clip.last_duration)
            writer.close(last_duration=clip.last_duration)
            if checked:
                checked.finish()
        sizes = dict(writer.bytes_by_kind)
        return EncodeStats(meter.frames, meter.duration_seconds, sum(sizes.values()), sizes, meter.elapsed_seconds)

    @contextmanager
    def _open(
        self, target: Location, overwrite: bool, tag: str | None
    ) -> Iterator[tuple[BinaryIO, UnfinishedFile | None]]:
        if tag is not None and isinstance(target, str | Path):
            with keep_beside(target, tag, overwrite=overwrite) as file:
                yield file.file, file
        else:
            with open_sink(target, overwrite) as sink:
                yield sink, None

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

    def _packets(self, frames: Iterator[Frame], checked: VerifiedSink | None) -> "Iterator[VideoPacket]":
        from imfcodec.codec.encoder import Encoder as FrameEncoder

        encoder = FrameEncoder(self.model.load(), self.options, show=checked.expect if checked else None)
        return self.model.paced(encoder.encode(frames))


def _fitting(clip: Clip) -> Iterator[Frame]:
    """The frames of a clip, those of another size refused."""
    height, width = clip.format.height, clip.format.width
    for frame in clip.frames:
        if frame.y.shape != (height, width) or not frame.u.shape == frame.v.shape == (-(-height // 2), -(-width // 2)):
            raise InputError(f"a frame of {frame.y.shape[1]}x{frame.y.shape[0]} in a clip of {width}x{height} in 4:2:0")
        yield frame
