"""The codec as functions: encode, decode, probe. Models, and torch with them, are loaded only where one is needed."""

import errno
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from imfcodec.bitstream.container import StreamReader, StreamSummary, StreamWriter, verify_structure
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import AudioBatch, LostPacket, VideoPacket
from imfcodec.errors import ImfError, InputError, ModelError, UsageError
from imfcodec.files import check_distinct, check_target, named_errors, open_input, write_beside
from imfcodec.frames import AudioPacket, AudioTrack, Frame, VideoFormat
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.progress import Progress
from imfcodec.video.audio import OpusEncoder, OpusTranscoder, can_copy, is_sane, usual_opus_bitrate
from imfcodec.video.notes import Notes, Say, describe_damage
from imfcodec.video.pipes import read_once, until_end
from imfcodec.video.reader import ClipReader, RawSpec, SourceOptions, open_clip
from imfcodec.video.writer import SOUND_SUFFIXES, ClipWriter, open_writer

if TYPE_CHECKING:
    from imfcodec.codec.decoder import Decoder
    from imfcodec.zoo import LoadedModel

Location = str | Path | BinaryIO
Notify = Callable[[Progress], None]

AUDIO_BATCH = 64  # sound packets in one packet of the stream, at most


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
    """

    frames: int
    duration_seconds: float
    byte_count: int
    bytes_by_kind: dict[str, int]
    elapsed_seconds: float
    damaged_frames: int = 0
    repeated_frames: int = 0
    cut_off: bool = False

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


def encode(
    source: Location,
    target: Location,
    *,
    quality: float = 50,
    structure: str = "offline",
    golden_interval: int | None = None,
    key_interval: int | None = None,
    audio: str = "copy",
    model: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    raw: RawSpec | None = None,
    source_options: SourceOptions | None = None,
    limits: Limits = DEFAULT_LIMITS,
    overwrite: bool = False,
    progress: Notify | None = None,
    say: Say | None = None,
) -> EncodeStats:
    """Encode a video into an .imf stream; frames stream through, memory does not grow with length.

    Args:
        source: a file FFmpeg reads (a pipe is read once), or a binary stream of Y4M.
        target: path or binary stream; a path appears only when the stream is complete.
        quality: 0 (smallest) to 100 (best).
        structure: "offline" (looks ahead) or "low-delay" (each frame on its own, past references).
        golden_interval: frames between golden frames, 1 to 32; None chooses by content, or by quality in low delay.
        key_interval: frames between key frames; None has them at the start and at scene cuts only.
        audio: "copy", "none", "opus" or "opus:RATE" with RATE in bits per second, e.g. "opus:12k". What cannot be
            copied is coded with Opus.
        model: name or path of a model; None is the default one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: arithmetic of the networks: "float32", "bfloat16", or "auto" for bfloat16 where the device has it.
        threads: CPU threads of the networks; None leaves torch's choice.
        raw: format of headerless .yuv input.
        source_options: tracks to take, what to do about damage and interlacing; None stands for the defaults.
        limits: what the source may ask for at most.
        overwrite: replace an existing target.
        progress: called after every packet.
        say: called with one line for whatever is damaged, left out or changed in the source.
    Raises:
        UsageError: an option does not fit, or the target exists.
        InputError: the source cannot be read, has no frames or, if that is asked for, is damaged.
        LimitError: the source is outside the limits.
        ModelError: the model is missing or damaged.
        OutputError: the target cannot be written.
    """
    from imfcodec.codec.encoder import Encoder, EncoderSettings

    opus_bitrate = _parse_audio(audio)
    settings = EncoderSettings(quality, structure, golden_interval, key_interval)
    check_distinct([source, _model_file(model)], [target])
    if isinstance(target, str | Path):
        check_target(target, overwrite=overwrite)
    with (
        read_once(source, is_raw=raw is not None) as place,
        open_clip(place, raw=raw, audio=audio != "none", options=source_options, limits=limits) as clip,
    ):
        limits.check_memory(clip.format)
        tell = Notes(source, say)
        tell(clip.notes)
        track, sound = _open_sound(clip, audio, opus_bitrate, tell)
        encoder = Encoder(_load_model(model, device, dtype, threads), settings)
        frames = until_end(clip.frames(), place)
        first = next(frames)
        header = StreamHeader(clip.format, encoder.model.model_id, track, clip.variable_rate, first.pts)
        meter = _Meter(clip.format, progress)
        with _open_sink(target, overwrite) as sink:
            writer = StreamWriter(sink, header)
            for packet in encoder.encode(chain((first,), frames)):
                writer.write_video(packet)
                meter.add(packet.pts)
                meter.tell(sum(writer.bytes_by_kind.values()), meter.frames, clip.frame_count_hint)
                _write_all(writer, sound.until(meter.end_seconds))
            _write_all(writer, sound.until(math.inf))
            meter.end(clip.last_duration)
            writer.close(last_duration=clip.last_duration)
        tell(clip.notes)
    sizes = dict(writer.bytes_by_kind)
    return EncodeStats(
        meter.frames,
        meter.duration_seconds,
        sum(sizes.values()),
        sizes,
        meter.elapsed_seconds,
        clip.damaged_frames,
        clip.repeated_frames,
        clip.cut_off,
    )


def decode(
    source: Location,
    target: Location,
    *,
    model: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    on_error: str = "stop",
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
        model: name or path of the model; None finds the one the stream names.
        device, dtype, threads: as for `encode`.
        on_error: what to do about damage: "stop" raises an error, "conceal" goes on, makes up lost frames (marked by
            `Frame.concealed`) and leaves bad sound out.
        audio: "copy" or "none"; what the target cannot hold is coded with Opus.
        limits: what the stream may ask for at most.
        overwrite: replace an existing target.
        progress: called after every frame.
        say: called with one line for whatever the target cannot hold.
    Raises:
        UsageError: an option does not fit, or the target exists.
        CorruptStreamError: the stream is damaged (with "conceal": its header is).
        LimitError: a size in the stream is above the limits.
        ModelError: the model the stream names is missing, or `model` is another one.
        OutputError: the target cannot be written.
    """
    if audio not in ("copy", "none"):
        raise UsageError(f"audio {audio!r} is unknown; use copy or none")
    conceal = _conceals(on_error)
    check_distinct([source, _model_file(model)], [target])
    tell = Notes(target, say)
    with ExitStack() as stack:
        file = stack.enter_context(_open_source(source))
        size = os.fstat(file.fileno()).st_size if isinstance(source, str | Path) else None
        stream = _DecodedStream(file, conceal, limits)
        video = stream.header.format
        # The target is opened before the model is loaded: what cannot be written is told at once.
        sound = _DecodedSound(target, None if audio == "none" else stream.header.audio, conceal, tell)
        writer = stack.enter_context(sound.open(video, overwrite))
        if stream.header.variable_rate and not writer.holds_times:
            tell([f"holds no time stamps: frames that were shown at varying times are {video.frame_rate} a second"])
        stream.load_model(model, device, dtype, threads)
        meter = _Meter(video, progress)
        for frame in stream.frames(sound.take):
            writer.write(frame)
            meter.add((frame.pts,))
            meter.tell(stream.bytes_read, stream.bytes_read, size)
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
    model: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    on_error: str = "stop",
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Frame]:
    """Yield the frames of an .imf stream in display order; arguments and errors as for `decode`."""
    conceal = _conceals(on_error)
    with _open_source(source) as file:
        stream = _DecodedStream(file, conceal, limits)
        stream.load_model(model, device, dtype, threads)
        yield from stream.frames(_ignore)


def probe(source: Location, *, limits: Limits = DEFAULT_LIMITS) -> StreamSummary:
    """Read a whole .imf stream, check its structure, checksums and hash, and say what it holds; needs no model.

    Raises:
        CorruptStreamError: the stream is damaged.
        LimitError: a size in the stream is above the limits.
    """
    with _open_source(source) as file:
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


def pick_device(name: str) -> str:
    """Torch's name of a device given as "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise UsageError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r} is not there; `imfcodec doctor` shows what is")
    return name


class _DecodedStream:
    """An .imf stream on its way to frames.

    Attributes:
        header: the stream's header.
        lost_packets: packets the reader had to give up, so far.
        bytes_read: bytes of the stream taken so far.
    """

    def __init__(self, file: BinaryIO, conceal: bool, limits: Limits) -> None:
        self._limits, self._conceal = limits, conceal
        self._reader = StreamReader(file, conceal=conceal)
        self._decoder: Decoder | None = None
        self.header = self._reader.header
        limits.check_format(self.header.format)
        limits.check_memory(self.header.format)
        self.lost_packets = 0
        self.bytes_read = 0

    def load_model(self, model: str | None, device: str, dtype: str, threads: int | None) -> None:
        """Load the named model, or the one the stream names, and get ready to decode."""
        from imfcodec.codec.decoder import Decoder

        loaded = _load_model(model, device, dtype, threads, self.header.model_id)
        self._decoder = Decoder(loaded, self.header, conceal=self._conceal)

    def frames(self, take_audio: Callable[[AudioPacket], None]) -> Iterator[Frame]:
        """Decode, handing each sound packet to `take_audio` where it stands between the frames."""
        assert self._decoder is not None, "load_model comes first"
        return self._limits.counted(self._decoder.decode(self._video_packets(take_audio)))

    def _video_packets(self, take_audio: Callable[[AudioPacket], None]) -> Iterator[VideoPacket | LostPacket]:
        for record in self._reader.records():
            self.bytes_read = record.offset + record.size
            if isinstance(record.item, AudioBatch):
                for packet in record.item.packets:
                    take_audio(packet)
            elif record.item is not None:
                self.lost_packets += isinstance(record.item, LostPacket)
                yield record.item

    @property
    def concealed_frames(self) -> int:
        """Frames made up for lost ones, so far."""
        return self._decoder.concealed_frames if self._decoder else 0

    @property
    def last_duration(self) -> int | None:
        """Ticks the last frame is shown, known at the end; None stands for one frame."""
        return self._reader.last_duration


class _DecodedSound:
    """The sound of a stream on its way to a target: as it is, coded with Opus where need be, or left out.

    Attributes:
        lost_packets: packets that could not be written, where damage is to be covered.
    """

    def __init__(self, target: Location, track: AudioTrack | None, conceal: bool, tell: Notes) -> None:
        self._target, self._track, self._conceal, self._tell = target, track, conceal, tell
        self._transcoder: OpusTranscoder | None = None
        self._writer: ClipWriter | None = None
        self.lost_packets = 0

    def open(self, video: VideoFormat, overwrite: bool) -> ClipWriter:
        """Open the target for pictures of this format, and for the sound if it can hold any."""
        try:
            self._writer = open_writer(self._target, video, audio=self._prepare(), overwrite=overwrite)
        except InputError as error:
            self._leave_out(error)
            self._writer = open_writer(self._target, video, overwrite=overwrite)
        return self._writer

    def _prepare(self) -> AudioTrack | None:
        """The track to write; opens the transcoder if the target cannot hold the stream's own."""
        suffix = Path(self._target).suffix.lower() if isinstance(self._target, str | Path) else ""
        if self._track is None or suffix not in SOUND_SUFFIXES:
            return None
        if can_copy(self._track, suffix) or not is_sane(self._track):
            return self._track
        try:
            self._transcoder = _transcoder(self._track, suffix, self._tell)
        except ImfError as error:
            self._leave_out(error)
            return None
        return self._transcoder.track

    def _leave_out(self, error: ImfError) -> None:
        if not self._conceal:
            raise error
        self._track = None
        self._tell([f"the sound is left out: {error}"])

    def take(self, packet: AudioPacket) -> None:
        """Write one packet of the stream."""
        if self._track and self._writer and self._writer.holds_audio:
            self._write(self._transcoder(packet) if self._transcoder else (packet,))

    def finish(self) -> None:
        """Write what is left."""
        if self._transcoder:
            self._write(self._transcoder.finish())

    def _write(self, packets: Iterable[AudioPacket]) -> None:
        assert self._writer is not None
        try:
            for packet in packets:
                self._writer.write_audio(packet)
        except ImfError as error:
            full = getattr(error.__cause__, "errno", None) == errno.ENOSPC
            if full or not self._conceal:
                raise
            self.lost_packets += 1


class _Sound:
    """Sound packets, handed out in step with the picture."""

    def __init__(self, packets: Iterable[AudioPacket], time_base: Fraction) -> None:
        self._packets = iter(packets)
        self._time_base = time_base
        self._next = next(self._packets, None)

    def until(self, seconds: float) -> Iterator[list[AudioPacket]]:
        """Yield batches of the packets that start before `seconds`."""
        batch: list[AudioPacket] = []
        while self._next is not None and self._next.pts * self._time_base < seconds:
            batch.append(self._next)
            self._next = next(self._packets, None)
            if len(batch) == AUDIO_BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


class _Meter:
    """Counts frames and wall time, and tells the caller about them."""

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


def _load_model(
    model: str | None, device: str, dtype: str, threads: int | None, model_id: bytes | None = None
) -> "LoadedModel":
    """Load a model by name, else by the id a stream gives, else the default; a named one must have that id."""
    import torch

    from imfcodec import zoo

    if threads is not None:
        if threads < 1:
            raise UsageError(f"{threads} threads cannot compute; give 1 or more")
        torch.set_num_threads(threads)
    device = pick_device(device)
    dtype = zoo.pick_dtype(dtype, device)
    if model is None and model_id is not None:
        return zoo.load_model_by_id(model_id, device=device, dtype=dtype)
    loaded = zoo.load_model(model, device=device, dtype=dtype)
    if model_id is not None and loaded.model_id != model_id:
        raise ModelError(f"the stream was made with model {model_id.hex()}, not with {model} ({loaded.model_id.hex()})")
    return loaded


def _conceals(on_error: str) -> bool:
    if on_error not in ("stop", "conceal"):
        raise UsageError(f"on_error {on_error!r} is unknown; use stop or conceal")
    return on_error == "conceal"


def _parse_audio(audio: str) -> int | None:
    """Bit rate of "opus:RATE"; None where there is none."""
    if audio in ("copy", "none", "opus"):
        return None
    match = re.fullmatch(r"opus:(\d{1,6})(k?)", audio)
    if not match:
        raise UsageError(f"audio {audio!r} is unknown; use copy, none, opus or opus:RATE, e.g. opus:12k")
    return int(match[1]) * (1000 if match[2] else 1)


def _open_sound(
    clip: ClipReader, audio: str, opus_bitrate: int | None, tell: Notes
) -> tuple[AudioTrack | None, _Sound]:
    if clip.audio is None:
        return None, _Sound((), Fraction(1))
    if audio == "copy" and can_copy(clip.audio):
        return clip.audio, _Sound(clip.audio_packets(), clip.audio.time_base)
    bitrate = opus_bitrate or usual_opus_bitrate(clip.audio.channels)
    if audio == "copy":
        tell([_opus_line(clip.audio, "cannot be copied", bitrate) + " (--audio opus:RATE for another rate)"])
    opus = OpusEncoder(clip.audio.channels, bitrate)
    return opus.track, _Sound(opus.encode_all(clip.decoded_audio()), opus.track.time_base)


def _transcoder(track: AudioTrack, suffix: str, tell: Notes) -> OpusTranscoder:
    bitrate = usual_opus_bitrate(track.channels)
    tell([_opus_line(track, f"does not go into {suffix}", bitrate) + "; .mkv keeps it"])
    return OpusTranscoder(track, bitrate)


def _opus_line(track: AudioTrack, reason: str, bitrate: int) -> str:
    return f"sound in '{track.codec}' {reason}: coded with Opus at {bitrate // 1000} kbit/s"


def _write_all(writer: StreamWriter, batches: Iterable[list[AudioPacket]]) -> None:
    for batch in batches:
        writer.write_audio(batch)


def _model_file(model: str | None) -> str | None:
    """The file a model is read from, None where it is one of the installation."""
    return model if model and model.endswith(".safetensors") else None


@contextmanager
def _open_source(source: Location) -> Iterator[BinaryIO]:
    """Open a path for reading; a stream of the caller's stays open."""
    if not isinstance(source, str | Path):
        yield source
        return
    with open_input(source) as file:
        yield file


@contextmanager
def _open_sink(target: Location, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a path for writing, complete or not at all; a stream of the caller's stays open."""
    if isinstance(target, str | Path):
        with write_beside(target, overwrite=overwrite) as file:
            yield file
    else:
        sink = _CallersStream(target)
        yield cast(BinaryIO, sink)
        sink.flush()


class _CallersStream:
    """A stream of the caller's whose failures are errors of ours."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._name = stream, str(getattr(stream, "name", "stream"))

    def write(self, data: bytes) -> int:
        with named_errors(self._name):
            return self._stream.write(data)

    def flush(self) -> None:
        with named_errors(self._name):
            self._stream.flush()


def _ignore(packet: AudioPacket) -> None:
    """Take a sound packet nobody wants."""


def _kbps(byte_count: int, seconds: float) -> float:
    return byte_count * 8 / 1000 / seconds
