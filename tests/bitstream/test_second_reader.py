"""Ours and a reader written from SPEC.md alone agree on what streams hold, and on which are valid."""

import hashlib
import io
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
import second_reader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imfcodec.bitstream.bits import crc16, encode_varint
from imfcodec.bitstream.container import StreamReader, StreamWriter, list_packets
from imfcodec.bitstream.header import COLOURS, FRAME_RATES, TIME_BASES, StreamHeader
from imfcodec.bitstream.packet import (
    VIDEO_KINDS,
    AudioBatch,
    PacketKind,
    Quantisers,
    VideoPacket,
    add_checksum,
    count_frames,
)
from imfcodec.errors import ImfError, LimitError, UsageError
from imfcodec.frames import AudioPacket, AudioTrack, Colour, VideoFormat

SPEC = Path(__file__).parents[2] / "bitstreams" / "SPEC.md"
SETTINGS = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

TERM = st.integers(1, (1 << 31) - 1)
RATIO = st.builds(Fraction, TERM, TERM)
BYTE = st.integers(0, 255)
SIDE = st.integers(16, 2304)
TICKS = st.integers(1, 1 << 40)


@st.composite
def headers(draw: st.DrawFn) -> StreamHeader:
    rate = draw(st.sampled_from(FRAME_RATES) | RATIO)
    colour = st.sampled_from([(2, 2, 2), *COLOURS]) | st.tuples(BYTE, BYTE, BYTE)
    video = VideoFormat(
        width=draw(SIDE),
        height=draw(SIDE),
        frame_rate=rate,
        time_base=draw(st.sampled_from([*TIME_BASES, 1 / rate]) | RATIO),
        sample_aspect=draw(st.just(Fraction(1)) | RATIO),
        rotation=draw(st.sampled_from([0, 90, 180, 270])),
        colour=Colour(*draw(colour), draw(st.booleans())),
    )
    return StreamHeader(
        format=video,
        model_id=draw(st.binary(min_size=8, max_size=8)),
        audio=draw(st.none() | tracks()),
        variable_rate=draw(st.booleans()),
        first_pts=draw(st.just(0) | st.integers(-(1 << 50), 1 << 50)),
        ticks_per_frame=draw(st.none() | st.builds(Fraction, st.integers(1, 1 << 20), st.integers(1, 1000))),
        shown_size=draw(st.none() | st.tuples(st.integers(1, 1 << 14), st.integers(1, 1 << 14))),
    )


@st.composite
def tracks(draw: st.DrawFn) -> AudioTrack:
    rate = draw(st.integers(1, 1_000_000))
    name = draw(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=32))
    base = draw(st.just(Fraction(1, rate)) | RATIO)
    return AudioTrack(name, rate, draw(st.integers(1, 255)), base, draw(st.binary(max_size=40)))


@st.composite
def videos(draw: st.DrawFn, header: StreamHeader) -> list[VideoPacket]:
    kinds = st.sampled_from([PacketKind.CHUNK, *VIDEO_KINDS])
    packets: list[VideoPacket] = []
    frame, last, usual = 0, header.first_pts, Quantisers(0, 0, 0)
    for number in range(draw(st.integers(0, 8))):
        kind = draw(kinds) if number else PacketKind.KEY
        count = draw(st.integers(1, 32)) if kind is PacketKind.CHUNK else 1
        if header.variable_rate:
            pts = tuple(last + step for step in accumulate(draw(st.lists(TICKS, min_size=count, max_size=count))))
        else:
            pts = header.pts_from(frame, count)
        packet = draw(contents(kind, count, pts, usual))
        usual = packet.quantisers if kind is PacketKind.KEY else usual
        packets.append(packet)
        frame, last = frame + count, pts[-1]
    return packets


@st.composite
def contents(draw: st.DrawFn, kind: PacketKind, count: int, pts: tuple[int, ...], usual: Quantisers) -> VideoPacket:
    golden = kind is PacketKind.CHUNK and draw(st.booleans())
    own = draw(st.just(usual) | st.builds(Quantisers, BYTE, BYTE, BYTE))
    if kind is PacketKind.DELAY_GOLDEN:
        own = Quantisers(own.golden, usual.deeper, usual.token)
    elif kind is not PacketKind.KEY and not golden:
        own = Quantisers(usual.golden, usual.deeper, own.token)
    key_qindex = draw(BYTE) if kind is PacketKind.KEY else 0
    return VideoPacket(kind, count, pts, draw(st.binary(max_size=200)), own, golden, key_qindex)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    header = draw(headers())
    sound = st.builds(AudioPacket, st.integers(-(1 << 40), 1 << 40), st.integers(0, 1 << 40), st.binary(max_size=5))
    sink = io.BytesIO()
    try:
        with StreamWriter(sink, header) as writer:
            for packet in draw(videos(header)):
                writer.write_video(packet)
                if header.audio:
                    writer.write_audio(draw(st.lists(sound, max_size=3)))
            writer.close(draw(st.none() | st.integers(1, 1 << 60)) if writer.total_frames else None)
    except (UsageError, LimitError):  # a time base too coarse, or time stamps beyond the limits
        return draw(streams())
    return sink.getvalue()


def ours(data: bytes) -> list[Any]:
    """What our reader finds, in the terms of the other."""
    reader = StreamReader(io.BytesIO(data))
    items = [_plain(item) for item in reader]
    return [_plain_header(reader.header), items, reader.total_frames, reader.last_duration]


def theirs(data: bytes) -> list[Any]:
    stream = second_reader.Stream(data)
    return [stream.head, stream.packets, stream.frame, stream.last_duration]


def _plain(item: object) -> tuple[Any, ...]:
    if isinstance(item, AudioBatch):
        return ("AUDIO", [(packet.pts, packet.duration, packet.data) for packet in item.packets])
    assert isinstance(item, VideoPacket)
    own = item.quantisers
    quantisers = (own.golden, own.deeper, own.token)
    return (
        item.kind.name,
        item.frame_count,
        item.golden,
        item.key_qindex,
        quantisers,
        item.pts,
        item.payload,
    )


def _plain_header(header: StreamHeader) -> dict[str, Any]:
    video, audio, colour = header.format, header.audio, header.format.colour
    return {
        "variable_rate": header.variable_rate,
        "rotation": video.rotation,
        "size": (video.width, video.height),
        "shown": header.shown_size,
        "model_id": header.model_id,
        "rate": video.frame_rate,
        "base": video.time_base,
        "aspect": video.sample_aspect,
        "colour": (colour.primaries, colour.transfer, colour.matrix, colour.full_range),
        "first_pts": header.first_pts,
        "ticks": header.frame_ticks,
        "audio": audio
        and {
            "codec": audio.codec,
            "rate": audio.sample_rate,
            "channels": audio.channels,
            "base": audio.time_base,
            "extradata": audio.extradata,
        },
    }


def reseal(data: bytes, change: tuple[int, int, int]) -> bytes:
    """The stream with a byte of one of its parts changed and all checksums, and the hash, right again."""
    starts = [0, *(info.offset for info in list_packets(io.BytesIO(data))), len(data)]
    parts = [bytearray(data[start:end]) for start, end in pairwise(starts)]
    part, position, value = change
    body = parts[part % len(parts)]
    body[position % (len(body) - 2)] ^= value
    parts[0][-2:] = crc16(parts[0][:-2]).to_bytes(2, "big")
    place = 0
    for part in parts[1:-1]:
        part[:] = add_checksum(bytes(part[:-2]), place)
        place += count_frames(part[0])
    before = b"".join(parts)[:-10]
    end = parts[-1][:-10] + hashlib.sha256(before).digest()[:8]
    return b"".join(parts[:-1]) + end + crc16(end).to_bytes(2, "big")


def outcome(read: Any, data: bytes) -> Any:
    try:
        return read(data)
    except (ImfError, second_reader.InvalidError):
        return "refused"


@settings(SETTINGS, max_examples=150)
@given(streams())
def test_both_read_the_same(data: bytes) -> None:
    assert ours(data) == theirs(data)


@settings(SETTINGS, max_examples=300)
@given(streams(), st.tuples(st.integers(0, 20), st.integers(0, 60), st.integers(1, 255)))
def test_both_refuse_the_same(data: bytes, change: tuple[int, int, int]) -> None:
    changed = reseal(data, change)
    assert outcome(ours, changed) == outcome(theirs, changed)


def test_both_read_the_example_of_the_specification() -> None:
    example = SPEC.read_text("utf-8").partition("## Example")[2]
    data = bytes.fromhex("".join(line[4:].split("   ")[0] for line in example.splitlines() if line.startswith("    ")))
    assert ours(data) == theirs(data)
    head, packets, frames, last_duration = theirs(data)
    assert (head["size"], head["shown"], head["rate"], frames, last_duration) == ((64, 48), (128, 96), 25, 7, 75)
    assert [(kind, count, payload) for kind, count, *_, payload in packets] == [
        ("KEY", 1, b"KEY"),
        ("CHUNK", 3, b"GOLD"),
        ("CHUNK", 2, b"TAIL"),
        ("KEY", 1, b"K2"),
    ]


@pytest.mark.parametrize("byte", range(256))
def test_both_know_the_same_first_bytes(byte: int) -> None:
    start = StreamHeader(VideoFormat(16, 16, Fraction(25), Fraction(1, 25)), bytes(8)).to_bytes()
    data = start + bytes((byte,)) + encode_varint(0)
    data = start + add_checksum(data[len(start) :], 0)
    expected = {1, 3, 4, 5, 6, 7, 0x23, 0x24, *range(0x40, 0xC0)}
    with pytest.raises(second_reader.InvalidError) as theirs_refuse:
        theirs(data)
    with pytest.raises(ImfError) as ours_refuse:
        ours(data)
    assert ("unknown packet type" in str(ours_refuse.value)) is (byte not in expected)
    assert (f"first byte {byte}" in str(theirs_refuse.value)) is (byte not in expected)


def test_the_second_reader_imports_nothing_of_ours() -> None:
    assert "import imfcodec" not in Path(second_reader.__file__).read_text("utf-8")
    assert "from imfcodec" not in Path(second_reader.__file__).read_text("utf-8")
