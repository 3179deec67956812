"""Header fields: ranges, canonical form, size."""

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from imfcodec.bitstream.bits import ByteCursor, ByteSource, crc16, encode_varint
from imfcodec.bitstream.header import (
    COLOURS,
    FRAME_RATES,
    HEADER_FIELDS,
    MAX_HEADER_BYTES,
    MAX_SHOWN_SIDE,
    TIME_BASES,
    Field,
    StreamHeader,
    _to_values,
    read_header,
)
from imfcodec.errors import CorruptStreamError, ImfError, LimitError, TruncatedStreamError, UsageError
from imfcodec.frames import AudioTrack, Colour, VideoFormat

SPEC = Path(__file__).parents[2] / "bitstreams" / "SPEC.md"
MODEL_ID = bytes(range(1, 9))
LARGE = (1 << 31) - 1
PLAIN = StreamHeader(VideoFormat(256, 256, Fraction(25), Fraction(1, 12800)), MODEL_ID)


def read(data: bytes) -> StreamHeader:
    return read_header(ByteSource(io.BytesIO(data)))


def seal(body: bytes, version: int = 2) -> bytes:
    data = b"IMF" + bytes((version,)) + encode_varint(len(body)) + body
    return data + crc16(data).to_bytes(2, "big")


@pytest.mark.parametrize("field", HEADER_FIELDS, ids=lambda field: field.name)
def test_field_minimum_and_maximum_round_trip(field: Field) -> None:
    for edge in (field.minimum, field.maximum):
        value = bytes(edge) if field.coding == "bytes" else edge
        cursor = ByteCursor(field.write(value))
        assert field.read(cursor) == value
        assert cursor.remaining == 0


@pytest.mark.parametrize("field", HEADER_FIELDS, ids=lambda field: field.name)
def test_field_beyond_its_range_is_refused_when_written(field: Field) -> None:
    for beyond in (field.minimum - 1, field.maximum + 1):
        if field.coding == "bytes" and beyond < 0:
            continue
        with pytest.raises((UsageError, LimitError), match=field.name):
            field.write(bytes(beyond) if field.coding == "bytes" else beyond)


@pytest.mark.parametrize("field", [f for f in HEADER_FIELDS if f.coding != "u8"], ids=lambda field: field.name)
def test_field_beyond_its_range_is_refused_when_read(field: Field) -> None:
    if field.minimum == field.maximum:
        return
    wide = replace(field, minimum=-(1 << 61), maximum=1 << 61)
    beyond = field.maximum + 1
    data = encode_varint(beyond) if field.coding == "bytes" else wide.write(beyond)
    with pytest.raises(LimitError if field.is_size else CorruptStreamError, match=field.name):
        field.read(ByteCursor(data))


@pytest.mark.parametrize(
    "header",
    [
        PLAIN,
        replace(PLAIN, variable_rate=True, first_pts=-(1 << 60)),
        replace(PLAIN, first_pts=1 << 60, ticks_per_frame=Fraction(LARGE, LARGE - 1)),
        replace(PLAIN, audio=AudioTrack("aac", 44100, 2, Fraction(1, 44100), b"\x12\x10")),
        replace(PLAIN, audio=AudioTrack("x" * 32, 1_000_000, 255, Fraction(LARGE, LARGE - 1), bytes(1 << 16))),
        replace(PLAIN, audio=AudioTrack("a", 1, 1, Fraction(1, LARGE))),
        replace(PLAIN, shown_size=(1, MAX_SHOWN_SIDE)),
        replace(PLAIN, shown_size=(MAX_SHOWN_SIDE, 1)),
        replace(PLAIN, shown_size=(256, 255)),
        StreamHeader(VideoFormat(16, 16, Fraction(1), Fraction(1)), bytes(8)),
        StreamHeader(VideoFormat(4096, 2304, Fraction(LARGE), Fraction(1, LARGE)), b"\xff" * 8),
        StreamHeader(
            VideoFormat(
                2304, 4096, Fraction(29, 3), Fraction(1, 10**9), Fraction(LARGE, 3), 270, Colour(0, 255, 7, True)
            ),
            MODEL_ID,
        ),
        *(StreamHeader(VideoFormat(64, 48, rate, Fraction(1, 90000)), MODEL_ID) for rate in FRAME_RATES),
        *(StreamHeader(VideoFormat(64, 48, Fraction(25), base), MODEL_ID) for base in TIME_BASES),
        *(
            StreamHeader(
                VideoFormat(64, 48, Fraction(25), Fraction(1, 25), colour=Colour(*points, full_range)), MODEL_ID
            )
            for points in (*COLOURS, (2, 2, 2), (9, 1, 0))
            for full_range in (False, True)
        ),
        *(
            StreamHeader(VideoFormat(64, 48, Fraction(25), Fraction(1, 25), rotation=rotation), MODEL_ID)
            for rotation in (0, 90, 180, 270)
        ),
    ],
)
def test_header_round_trip(header: StreamHeader) -> None:
    assert read(header.to_bytes()) == header


def test_ordinary_headers_are_small() -> None:
    assert len(PLAIN.to_bytes()) == 21
    ntsc = VideoFormat(1280, 720, Fraction(30000, 1001), Fraction(1, 30000), colour=Colour(1, 1, 1))
    assert len(StreamHeader(ntsc, MODEL_ID).to_bytes()) == 22
    with_audio = replace(PLAIN, audio=AudioTrack("opus", 48000, 1, Fraction(1, 48000)))
    assert len(with_audio.to_bytes()) <= 33


def test_time_stamps_of_a_rate_the_time_base_cannot_express() -> None:
    header = StreamHeader(VideoFormat(64, 64, Fraction(30), Fraction(1, 1000)), MODEL_ID, first_pts=7)
    assert [header.pts_at(frame) - 7 for frame in range(5)] == [0, 33, 67, 100, 133]
    assert header.nominal_ticks == 33


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"width": 15}, LimitError),
        ({"width": 4097}, LimitError),
        ({"width": 2305, "height": 2305}, LimitError),
        ({"rotation": 45}, UsageError),
        ({"frame_rate": Fraction(0)}, UsageError),
        ({"frame_rate": Fraction(-1)}, UsageError),
        ({"time_base": Fraction(1, LARGE + 1)}, UsageError),
        ({"time_base": Fraction(1)}, UsageError),
        ({"sample_aspect": Fraction(0)}, UsageError),
        ({"colour": Colour(256, 1, 1)}, UsageError),
    ],
)
def test_formats_that_cannot_be_written(change: dict[str, object], error: type[ImfError]) -> None:
    with pytest.raises(error):
        replace(PLAIN, format=replace(PLAIN.format, **change)).to_bytes()


def test_model_id_and_codec_name_are_checked() -> None:
    with pytest.raises(UsageError, match="model_id"):
        replace(PLAIN, model_id=b"short").to_bytes()
    with pytest.raises(UsageError, match="audio_codec"):
        replace(PLAIN, audio=AudioTrack("öpus", 48000, 1, Fraction(1, 48000))).to_bytes()
    with pytest.raises(LimitError, match="audio_extradata"):
        replace(PLAIN, audio=AudioTrack("aac", 48000, 1, Fraction(1, 48000), bytes((1 << 16) + 1))).to_bytes()


def test_header_faults_are_named() -> None:
    body = PLAIN.to_bytes()[5:-2]
    assert read(seal(body)) == PLAIN
    with pytest.raises(CorruptStreamError, match="this is not an"):
        read(b"RIFF" + bytes(40))
    with pytest.raises(CorruptStreamError, match="version 3 is unknown, this build reads 2"):
        read(seal(body, version=3))
    with pytest.raises(
        CorruptStreamError, match=r"^format version 1 is read by release 0\.2: pip install 'imfcodec<0\.3'$"
    ):
        read(seal(body, version=1))
    with pytest.raises(CorruptStreamError, match="checksum"):
        read(seal(body)[:-1] + b"\0")
    with pytest.raises(CorruptStreamError, match="1 bytes too many"):
        read(seal(body + b"\0"))
    with pytest.raises(CorruptStreamError, match="runs past"):
        read(seal(body[:-1]))
    with pytest.raises(LimitError, match="above the limit"):
        read(b"IMF\x02" + encode_varint(MAX_HEADER_BYTES + 1))
    for length in range(len(seal(body))):
        with pytest.raises(TruncatedStreamError):
            read(seal(body)[:length])


def test_only_the_canonical_form_is_read() -> None:
    body = bytearray(PLAIN.to_bytes()[5:-2])
    body[-1] &= 0xF0  # time base written out although there is a code for it
    with pytest.raises(CorruptStreamError, match="canonical"):
        read(seal(bytes(body) + encode_varint(1) + encode_varint(12800)))
    with pytest.raises(CorruptStreamError, match="shortest form"):
        read(seal(bytes(body) + b"\x81\x00" + encode_varint(12800)))


def with_fields(header: StreamHeader, **changes: int) -> bytes:
    """The header with some of its fields set to other values, or given where they are not."""
    values = _to_values(header) | changes
    return seal(b"".join(field.write(values[field.name]) for field in HEADER_FIELDS if field.present(values)))


@pytest.mark.parametrize(
    "changes",
    [
        {"flags": 0x100, "shown_width": 256, "shown_height": 256},
        {"flags": 0x04, "sample_aspect_num": 1, "sample_aspect_den": 1},
        {"flags": 0x04, "sample_aspect_num": 4, "sample_aspect_den": 2},
        {"flags": 0x08, "colour": 0, "primaries": 2, "transfer": 2, "matrix": 2},
        {"flags": 0x08, "colour": 0, "primaries": 1, "transfer": 1, "matrix": 1},
        {"flags": 0x40, "first_pts": 0},
        {"flags": 0x80, "ticks_per_frame_num": 1024, "ticks_per_frame_den": 2},
        {"timing": 0x06, "frame_rate_num": 25, "frame_rate_den": 1},
        {"timing": 0x20, "time_base_num": 1, "time_base_den": 25},
        {"timing": 0x20, "time_base_num": 1, "time_base_den": 90000},
        {"timing": 0x20, "time_base_num": 2, "time_base_den": 70},
    ],
    ids=lambda changes: next(reversed(changes)),
)
def test_a_header_has_one_spelling(changes: dict[str, int]) -> None:
    with pytest.raises(CorruptStreamError, match="canonical"):
        read(with_fields(PLAIN, **changes))


def test_audio_ticks_have_one_spelling() -> None:
    header = replace(PLAIN, audio=AudioTrack("opus", 48000, 1, Fraction(1, 1000)))
    assert read(with_fields(header)) == header
    with pytest.raises(CorruptStreamError, match="canonical"):
        read(with_fields(header, audio_time_base_den=48000))
    with pytest.raises(CorruptStreamError, match="canonical"):
        read(with_fields(header, audio_time_base_num=2, audio_time_base_den=2000))


def test_flags_without_meaning_are_refused() -> None:
    body = PLAIN.to_bytes()[5:-2]
    for bit in range(9, 60):
        with pytest.raises(CorruptStreamError, match="flags"):
            read(seal(encode_varint(1 << bit) + body[1:]))


def test_a_shown_size_equal_to_the_coded_one_is_not_written() -> None:
    same = replace(PLAIN, shown_size=(256, 256))
    assert same.to_bytes() == PLAIN.to_bytes()
    for size in ((0, 9), (9, MAX_SHOWN_SIDE + 1)):
        with pytest.raises(LimitError, match="shown"):
            replace(PLAIN, shown_size=size).to_bytes()


def test_specification_lists_the_same_fields_and_ranges() -> None:
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in SPEC.read_text("utf-8").splitlines()]
    table = [row[:4] for row in rows if len(row) == 6 and row[1] in ("u8", "varint", "zigzag", "bytes")]
    assert table == [[f.name, f.coding, str(f.minimum), str(f.maximum)] for f in HEADER_FIELDS]


def test_specification_lists_the_same_codes() -> None:
    text = SPEC.read_text("utf-8")
    assert ", ".join(f"{n + 1} = {rate}" for n, rate in enumerate(FRAME_RATES)) in text
    assert ", ".join(f"{n + 2} = {base}" for n, base in enumerate(TIME_BASES)) in text
    assert ", ".join(f"{n + 1} = {'/'.join(map(str, points))}" for n, points in enumerate(COLOURS)) in text
