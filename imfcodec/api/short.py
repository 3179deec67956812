"""The short way: one function for each job, built on the objects."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from imfcodec.api.decoder import Decoder, Seconds
from imfcodec.api.encoder import DEFAULT_OPTIONS, Encoder
from imfcodec.api.model import Model
from imfcodec.api.options import EncodeOptions
from imfcodec.api.parts import Part
from imfcodec.api.places import Location, open_source
from imfcodec.api.sound import DecodedSound
from imfcodec.api.stats import DecodeStats, EncodeStats, Meter, Notify
from imfcodec.bitstream.container import StreamSummary, verify_structure
from imfcodec.errors import UsageError
from imfcodec.files import check_distinct, check_target
from imfcodec.frames import Frame
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.coding import VideoCoding
from imfcodec.video.extras import Extras
from imfcodec.video.notes import Notes, Say
from imfcodec.video.scaling import upright
from imfcodec.video.writer import write_picture


def encode(
    source: Location,
    target: Location,
    options: EncodeOptions = DEFAULT_OPTIONS,
    *,
    model: Model | str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    overwrite: bool = False,
    resume: bool = False,
    jobs: int | None = None,
    progress: Notify | None = None,
    say: Say | None = None,
    **changes: Any,
) -> EncodeStats:
    """Encode a video into an .imf stream; frames stream through, memory does not grow with length.

    Args:
        source, target, overwrite, resume: as for `Encoder.encode`.
        options: what to make of the source.
        model: a `Model`, which then says the next three too, its name or path; None is the default one.
        device, dtype, threads: as for `Model`.
        limits, jobs, progress, say: as for `Encoder`.
        changes: fields of `EncodeOptions` by name, such as `quality=40, audio="opus:12k"`; they come before `options`.
    Raises:
        Errors of `EncodeOptions` and `Encoder.encode`.
    """
    encoder = Encoder(
        replace(options, **changes),
        model=_model(model, device, dtype, threads),
        limits=limits,
        progress=progress,
        say=say,
        jobs=jobs,
    )
    return encoder.encode(source, target, overwrite=overwrite, resume=resume)


def decode(
    source: Location,
    target: Location,
    *,
    model: Model | str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
    conceal: bool = False,
    native: bool = False,
    audio: str = "copy",
    coding: VideoCoding | None = None,
    extras_from: str | Path | None = None,
    start: Seconds | None = None,
    stop: Seconds | None = None,
    frames: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    overwrite: bool = False,
    progress: Notify | None = None,
    say: Say | None = None,
) -> DecodeStats:
    """Decode an .imf stream into a video; frames and sound stream through.

    Args:
        source: path or binary stream.
        target: path whose suffix names the format (see `video.writer.open_writer`), or a binary stream for Y4M.
        model, device, dtype, threads: as for `encode`; without `model`, the one the stream names.
        engine: as for `Model`.
        conceal: decode past damage, covering lost frames, instead of raising an error; bad sound is left out.
        native: write frames of the coded size instead of scaling them to the shown size.
        audio: "copy" or "none"; what the target cannot hold is coded with Opus.
        coding: codec and rate factor of the pictures in an .mp4 or .mkv.
        extras_from: the file the stream was made of, whose subtitles and chapters an .mp4 or .mkv gets.
        start, stop, frames: the part to decode, see `Part`.
        limits: what the stream may ask for at most.
        overwrite: replace an existing target.
        progress: called after every frame.
        say: called with one line for whatever the target cannot hold.
    Raises:
        UsageError: an option does not fit, or the target exists.
        OutputError: the target cannot be written.
        Errors of `Decoder`.
    """
    if audio not in ("copy", "none"):
        raise UsageError(f"audio {audio!r} is unknown; use copy or none")
    part = Part(start, stop, frames)
    held = _model(model, device, dtype, threads, engine)
    check_distinct([source, held.file, extras_from], [target])
    tell = Notes(target, say)
    with (
        Decoder(source, model=held, conceal=conceal, native=native, limits=limits) as stream,
        Extras(extras_from, start or 0) if extras_from else nullcontext() as extras,
    ):
        video = stream.format
        # The target is opened before the model is loaded: what cannot be written is told at once.
        sound = DecodedSound(target, None if audio == "none" else stream.header.audio, conceal, tell)
        with sound.open(video, overwrite, coding, extras) as writer:
            tell(extras.notes if extras else ())
            if stream.header.variable_rate and not writer.holds_times:
                tell([f"holds no time stamps: frames that were shown at varying times are {video.frame_rate} a second"])
            stream.load()
            meter = Meter(video, progress)
            for frame in part.decode(stream, sound):
                writer.write(frame)
                meter.add((frame.pts,))
                meter.tell(stream.bytes_read, stream.bytes_read, stream.size if part.is_whole else None)
            sound.finish()
            meter.end(stream.last_duration)
            writer.last_duration = stream.last_duration
            if not writer.holds_times and stream.last_duration not in (None, stream.header.nominal_ticks):
                tell(["holds no time stamps: the last frame is shown as short as the others"])
    lost_packets = stream.lost_packets + sound.lost_packets
    return DecodeStats(
        meter.frames, stream.concealed_frames, lost_packets, meter.duration_seconds, meter.elapsed_seconds
    )


def decode_frames(
    source: Location,
    *,
    model: Model | str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
    conceal: bool = False,
    native: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Frame]:
    """Yield the frames of an .imf stream in display order; arguments and errors as for `decode`."""
    held = _model(model, device, dtype, threads, engine)
    with Decoder(source, model=held, conceal=conceal, native=native, limits=limits) as stream:
        yield from stream


def thumbnail(
    source: Location,
    target: str | Path,
    *,
    at: Seconds = 0,
    model: Model | str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    overwrite: bool = False,
) -> None:
    """Write one frame of an .imf stream as a PNG picture, upright and with square pixels.

    Args:
        at: seconds; the first frame shown then or later is taken, and no more of the stream is read than it needs.
        model, device, dtype, threads, limits: as for `decode`.
        overwrite: replace an existing target.
    Raises:
        UsageError: the target exists or is no .png, or the stream has not begun or has ended by then.
        OutputError: the target cannot be written.
        Errors of `Decoder`.
    """
    if Path(target).suffix.lower() != ".png":
        raise UsageError(f"{target}: a thumbnail is a .png file")
    if at < 0:
        raise UsageError(f"a frame at {float(at):g} seconds lies before the stream; give 0 or more")
    held = _model(model, device, dtype, threads)
    check_distinct([source, held.file], [target])
    check_target(target, overwrite=overwrite)
    with Decoder(source, model=held, limits=limits) as stream:
        stream.seek(at)
        frame = next(stream, None)
        if frame is None:
            raise UsageError(f"the stream has ended before {float(at):g} seconds; take an earlier frame")
        write_picture(target, *upright(frame, stream.format))


def probe(source: Location, *, limits: Limits = DEFAULT_LIMITS) -> StreamSummary:
    """Read a whole .imf stream, check its structure, checksums and hash, and say what it holds; needs no model.

    Raises:
        CorruptStreamError: the stream is damaged.
        LimitError: a size in the stream is above the limits.
    """
    with open_source(source) as file:
        summary = verify_structure(file)
    limits.check_format(summary.header.format)
    limits.check_count(summary.total_frames)
    return summary


def list_models() -> list[dict[str, Any]]:
    """One row for every installed model: name, model_id (hexadecimal), parameters, default, path."""
    from imfcodec.zoo import available_models

    return [
        {**asdict(model), "model_id": model.model_id.hex(), "path": str(model.path)} for model in available_models()
    ]


def _model(
    model: Model | str | Path | None, device: str, dtype: str, threads: int | None, engine: str = "auto"
) -> Model:
    if isinstance(model, Model):
        return model
    return Model(model, device=device, dtype=dtype, threads=threads, engine=engine)
