"""Encoding as an object that may be kept: options, a model, and sources to encode with them."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from imfcodec.api.model import Model, as_model
from imfcodec.api.options import EncodeOptions
from imfcodec.api.places import Location, open_sink
from imfcodec.api.sound import Sound, open_sound
from imfcodec.api.stats import EncodeStats, Meter, Notify
from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.errors import InputError
from imfcodec.files import check_distinct, check_target
from imfcodec.frames import AudioPacket, Clip, Frame
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.notes import Notes, Say
from imfcodec.video.pipes import read_once, until_end
from imfcodec.video.reader import open_clip

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

    def encode(self, source: Location, target: Location, *, overwrite: bool = False) -> EncodeStats:
        """Encode a video.

        Args:
            source: a file FFmpeg reads (a pipe is read once), or a binary stream of Y4M.
            target: path or binary stream; a path appears only when the stream is complete.
            overwrite: replace an existing target.
        Raises:
            UsageError: an option does not fit, or the target exists.
            InputError: the source cannot be read, has no frames or, if that is asked for, is damaged.
            LimitError: the source is outside the limits.
            ModelError: the model is missing or damaged.
            OutputError: the target cannot be written.
        """
        options = self.options
        self._check(source, target, overwrite)
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
            self.limits.check_memory(clip.format)
            tell = Notes(source, self._say)
            tell(clip.notes)
            material = Clip(
                clip.format,
                until_end(clip.frames(), place),
                variable_rate=clip.variable_rate,
                last_duration=clip.last_duration,
                frame_count=clip.frame_count_hint,
            )
            stats = self._write(material, open_sound(clip, options, tell), target, overwrite)
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
        return self._write(replace(clip, frames=frames), Sound(clip.audio, clip.audio_packets), target, overwrite)

    def _check(self, source: Location | None, target: Location, overwrite: bool) -> None:
        check_distinct([source, self.model.file], [target])
        if isinstance(target, str | Path):
            check_target(target, overwrite=overwrite)

    def _write(self, clip: Clip, sound: Sound, target: Location, overwrite: bool) -> EncodeStats:
        model = self.model.load()
        first = next(clip.frames, None)
        if first is None:
            raise InputError("there are no frames to encode")
        packets = self._packets(chain((first,), clip.frames))
        header = StreamHeader(clip.format, model.model_id, sound.track, clip.variable_rate, first.pts)
        meter = Meter(clip.format, self._progress)
        with open_sink(target, overwrite) as sink:
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

    def _packets(self, frames: Iterator[Frame]) -> "Iterator[VideoPacket]":
        from imfcodec.codec.encoder import Encoder as FrameEncoder

        return self.model.paced(FrameEncoder(self.model.load(), self.options).encode(frames))


def _fitting(clip: Clip) -> Iterator[Frame]:
    """The frames of a clip, those of another size refused."""
    height, width = clip.format.height, clip.format.width
    for frame in clip.frames:
        if frame.y.shape != (height, width) or not frame.u.shape == frame.v.shape == (-(-height // 2), -(-width // 2)):
            raise InputError(f"a frame of {frame.y.shape[1]}x{frame.y.shape[0]} in a clip of {width}x{height} in 4:2:0")
        yield frame


def _write_all(writer: StreamWriter, batches: Iterable[list[AudioPacket]]) -> None:
    for batch in batches:
        writer.write_audio(batch)
