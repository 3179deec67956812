"""The stream header: fields declared once, with their ranges, for writing and reading alike (SPEC.md, "Header")."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from imfcodec.bitstream.bits import (
    CHECKSUM_BYTES,
    MAX_TIME_STAMP,
    ByteCursor,
    ByteSource,
    crc16,
    encode_varint,
    encode_zigzag,
)
from imfcodec.errors import CorruptStreamError, ImfError, LimitError, UsageError
from imfcodec.frames import MAX_WIDTH, MIN_SIDE, AudioTrack, Colour, VideoFormat

MAGIC = b"IMF"
VERSION = 2
MAX_SHOWN_SIDE = 1 << 14
MODEL_ID_BYTES = 8
MAX_EXTRADATA_BYTES = 1 << 16
MAX_HEADER_BYTES = MAX_EXTRADATA_BYTES + 256
MAX_TERM = (1 << 31) - 1

VARIABLE_RATE, AUDIO, SAMPLE_ASPECT, COLOUR = 0x01, 0x02, 0x04, 0x08
ROTATION_SHIFT = 4
FIRST_PTS, TICKS_PER_FRAME, SHOWN_SIZE = 0x40, 0x80, 0x100
ALL_FLAGS = 0x1FF
FULL_RANGE = 0x80
EXPLICIT = 0

# Code n stands for entry n - 1; code 0 (EXPLICIT) says that the value follows. The order is part of the format.
FRAME_RATES = tuple(
    Fraction(*rate)
    for rate in (
        (30, 1),
        (25, 1),
        (24, 1),
        (30000, 1001),
        (24000, 1001),
        (60, 1),
        (50, 1),
        (60000, 1001),
        (15, 1),
        (10, 1),
        (12, 1),
        (20, 1),
        (48, 1),
        (100, 1),
        (120, 1),
    )
)
ONE_FRAME = 1  # time base code 1: one tick is one frame; code n > 1 stands for entry n - 2
TIME_BASES = tuple(
    Fraction(1, ticks)
    for ticks in (600, 1000, 12288, 12800, 15360, 24000, 25000, 30000, 48000, 50000, 60000, 90000, 10**6, 10**9)
)
COLOURS = ((1, 1, 1), (6, 6, 6), (5, 6, 5), (5, 6, 6), (9, 16, 9), (9, 18, 9), (2, 2, 1), (2, 2, 6))

COLOUR_POINTS = ("primaries", "transfer", "matrix")

Values = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """One header field.

    Attributes:
        name: as in SPEC.md.
        coding: "u8", "varint", "zigzag", or "bytes" (a varint length first unless minimum == maximum).
        minimum, maximum: range of the value; for "bytes", of its length.
        present: whether the field is written, given the fields before it.
        is_size: a value above the maximum is a LimitError, not a CorruptStreamError.
    """

    name: str
    coding: str
    minimum: int
    maximum: int
    present: Callable[[Values], bool] = lambda values: True
    is_size: bool = False

    def write(self, value: Any) -> bytes:
        """Code `value`; UsageError or LimitError when it is out of range."""
        self._check(len(value) if self.coding == "bytes" else value, UsageError)
        if self.coding == "bytes":
            return value if self.minimum == self.maximum else encode_varint(len(value)) + value
        return {"u8": lambda v: bytes((v,)), "varint": encode_varint, "zigzag": encode_zigzag}[self.coding](value)

    def read(self, cursor: ByteCursor) -> Any:
        """Decode a value; CorruptStreamError or LimitError when it is out of range."""
        if self.coding == "bytes":
            length = self.minimum if self.minimum == self.maximum else cursor.varint()
            self._check(length, CorruptStreamError)
            return cursor.take(length)
        value = {"u8": cursor.u8, "varint": cursor.varint, "zigzag": cursor.zigzag}[self.coding]()
        self._check(value, CorruptStreamError)
        return value

    def _check(self, value: int, error: type[ImfError]) -> None:
        if not self.minimum <= value <= self.maximum:
            kind = LimitError if self.is_size else error
            what = "a length of " if self.coding == "bytes" else ""
            raise kind(f"header field {self.name} has {what}{value}; allowed is {self.minimum}..{self.maximum}")


def _flag(bit: int) -> Callable[[Values], bool]:
    return lambda values: bool(values["flags"] & bit)


HEADER_FIELDS = (
    Field("flags", "varint", 0, ALL_FLAGS),
    Field("width", "varint", MIN_SIDE, MAX_WIDTH, is_size=True),
    Field("height", "varint", MIN_SIDE, MAX_WIDTH, is_size=True),
    Field("shown_width", "varint", 1, MAX_SHOWN_SIDE, _flag(SHOWN_SIZE), is_size=True),
    Field("shown_height", "varint", 1, MAX_SHOWN_SIDE, _flag(SHOWN_SIZE), is_size=True),
    Field("model_id", "bytes", MODEL_ID_BYTES, MODEL_ID_BYTES),
    Field("timing", "u8", 0, 255),
    Field("frame_rate_num", "varint", 1, MAX_TERM, lambda v: v["timing"] >> 4 == EXPLICIT),
    Field("frame_rate_den", "varint", 1, MAX_TERM, lambda v: v["timing"] >> 4 == EXPLICIT),
    Field("time_base_num", "varint", 1, MAX_TERM, lambda v: v["timing"] & 15 == EXPLICIT),
    Field("time_base_den", "varint", 1, MAX_TERM, lambda v: v["timing"] & 15 == EXPLICIT),
    Field("sample_aspect_num", "varint", 1, MAX_TERM, _flag(SAMPLE_ASPECT)),
    Field("sample_aspect_den", "varint", 1, MAX_TERM, _flag(SAMPLE_ASPECT)),
    Field("colour", "u8", 0, FULL_RANGE + len(COLOURS), _flag(COLOUR)),
    Field("primaries", "u8", 0, 255, lambda v: v.get("colour", 1) % FULL_RANGE == EXPLICIT),
    Field("transfer", "u8", 0, 255, lambda v: v.get("colour", 1) % FULL_RANGE == EXPLICIT),
    Field("matrix", "u8", 0, 255, lambda v: v.get("colour", 1) % FULL_RANGE == EXPLICIT),
    Field("first_pts", "zigzag", -MAX_TIME_STAMP, MAX_TIME_STAMP, _flag(FIRST_PTS)),
    Field("ticks_per_frame_num", "varint", 1, MAX_TERM, _flag(TICKS_PER_FRAME)),
    Field("ticks_per_frame_den", "varint", 1, MAX_TERM, _flag(TICKS_PER_FRAME)),
    Field("audio_codec", "bytes", 1, 32, _flag(AUDIO)),
    Field("audio_sample_rate", "varint", 1, 1_000_000, _flag(AUDIO)),
    Field("audio_channels", "u8", 1, 255, _flag(AUDIO)),
    # 0 means that one tick is one sample; then no denominator follows.
    Field("audio_time_base_num", "varint", 0, MAX_TERM, _flag(AUDIO)),
    Field("audio_time_base_den", "varint", 1, MAX_TERM, lambda v: v.get("audio_time_base_num", 0) != 0),
    Field("audio_extradata", "bytes", 0, MAX_EXTRADATA_BYTES, _flag(AUDIO), is_size=True),
)


@dataclass(frozen=True)
class StreamHeader:
    """What a decoder must know before the first packet.

    Attributes:
        format: coded size, rates, shape of a pixel as shown, rotation, colour.
        model_id: first 8 bytes of the SHA-256 of the weights.
        audio: the audio track, if there is one.
        variable_rate: packets carry time stamps; otherwise frame n is shown at `pts_at(n)`.
        first_pts: time stamp of frame 0, in ticks of the format's time base.
        ticks_per_frame: distance of two frames in ticks; None stands for 1 / (frame_rate * time_base).
        shown_size: width and height (1..16384 each) that frames are scaled to for display, before rotation; None is the
            coded size, and reading gives None for it.
    """

    format: VideoFormat
    model_id: bytes
    audio: AudioTrack | None = None
    variable_rate: bool = False
    first_pts: int = 0
    ticks_per_frame: Fraction | None = None
    shown_size: tuple[int, int] | None = None

    @property
    def shown_format(self) -> VideoFormat:
        """The format of the frames as they are scaled for display."""
        width, height = self.shown_size or (self.format.width, self.format.height)
        return replace(self.format, width=width, height=height)

    @cached_property
    def frame_ticks(self) -> Fraction:
        """Nominal distance of two frames in ticks, explicit or derived."""
        return self.ticks_per_frame or 1 / (self.format.frame_rate * self.format.time_base)

    @cached_property
    def nominal_ticks(self) -> int:
        """The nominal step: `frame_ticks` rounded half up, at least 1."""
        return max(1, _round_half_up(self.frame_ticks))

    def frame_from(self, pts: int) -> int:
        """Number of the first frame of a constant-rate stream that is shown at `pts` or later."""
        frame = max(0, int((pts - self.first_pts) / self.frame_ticks) - 1)
        while self.pts_at(frame) < pts:
            frame += 1
        return frame

    def pts_at(self, frame: int) -> int:
        """Time stamp of frame number `frame` in a constant-rate stream: first_pts + frame * frame_ticks, half up."""
        return self.pts_from(frame, 1)[0]

    def pts_from(self, frame: int, count: int) -> tuple[int, ...]:
        """`pts_at` of `count` frames from number `frame` on."""
        num, den = self.frame_ticks.numerator, self.frame_ticks.denominator
        return tuple(self.first_pts + (2 * n * num + den) // (2 * den) for n in range(frame, frame + count))

    def to_bytes(self) -> bytes:
        """The header as written at the start of a stream; UsageError or LimitError names a field out of range."""
        values = _to_values(self)
        body = b"".join(field.write(values[field.name]) for field in HEADER_FIELDS if field.present(values))
        _check_together(self, UsageError)
        data = MAGIC + bytes((VERSION,)) + encode_varint(len(body)) + body
        return data + crc16(data).to_bytes(CHECKSUM_BYTES, "big")


def read_header(source: ByteSource) -> StreamHeader:
    """Read and check the header at the start of a stream.

    Raises:
        TruncatedStreamError: the stream ends within the header.
        CorruptStreamError: wrong magic, version, checksum or field.
        LimitError: a length or the frame size is above the limits.
    """
    if (magic := source.peek(0, source.available(len(MAGIC)))) != MAGIC[: len(magic)]:
        raise CorruptStreamError("this is not an .imf stream; give a file made by 'imfcodec encode'")
    version = source.peek(len(MAGIC), len(MAGIC) + 1)[0]
    if version == 1:
        raise CorruptStreamError("format version 1 is read by release 0.2: pip install 'imfcodec<0.3'")
    if version != VERSION:
        raise CorruptStreamError(f"format version {version} is unknown, this build reads {VERSION}; update imfcodec")
    length, start = source.peek_varint(len(MAGIC) + 1)
    if length > MAX_HEADER_BYTES:
        raise LimitError(f"a header of {length} bytes is above the limit of {MAX_HEADER_BYTES}")
    data = source.peek(0, start + length)
    if crc16(data).to_bytes(CHECKSUM_BYTES, "big") != source.peek(start + length, start + length + CHECKSUM_BYTES):
        raise CorruptStreamError("the header's checksum does not match; fetch the file again")
    header = _parse(data[start:])
    # One header, one byte string: unused codes and repeated defaults are faults.
    if header.to_bytes()[:-CHECKSUM_BYTES] != data:
        raise CorruptStreamError("the header is not in its canonical form; make the file again with 'imfcodec encode'")
    source.consume(start + length + CHECKSUM_BYTES)
    return header


def _parse(body: bytes) -> StreamHeader:
    cursor = ByteCursor(body)
    values: Values = {}
    for field in HEADER_FIELDS:
        if field.present(values):
            values[field.name] = field.read(cursor)
    if cursor.remaining:
        raise CorruptStreamError(f"the header has {cursor.remaining} bytes too many")
    header = _from_values(values)
    _check_together(header, CorruptStreamError)
    return header


def _check_together(header: StreamHeader, error: type[ImfError]) -> None:
    header.format.check_limits()
    if not header.variable_rate and header.frame_ticks < 1:
        raise error("header: the time base is coarser than one frame; use a finer time base or a variable-rate stream")


def _to_values(header: StreamHeader) -> Values:
    values = _video_values(header.format) | {"model_id": header.model_id}
    values["flags"] |= header.variable_rate * VARIABLE_RATE
    if header.shown_size and header.shown_size != (header.format.width, header.format.height):
        values["flags"] |= SHOWN_SIZE
        values["shown_width"], values["shown_height"] = header.shown_size
    if header.first_pts:
        values["flags"] |= FIRST_PTS
        values["first_pts"] = header.first_pts
    if header.ticks_per_frame is not None:
        values["flags"] |= TICKS_PER_FRAME
        values |= _ratio("ticks_per_frame", header.ticks_per_frame)
    if header.audio is not None:
        values["flags"] |= AUDIO
        values |= _audio_values(header.audio)
    return values


def _video_values(video: VideoFormat) -> Values:
    if video.rotation not in (0, 90, 180, 270):
        raise UsageError(f"header field rotation has {video.rotation}; allowed are 0, 90, 180 and 270 degrees")
    values: Values = {"flags": video.rotation // 90 << ROTATION_SHIFT, "width": video.width, "height": video.height}
    values["timing"] = _frame_rate_code(video) << 4 | _time_base_code(video)
    values |= _ratio("frame_rate", video.frame_rate) | _ratio("time_base", video.time_base)
    if video.sample_aspect != 1:
        values["flags"] |= SAMPLE_ASPECT
        values |= _ratio("sample_aspect", video.sample_aspect)
    if video.colour != Colour():
        values["flags"] |= COLOUR
        values |= _colour_values(video.colour)
    return values


def _frame_rate_code(video: VideoFormat) -> int:
    return FRAME_RATES.index(video.frame_rate) + 1 if video.frame_rate in FRAME_RATES else EXPLICIT


def _time_base_code(video: VideoFormat) -> int:
    if video.time_base * video.frame_rate == 1:
        return ONE_FRAME
    return TIME_BASES.index(video.time_base) + 2 if video.time_base in TIME_BASES else EXPLICIT


def _colour_values(colour: Colour) -> Values:
    points = (colour.primaries, colour.transfer, colour.matrix)
    code = COLOURS.index(points) + 1 if points in COLOURS else EXPLICIT
    return dict(zip(COLOUR_POINTS, points, strict=True)) | {"colour": code | colour.full_range * FULL_RANGE}


def _audio_values(audio: AudioTrack) -> Values:
    if not (audio.codec.isascii() and audio.codec.isprintable()):
        raise UsageError(f"header field audio_codec {audio.codec!r} is not printable ASCII")
    per_sample = audio.time_base * audio.sample_rate == 1
    return {
        "audio_codec": audio.codec.encode("ascii"),
        "audio_sample_rate": audio.sample_rate,
        "audio_channels": audio.channels,
        "audio_time_base_num": 0 if per_sample else audio.time_base.numerator,
        "audio_time_base_den": audio.time_base.denominator,
        "audio_extradata": audio.extradata,
    }


def _round_half_up(value: Fraction) -> int:
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def _ratio(name: str, value: Fraction) -> Values:
    return {f"{name}_num": value.numerator, f"{name}_den": value.denominator}


def _from_values(values: Values) -> StreamHeader:
    flags = values["flags"]
    return StreamHeader(
        format=_read_format(values),
        model_id=values["model_id"],
        audio=_read_audio(values) if flags & AUDIO else None,
        variable_rate=bool(flags & VARIABLE_RATE),
        first_pts=values.get("first_pts", 0),
        ticks_per_frame=_fraction(values, "ticks_per_frame") if flags & TICKS_PER_FRAME else None,
        shown_size=(values["shown_width"], values["shown_height"]) if flags & SHOWN_SIZE else None,
    )


def _read_format(values: Values) -> VideoFormat:
    rate_code, base_code = values["timing"] >> 4, values["timing"] & 15
    frame_rate = FRAME_RATES[rate_code - 1] if rate_code else _fraction(values, "frame_rate")
    if base_code == EXPLICIT:
        time_base = _fraction(values, "time_base")
    else:
        time_base = 1 / frame_rate if base_code == ONE_FRAME else TIME_BASES[base_code - 2]
    return VideoFormat(
        width=values["width"],
        height=values["height"],
        frame_rate=frame_rate,
        time_base=time_base,
        sample_aspect=_fraction(values, "sample_aspect") if values["flags"] & SAMPLE_ASPECT else Fraction(1),
        rotation=(values["flags"] >> ROTATION_SHIFT & 3) * 90,
        colour=_read_colour(values) if values["flags"] & COLOUR else Colour(),
    )


def _read_colour(values: Values) -> Colour:
    code = values["colour"] % FULL_RANGE
    if code > len(COLOURS):
        raise CorruptStreamError(f"header field colour has the unknown code {code}")
    primaries, transfer, matrix = COLOURS[code - 1] if code else (values[name] for name in COLOUR_POINTS)
    return Colour(primaries, transfer, matrix, full_range=values["colour"] >= FULL_RANGE)


def _read_audio(values: Values) -> AudioTrack:
    codec = values["audio_codec"].decode("latin-1")
    if not (codec.isascii() and codec.isprintable()):
        raise CorruptStreamError("header field audio_codec is not printable ASCII")
    per_sample = values["audio_time_base_num"] == 0
    return AudioTrack(
        codec=codec,
        sample_rate=values["audio_sample_rate"],
        channels=values["audio_channels"],
        time_base=Fraction(1, values["audio_sample_rate"]) if per_sample else _fraction(values, "audio_time_base"),
        extradata=values["audio_extradata"],
    )


def _fraction(values: Values, name: str) -> Fraction:
    return Fraction(values[f"{name}_num"], values[f"{name}_den"])
