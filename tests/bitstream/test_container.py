"""Whole streams: round trip, pipes, faults, concealment, overhead, and the exact bytes of the format."""

import io
import os
import random
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from imfcodec.bitstream.bits import encode_varint
from imfcodec.bitstream.container import (
    MAX_GAP_FRAMES,
    IndexEntry,
    StreamReader,
    StreamWriter,
    list_packets,
    read_index,
    verify_structure,
)
from imfcodec.bitstream.header import MAX_HEADER_BYTES, StreamHeader
from imfcodec.bitstream.packet import (
    MAX_AUDIO_BATCH,
    MAX_BODY_BYTES,
    MAX_CHUNK_FRAMES,
    MAX_FRAMES,
    AudioBatch,
    LostPacket,
    PacketHead,
    PacketKind,
    Quantisers,
    VideoPacket,
    frame_packet,
)
from imfcodec.errors import CorruptStreamError, ImfError, LimitError, TruncatedStreamError, UsageError
from imfcodec.frames import AudioPacket, VideoFormat

MODEL_ID = bytes(range(1, 9))
Write = Callable[..., bytes]
SPEC = Path(__file__).parents[2] / "bitstreams" / "SPEC.md"
KEY, CHUNK = PacketKind.KEY, PacketKind.CHUNK
FRAMES, SECOND_KEY, KEY_PACKET = 47, 40, 6
USUAL = Quantisers(40, 5, 50)


def read_all(data: bytes, conceal: bool = False) -> list[object]:
    return list(StreamReader(io.BytesIO(data), conceal=conceal))


def video_of(items: list[object]) -> list[VideoPacket]:
    return [item for item in items if isinstance(item, VideoPacket)]


def lost_of(items: list[object]) -> list[LostPacket]:
    return [item for item in items if isinstance(item, LostPacket)]


def offsets(data: bytes) -> list[int]:
    return [info.offset for info in list_packets(io.BytesIO(data))]


def damage(data: bytes, position: int) -> bytes:
    return data[:position] + bytes((data[position] ^ 0x55,)) + data[position + 1 :]


def replace_packet(data: bytes, number: int, packet: bytes) -> bytes:
    """The stream with its packet `number` replaced by other bytes."""
    starts = [*offsets(data), len(data)]
    return data[: starts[number]] + packet + data[starts[number + 1] :]


def talking_head(packets: int, frames_each: int = 18) -> tuple[StreamHeader, list[VideoPacket]]:
    """A key frame and golden chunks of 350 bytes each."""
    header = StreamHeader(VideoFormat(256, 256, Fraction(30), Fraction(1, 15360)), MODEL_ID)
    plan = [VideoPacket(KEY, 1, (0,), bytes(650), USUAL, key_qindex=60)]
    for number in range(packets - 1):
        first = 1 + number * frames_each
        plan.append(
            VideoPacket(CHUNK, frames_each, header.pts_from(first, frames_each), bytes(350), USUAL, golden=True)
        )
    return header, plan


def test_round_trip(
    mixed_header: StreamHeader,
    mixed_items: list[VideoPacket],
    mixed_stream: bytes,
    audio_batches: tuple[list[AudioPacket], ...],
) -> None:
    reader = StreamReader(io.BytesIO(mixed_stream))
    items = list(reader)
    assert reader.header == mixed_header
    assert reader.total_frames == FRAMES
    assert video_of(items) == mixed_items
    assert items[0] == AudioBatch(tuple(audio_batches[0]))
    assert items[-1] == AudioBatch(tuple(audio_batches[1]))


def test_exact_bytes_of_a_tiny_stream(write_stream: Write) -> None:
    header = StreamHeader(VideoFormat(64, 48, Fraction(25), Fraction(1, 25)), MODEL_ID, shown_size=(128, 96))
    packets = [
        VideoPacket(KEY, 1, (0,), b"KEY", USUAL, key_qindex=60),
        VideoPacket(CHUNK, 3, (1, 2, 3), b"GOLD", USUAL, golden=True),
        VideoPacket(CHUNK, 2, (4, 5), b"TAIL", replace(USUAL, token=51)),
        VideoPacket(KEY, 1, (6,), b"K2", USUAL, key_qindex=61),
    ]
    expected = (
        "494d46 02 10 8002 40 30 8001 60 0102030405060708 21 f494"  # header
        "01 08 3c 280532 00 4b4559 d266"  # key frame 0
        "82 04 474f4c44 c1f2"  # chunk of 3, usual quantisers
        "61 05 33 5441494c da6f"  # tail of 2, own quantiser
        "01 07 3d 280532 06 4b32 28d5"  # key frame 6
        "06 02 34 06 64ae"  # index
        "07 0b 07 4b 06 6ea42112d201100e b16f"  # end
    )
    assert write_stream(header, packets, 75).hex() == expected.replace(" ", "")
    example = SPEC.read_text("utf-8").partition("## Example")[2]
    digits = [line[4:].split("   ")[0] for line in example.splitlines() if line.startswith("    ")]
    assert "".join(digits).replace(" ", "") == expected.replace(" ", "")


def test_specification_states_the_limits() -> None:
    limits = SPEC.read_text("utf-8").partition("## Limits")[2]
    for limit in (MAX_HEADER_BYTES, MAX_BODY_BYTES, MAX_CHUNK_FRAMES, MAX_FRAMES, MAX_AUDIO_BATCH):
        assert f"| {limit} " in limits


def test_video_time_stamps_of_a_variable_rate(write_stream: Write) -> None:
    form = VideoFormat(64, 48, Fraction(30), Fraction(1, 1000))
    header = StreamHeader(form, MODEL_ID, variable_rate=True, first_pts=-40)
    packets = [
        VideoPacket(KEY, 1, (-40,), b"k", USUAL),
        VideoPacket(CHUNK, 3, (-7, 27, 60), b"c", USUAL, golden=True),
        VideoPacket(CHUNK, 2, (61, 4000), b"t", USUAL),
        VideoPacket(KEY, 1, (4033,), b"k", USUAL),
    ]
    data = write_stream(header, packets)
    assert video_of(read_all(data)) == packets
    assert verify_structure(io.BytesIO(data)).duration_seconds == pytest.approx(4.106)
    constant = [info.size for info in list_packets(io.BytesIO(data))][1]
    assert constant == 1 + 1 + 3 + 1 + 2  # first byte, length, a byte a frame, payload, checksum


@pytest.mark.parametrize("ticks", [1, 511, 513, 1 << 60])
def test_last_duration_round_trip(ticks: int, write_stream: Write) -> None:
    header, packets = talking_head(2)
    for variable in (False, True):
        data = write_stream(replace(header, variable_rate=variable), packets, ticks)
        summary = verify_structure(io.BytesIO(data))
        assert summary.last_duration == ticks
        assert summary.duration_seconds == pytest.approx((18 * 512 + ticks) / 15360)


def test_nominal_last_duration_is_one_byte(write_stream: Write) -> None:
    header, packets = talking_head(2)
    data = write_stream(header, packets)
    assert data == write_stream(header, packets, 512)
    reader = StreamReader(io.BytesIO(data))
    assert reader.last_duration is None
    list(reader)
    assert reader.last_duration == 512
    assert verify_structure(io.BytesIO(data)).duration_seconds == pytest.approx(19 / 30)


@pytest.mark.parametrize(("frames", "ticks"), [(1, 0), (1, -1), (1, (1 << 60) + 1), (0, 5)])
def test_last_durations_that_cannot_be_written(frames: int, ticks: int) -> None:
    header, packets = talking_head(1)
    sink = io.BytesIO()
    writer = StreamWriter(sink, header)
    for packet in packets[:frames]:
        writer.write_video(packet)
    before = sink.getvalue()
    with pytest.raises(UsageError, match="last duration"):
        writer.close(ticks)
    assert sink.getvalue() == before


def test_audio_packets_without_data_are_left_out(mixed_header: StreamHeader) -> None:
    sink = io.BytesIO()
    with StreamWriter(sink, mixed_header) as writer:
        writer.write_audio([AudioPacket(0, 960, b"a"), AudioPacket(960, 960, b"")])
        writer.write_audio([AudioPacket(0, 960, b"")])
    assert read_all(sink.getvalue()) == [AudioBatch((AudioPacket(0, 960, b"a"),))]


def test_quantisers_a_packet_has_no_frames_for_are_not_written(write_stream: Write) -> None:
    header, (key, *_) = talking_head(1)
    for kind, own, size in (
        (PacketKind.DELAY_GOLDEN, Quantisers(40, 9, 9), 4),
        (PacketKind.DELAY_TOKEN, Quantisers(9, 9, 50), 4),
        (PacketKind.DELAY_TOKEN, Quantisers(9, 9, 51), 5),
        (CHUNK, Quantisers(9, 9, 50), 4),
    ):
        data = write_stream(header, [key, VideoPacket(kind, 1, header.pts_from(1, 1), b"", own)])
        assert [info.size for info in list_packets(io.BytesIO(data))][1] == size
        kept = {PacketKind.DELAY_GOLDEN: replace(USUAL, golden=own.golden)}.get(kind, replace(USUAL, token=own.token))
        assert video_of(read_all(data))[1].quantisers == kept


def test_constant_rate_time_stamps_cost_nothing_and_are_checked(write_stream: Write) -> None:
    header, packets = talking_head(2)
    assert next(list_packets(io.BytesIO(write_stream(header, packets)))).size == 650 + 10
    late = replace(packets[1], pts=tuple(value + 1 for value in packets[1].pts))
    with pytest.raises(UsageError, match="variable-rate"):
        write_stream(header, [packets[0], late])


def test_overhead_of_a_ten_second_stream(write_stream: Write) -> None:
    header, packets = talking_head(17)
    data = write_stream(header, packets)
    summary = verify_structure(io.BytesIO(data))
    assert summary.bytes_by_kind == {"keys": 650, "tokens": 16 * 350, "audio": 0, "container": len(data) - 6250}
    assert summary.bytes_by_kind["container"] <= 126
    assert summary.bytes_by_kind["container"] <= 0.02 * len(data)


def test_summary_and_statistics(mixed_header: StreamHeader, mixed_stream: bytes) -> None:
    summary = verify_structure(io.BytesIO(mixed_stream))
    assert summary.header == mixed_header
    assert (summary.total_frames, summary.key_frames, summary.audio_packets) == (FRAMES, 2, 7)
    assert summary.size_bytes == len(mixed_stream) == sum(summary.bytes_by_kind.values())
    assert summary.packets["CHUNK"] == 4 and summary.packets["INDEX"] == 1
    assert summary.duration_seconds == pytest.approx(FRAMES / 30)
    assert summary.stream_hash == mixed_stream[-10:-2].hex()


def test_writer_statistics_equal_the_readers(mixed_items: list[VideoPacket], mixed_header: StreamHeader) -> None:
    sink = io.BytesIO()
    writer = StreamWriter(sink, mixed_header)
    for packet in mixed_items:
        writer.write_video(packet)
    writer.close()
    writer.close()
    assert writer.total_frames == FRAMES
    assert writer.bytes_by_kind == verify_structure(io.BytesIO(sink.getvalue())).bytes_by_kind


def test_packet_listing(mixed_stream: bytes) -> None:
    infos = list(list_packets(io.BytesIO(mixed_stream)))
    assert [info.kind.name for info in infos] == [
        "AUDIO",
        "KEY",
        "CHUNK",
        "CHUNK",
        "DELAY_TOKEN",
        "DELAY_TOKEN",
        "KEY",
        "DELAY_GOLDEN",
        "DELAY_GOLDEN",
        "CHUNK",
        "CHUNK",
        "AUDIO",
        "INDEX",
        "END",
    ]
    assert [info.qindex for info in infos[:8]] == [None, 40, 50, 51, 60, 99, 40, 55]
    assert sum(info.frames for info in infos) == FRAMES
    for info, following in pairwise(infos):
        assert info.offset + info.size == following.offset
    assert infos[-1].offset + infos[-1].size == len(mixed_stream)


def test_through_a_pipe(mixed_header: StreamHeader, mixed_items: list[VideoPacket], mixed_stream: bytes) -> None:
    read_end, write_end = os.pipe()

    def write() -> None:
        with open(write_end, "wb", buffering=0) as sink, StreamWriter(sink, mixed_header) as writer:
            for packet in mixed_items:
                writer.write_video(packet)

    thread = threading.Thread(target=write)
    thread.start()
    with open(read_end, "rb") as source:
        assert not source.seekable()
        assert read_all_from(source) == mixed_items
    thread.join()


def read_all_from(source: io.BufferedReader) -> list[object]:
    return list(StreamReader(source))


def test_reader_never_waits_for_a_later_packet(mixed_header: StreamHeader, mixed_items: list[VideoPacket]) -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as source, open(write_end, "wb") as sink:
        writer = StreamWriter(sink, mixed_header)
        packets = iter(StreamReader(source))
        for packet in mixed_items:
            writer.write_video(packet)
            assert next(packets) == packet  # the pipe is still open: asking for more would hang
        writer.close()
        sink.close()
        assert list(packets) == []


def test_index_finds_groups(mixed_stream: bytes, mixed_items: list[VideoPacket]) -> None:
    source = io.BytesIO(mixed_stream)
    (entry,) = read_index(source)
    assert entry == IndexEntry(offsets(mixed_stream)[KEY_PACKET], SECOND_KEY)
    reader = StreamReader(source)
    reader.seek(entry)
    assert video_of(list(reader)) == mixed_items[5:]
    assert reader.total_frames == FRAMES
    reader.seek(entry)  # after the end
    assert video_of(list(reader)) == mixed_items[5:]


def test_stream_with_one_key_frame_has_no_index(write_stream: Write) -> None:
    header, packets = talking_head(3)
    data = write_stream(header, packets)
    assert read_index(io.BytesIO(data)) == ()
    assert PacketKind.INDEX not in [info.kind for info in list_packets(io.BytesIO(data))]
    with pytest.raises(TruncatedStreamError):
        read_index(io.BytesIO(data[:-1]))


def test_stream_without_frames(write_stream: Write) -> None:
    header, _ = talking_head(1)
    summary = verify_structure(io.BytesIO(write_stream(header, [])))
    assert (summary.total_frames, summary.duration_seconds) == (0, 0.0)


def test_large_audio_batches_are_split(mixed_header: StreamHeader) -> None:
    packets = [AudioPacket(20 * index, 20, bytes(6000)) for index in range(1500)]
    sink = io.BytesIO()
    with StreamWriter(sink, mixed_header) as writer:
        writer.write_audio(packets)
        writer.write_audio([])
    batches = read_all(sink.getvalue())
    assert len(batches) == 3
    assert [packet for batch in batches for packet in batch.packets] == packets


def test_regular_audio_costs_little(mixed_header: StreamHeader) -> None:
    sink = io.BytesIO()
    with StreamWriter(sink, mixed_header) as writer:
        empty = writer.bytes_by_kind["container"]
        writer.write_audio([AudioPacket(960 * n, 960, bytes(30 + n % 3)) for n in range(50)])
        assert writer.bytes_by_kind["container"] - empty <= 50 + 10


@pytest.mark.parametrize(
    "packet",
    [
        VideoPacket(CHUNK, 1, (0,), b"", USUAL),
        VideoPacket(KEY, 2, (0, 512), b"", USUAL),
        VideoPacket(CHUNK, MAX_CHUNK_FRAMES + 1, tuple(range(MAX_CHUNK_FRAMES + 1)), b"", USUAL),
        VideoPacket(KEY, 1, (0,), b"", USUAL, key_qindex=256),
        VideoPacket(KEY, 1, (0,), b"", Quantisers(256, 0, 0)),
        VideoPacket(KEY, 1, (0,), b"", Quantisers(0, 256, 0)),
        VideoPacket(KEY, 1, (0,), b"", Quantisers(0, 0, -1)),
        VideoPacket(KEY, 1, (), b"", USUAL),
        VideoPacket(KEY, 1, (1 << 61,), b"", USUAL),
        VideoPacket(PacketKind.AUDIO, 1, (0,), b"", USUAL),
        VideoPacket(KEY, 1, (0,), bytes(MAX_BODY_BYTES), USUAL),
    ],
    ids=["no key", "two keys", "chunk", "key", "golden", "deeper", "token", "no pts", "pts", "kind", "payload"],
)
def test_packets_that_cannot_be_written_leave_nothing(packet: VideoPacket) -> None:
    sink = io.BytesIO()
    header, _ = talking_head(1)
    writer = StreamWriter(sink, header)
    before = sink.getvalue()
    with pytest.raises((UsageError, LimitError)):
        writer.write_video(packet)
    assert sink.getvalue() == before
    assert writer.total_frames == 0


def test_writer_misuse() -> None:
    header, packets = talking_head(1)
    writer = StreamWriter(io.BytesIO(), header)
    with pytest.raises(UsageError, match="audio track"):
        writer.write_audio([AudioPacket(0, 1, b"")])
    writer.close()
    with pytest.raises(UsageError, match="closed"):
        writer.write_video(packets[0])


def test_time_stamps_must_increase(write_stream: Write) -> None:
    header = replace(talking_head(1)[0], variable_rate=True)
    key = VideoPacket(KEY, 1, (5,), b"", USUAL)
    for pts in ((5,), (6, 6)):
        with pytest.raises(UsageError, match="increase"):
            write_stream(header, [key, VideoPacket(CHUNK, len(pts), pts, b"", USUAL)])


def test_abandoned_stream_reads_as_truncated() -> None:
    header, packets = talking_head(2)
    sink = io.BytesIO()
    with pytest.raises(RuntimeError), StreamWriter(sink, header) as writer:
        writer.write_video(packets[0])
        raise RuntimeError
    with pytest.raises(TruncatedStreamError):
        read_all(sink.getvalue())


def test_every_truncation_is_named(mixed_stream: bytes) -> None:
    for length in range(len(mixed_stream)):
        with pytest.raises(TruncatedStreamError):
            verify_structure(io.BytesIO(mixed_stream[:length]))


def test_bytes_after_the_end(mixed_stream: bytes) -> None:
    for read in (read_all, lambda data: verify_structure(io.BytesIO(data))):
        with pytest.raises(CorruptStreamError, match="follow the end"):
            read(mixed_stream + b"\0")
    assert read_all(mixed_stream + b"\0", conceal=True) == read_all(mixed_stream)


def test_one_byte_mutations(mixed_stream: bytes) -> None:
    rng = random.Random(7)
    content = read_all(mixed_stream)
    for position in range(len(mixed_stream)):
        for value in rng.sample(range(256), 10):
            mutated = mixed_stream[:position] + bytes((value,)) + mixed_stream[position + 1 :]
            try:
                assert read_all(mutated) == content
            except ImfError as error:
                assert "\n" not in str(error)


def test_concealed_mutations_end_typed_and_bounded(mixed_stream: bytes) -> None:
    rng = random.Random(8)
    for _ in range(1500):
        mutated = bytearray(mixed_stream)
        for _ in range(rng.randint(1, 4)):
            position = rng.randrange(len(mutated))
            if rng.random() < 0.2:
                del mutated[position : position + rng.randint(1, 9)]
            else:
                mutated[position] = rng.randrange(256)
        try:
            items = read_all(bytes(mutated), conceal=True)
        except ImfError:
            continue
        assert len(items) < 40
        assert all(
            len(item.pts) == (item.frame_count or 0) <= MAX_GAP_FRAMES or not item.pts for item in lost_of(items)
        )


def test_false_lengths_cost_no_memory(mixed_header: StreamHeader) -> None:
    start = mixed_header.to_bytes()
    tracemalloc.start()
    with pytest.raises(LimitError):
        read_all(start + b"\x01" + encode_varint(MAX_BODY_BYTES + 1))
    with pytest.raises(TruncatedStreamError):
        read_all(start + b"\x01" + encode_varint(MAX_BODY_BYTES))
    with pytest.raises(LimitError):
        read_all(start + frame_packet(PacketHead(PacketKind.AUDIO), b"\x02" + encode_varint(1 << 40) + bytes(9)))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("number", "packet", "message"),
    [
        (1, frame_packet(PacketHead(PacketKind.KEY, 1), b"\1\1\1\1\5"), "key frame number 5"),
        (1, b"", "frame 1 follows 0 frames"),
        (2, b"", "frame 6 follows 1 frames"),
        (6, b"", "frame 41 follows 40 frames"),
        (10, b"", "end packet counts"),
        (12, frame_packet(PacketHead(PacketKind.INDEX), b"\1\1"), "index does not agree"),
        (12, b"", "names an index"),
        (13, frame_packet(PacketHead(PacketKind.AUDIO), b"\3\1\0\0\1a"), "follows the index"),
        (0, frame_packet(PacketHead(PacketKind.AUDIO), b"\2\1\0\0\0"), "names 1 packets but holds|is empty"),
        (0, frame_packet(PacketHead(PacketKind.AUDIO), b"\0\2\0\0\1\0a"), "is empty"),
        (0, frame_packet(PacketHead(PacketKind.AUDIO), b"\2\x80\1\0\0\1a"), "names 128 packets but holds"),
        (0, frame_packet(PacketHead(PacketKind.AUDIO), b"\4\1\0\0\0"), "unknown flags"),
        (0, frame_packet(PacketHead(PacketKind.AUDIO), b"\2\1\0\0\5abc"), "names 5 bytes"),
        (0, frame_packet(PacketHead(PacketKind.AUDIO), b"\2\0\0\0\0"), "holds 0 packets"),
        (13, frame_packet(PacketHead(PacketKind.END), b"\x2f\0" + bytes(7)), "bytes of hash"),
        (13, frame_packet(PacketHead(PacketKind.END), b"\x2f\0\0" + bytes(8)), "index of 0 bytes"),
        (13, frame_packet(PacketHead(PacketKind.END), b"\x2f\x80\4\6" + bytes(8)), "spells out a last duration of 512"),
        (13, frame_packet(PacketHead(PacketKind.END), b"\0\1\6" + bytes(8)), "spells out a last duration of 1"),
        (13, frame_packet(PacketHead(PacketKind.END), b"\x2f" + encode_varint((1 << 60) + 1) + bytes(8)), "above 2"),
        (13, frame_packet(PacketHead(PacketKind.END), encode_varint(1 << 32) + bytes(9)), "above the limit"),
        (2, frame_packet(PacketHead(CHUNK, 5, True, True), b"\x32\6\x3c", 1), "spells out the usual"),
        (4, frame_packet(PacketHead(PacketKind.DELAY_TOKEN, 1, explicit=True), b"\x3c", 38), "spells out the usual"),
        (7, frame_packet(PacketHead(PacketKind.DELAY_GOLDEN, 1, explicit=True), b"\x37", 41), "spells out the usual"),
        (10, frame_packet(PacketHead(CHUNK, 1, explicit=True), b"\x46", 46), "spells out the usual"),
        (1, frame_packet(PacketHead(PacketKind.KEY, 1), b"\1\1"), "runs past"),
    ],
)
def test_faults_with_right_checksums(mixed_stream: bytes, number: int, packet: bytes, message: str) -> None:
    with pytest.raises(ImfError, match=message):
        read_all(replace_packet(mixed_stream, number, packet))


def test_whole_stream_hash_finds_exchanged_packets(write_stream: Write) -> None:
    header, packets = talking_head(3)
    other = write_stream(header, [packets[0], replace(packets[1], payload=b"\1" * 350), packets[2]])
    data = write_stream(header, packets)
    start, end = offsets(data)[1:3]
    with pytest.raises(CorruptStreamError, match="hash"):
        read_all(data[:start] + other[start:end] + data[end:])


def test_concealment_of_a_damaged_payload(mixed_stream: bytes, mixed_items: list[VideoPacket]) -> None:
    starts = offsets(mixed_stream)
    items = read_all(damage(mixed_stream, starts[2] + 5), conceal=True)
    (lost,) = lost_of(items)
    assert (lost.kind, lost.frame_count, lost.pts) == (CHUNK, 5, mixed_items[1].pts)
    assert "checksum" in lost.reason
    assert video_of(items) == [mixed_items[0], *mixed_items[2:]]


def test_concealment_of_a_damaged_length(mixed_stream: bytes, mixed_items: list[VideoPacket]) -> None:
    starts = offsets(mixed_stream)
    items = read_all(damage(mixed_stream, starts[2] + 1), conceal=True)
    lost = lost_of(items)
    assert [packet.frame_count for packet in lost] == [None, 5]  # accounted for before the second key frame
    assert [packet.payload for packet in video_of(items)] == [p.payload for p in [mixed_items[0], *mixed_items[2:]]]
    assert video_of(items)[4:] == mixed_items[5:]


def test_concealment_of_a_lost_key_frame(mixed_stream: bytes, mixed_items: list[VideoPacket]) -> None:
    items = read_all(damage(mixed_stream, offsets(mixed_stream)[1] + 8), conceal=True)
    assert [packet.frame_count for packet in lost_of(items)] == [1, 5, 32, 1, 1]
    assert video_of(items) == mixed_items[5:]


def test_concealment_of_cut_and_removed_parts(mixed_stream: bytes, mixed_items: list[VideoPacket]) -> None:
    starts = offsets(mixed_stream)
    cut = read_all(mixed_stream[: starts[3] + 6], conceal=True)
    assert video_of(cut) == mixed_items[:2]
    assert [(packet.kind, packet.frame_count) for packet in lost_of(cut)] == [(CHUNK, 32)]
    whole = read_all(mixed_stream[: starts[3]], conceal=True)
    assert [(packet.kind, packet.frame_count) for packet in lost_of(whole)] == [(None, None)]


def test_concealment_changes_nothing_in_a_sound_stream(mixed_stream: bytes) -> None:
    assert read_all(mixed_stream, conceal=True) == read_all(mixed_stream)


def test_concealment_does_not_help_a_damaged_header(mixed_stream: bytes) -> None:
    with pytest.raises(CorruptStreamError, match="checksum"):
        StreamReader(io.BytesIO(damage(mixed_stream, 8)), conceal=True)


def test_concealment_of_a_false_frame_number_is_bounded(mixed_header: StreamHeader, write_stream: Write) -> None:
    header, packets = talking_head(1)
    data = write_stream(header, packets)[:-14] + b"\xff" * 8
    far = frame_packet(PacketHead(PacketKind.KEY, 1), b"\1\1\1" + encode_varint((1 << 32) - 1))
    items = read_all(data + far, conceal=True)
    assert all(len(packet.pts) <= MAX_GAP_FRAMES for packet in lost_of(items))


def test_errors_name_the_file(tmp_path: object, mixed_stream: bytes) -> None:
    path = f"{tmp_path}/clip.imf"
    with open(path, "wb") as sink:
        sink.write(mixed_stream[:-3])
    with open(path, "rb") as source, pytest.raises(TruncatedStreamError, match=r"clip\.imf: packet at byte"):
        verify_structure(source)


def test_no_torch_is_imported() -> None:
    code = "import sys, imfcodec.bitstream.container; sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
