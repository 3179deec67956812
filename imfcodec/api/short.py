"""The short way: one function for each job, built on the objects."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from imfcodec.api.decoder import Decoder
from imfcodec.api.encoder import DEFAULT_OPTIONS, Encoder
from imfcodec.api.model import Model
from imfcodec.api.options import EncodeOptions
from imfcodec.api.places import Location, open_source
from imfcodec.api.sound import DecodedSound
from imfcodec.api.stats import DecodeStats, EncodeStats, Meter, Notify
from imfcodec.bitstream.container import StreamSummary, verify_structure
from imfcodec.errors import UsageError
from imfcodec.files import check_distinct
from imfcodec.frames import Frame
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.notes import Notes, Say


def encode(
    source: Location,
    target: Location,
    options: EncodeOptions = DEFAULT_OPTIONS,
    *,
    model: Model | str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    overwrite: bool = False,
    progress: Notify | None = None,
    say: Say | None = None,
    **changes: Any,
) -> EncodeStats:
    """Encode a video into an .imf stream; frames stream through, memory does not grow with length.

    Args:
        source, target, overwrite: as for `Encoder.encode`.
        options: what to make of the source.
        model: a `Model`, which then says the next three too, its name or path; None is the default one.
        device, dtype, threads: as for `Model`.
        limits, progress, say: as for `Encoder`.
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
    )
    return encoder.encode(source, target, overwrite=overwrite)


def decode(
    source: Location,
    target: Location,
    *,
    model: Model | str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    conceal: bool = False,
    audio: str = "copy",
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
        conceal: decode past damage, covering lost frames, instead of raising an error; bad sound is left out.
        audio: "copy" or "none"; what the target cannot hold is coded with Opus.
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
    held = _model(model, device, dtype, threads)
    check_distinct([source, held.file], [target])
    tell = Notes(target, say)
    with Decoder(source, model=held, conceal=conceal, limits=limits) as stream:
        video = stream.format
        # The target is opened before the model is loaded: what cannot be written is told at once.
        sound = DecodedSound(target, None if audio == "none" else stream.header.audio, conceal, tell)
        stream.take_audio = sound.take
        with sound.open(video, overwrite) as writer:
            if stream.header.variable_rate and not writer.holds_times:
                tell([f"holds no time stamps: frames that were shown at varying times are {video.frame_rate} a second"])
            stream.load()
            meter = Meter(video, progress)
            for frame in stream:
                writer.write(frame)
                meter.add((frame.pts,))
                meter.tell(stream.bytes_read, stream.bytes_read, stream.size)
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
    model: Model | str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    conceal: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Frame]:
    """Yield the frames of an .imf stream in display order; arguments and errors as for `decode`."""
    held = _model(model, device, dtype, threads)
    with Decoder(source, model=held, conceal=conceal, limits=limits) as stream:
        yield from stream


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


def _model(model: Model | str | None, device: str, dtype: str, threads: int | None) -> Model:
    return model if isinstance(model, Model) else Model(model, device=device, dtype=dtype, threads=threads)
