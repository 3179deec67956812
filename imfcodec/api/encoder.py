"""Encoding as an object that may be kept: options, a model, and sources to encode with them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from imfcodec.api.footage import open_footage
from imfcodec.api.model import Model, as_model
from imfcodec.api.options import EncodeOptions
from imfcodec.api.passes import Coder, Material, TakeFrames
from imfcodec.api.places import Location, open_sink
from imfcodec.api.resuming import resume_tag
from imfcodec.api.side_by_side import Jobs
from imfcodec.api.sound import Sound, open_sound
from imfcodec.api.stats import EncodeStats, Notify
from imfcodec.errors import InputError, UsageError
from imfcodec.files import UnfinishedFile, check_distinct, check_target, keep_beside
from imfcodec.frames import Clip, Frame
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.editing import EditedClip
from imfcodec.video.likeness import check_measure
from imfcodec.video.notes import Notes, Say
from imfcodec.video.spool import Spool

DEFAULT_OPTIONS = EncodeOptions()


class Encoder:
    """Makes .imf streams, any number of them one after the other; frames stream through.

    Args:
        options: what to make of the sources.
        model: a `Model`, its name or path; None is the default one.
        limits: what a source may ask for at most.
        progress: called after every packet.
        say: called with one line for whatever is damaged, left out or changed in a source.
        jobs: code groups of frames side by side in so many processes, each with the model's threads, else one; the
            streams are those of one process with as many threads. Files only, and not for targets. The processes import
            the main module, so a script has to guard what it does by `if __name__ == "__main__"`. None is this process.
    Raises:
        UsageError: fewer than one job.
    """

    def __init__(
        self,
        options: EncodeOptions = DEFAULT_OPTIONS,
        *,
        model: Model | str | Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
        progress: Notify | None = None,
        say: Say | None = None,
        jobs: int | None = None,
    ) -> None:
        if jobs is not None and jobs < 1:
            raise UsageError(f"{jobs} jobs code nothing; give 1 or more")
        self.options, self.model, self.limits = options, as_model(model), limits
        self._progress, self._say, self._jobs = progress, say, jobs
        if jobs:
            self.model = self.model.with_threads(self.model.threads or 1)

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
        if resume and options.target:
            raise UsageError(f"--resume goes with a quality, not with {options.target.kind.option}")
        jobs = Jobs(source, options, self._jobs) if self._jobs else None
        tag = resume_tag(source, target, options, self.model) if resume else None
        tell = Notes(source, self._say)
        with open_footage(source, options, self.limits, tell) as (clip, footage):
            self.limits.check_format(footage.format)
            self.limits.check_memory(footage.format, refining=options.refines)
            with self._frames(footage.frames, once=clip.frame_count_hint is None) as frames:
                material = self._material(footage, frames, lambda: open_sound(footage, options, tell))
                stats = self._write(material, target, overwrite, tell, tag, jobs)
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
        if self._jobs:
            raise UsageError("--jobs needs a file to read; frames that a program makes come once")
        self.limits.check_format(clip.format)
        self.limits.check_memory(clip.format, refining=self.options.refines)
        sound = list(clip.audio_packets) if self.options.target else clip.audio_packets
        with self._frames(lambda: self.limits.counted(_fitting(clip)), once=True) as frames:
            material = self._material(clip, frames, lambda: Sound(clip.audio, sound))
            return self._write(material, target, overwrite, Notes("clip", self._say))

    @contextmanager
    def _frames(self, frames: Callable[[], Iterator[Frame]], *, once: bool) -> Iterator[TakeFrames]:
        """Frames that passes go over: those that come `once` are kept as far as they are needed again."""
        if not once:
            yield lambda last: frames()
            return
        with Spool(frames()) as spool:
            yield lambda last: spool.drain() if last else iter(spool)

    def _material(self, clip: Clip | EditedClip, frames: TakeFrames, sound: Callable[[], Sound]) -> Material:
        return Material(
            clip.format, frames, sound, clip.variable_rate, clip.frame_count_hint, lambda: clip.last_duration
        )

    def _check(self, source: Location | None, target: Location, overwrite: bool) -> None:
        check_distinct([source, self.model.file, *self.options.masks], [target])
        if isinstance(target, str | Path):
            check_target(target, overwrite=overwrite)
        if self.options.target and not self.options.target.kind.is_rate:
            check_measure(self.options.target.name)

    def _write(
        self,
        material: Material,
        target: Location,
        overwrite: bool,
        tell: Notes,
        tag: str | None = None,
        jobs: Jobs | None = None,
    ) -> EncodeStats:
        self.model.load()
        coder = Coder(material, self.options, self.model, self.limits, self._progress, tell, self._say, jobs)
        with self._open(target, overwrite, tag) as (sink, unfinished):
            return coder.write(sink, unfinished)

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


def _fitting(clip: Clip) -> Iterator[Frame]:
    """The frames of a clip, those of another size refused."""
    height, width = clip.format.height, clip.format.width
    for frame in clip.frames:
        if frame.y.shape != (height, width) or not frame.u.shape == frame.v.shape == (-(-height // 2), -(-width // 2)):
            raise InputError(f"a frame of {frame.y.shape[1]}x{frame.y.shape[0]} in a clip of {width}x{height} in 4:2:0")
        yield frame
