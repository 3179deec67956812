"""Damaged and hostile streams: frames stay in their places, work stays in proportion to the bytes that are there."""

import io
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imfcodec.bitstream import bits
from imfcodec.bitstream.bits import encode_varint
from imfcodec.bitstream.container import MAX_GAP_FRAMES, StreamReader, StreamWriter, list_packets, verify_structure
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import (
    MAX_BODY_BYTES,
    MAX_CHUNK_FRAMES,
    MAX_FRAMES,
    LostPacket,
    PacketHead,
    PacketKind,
    Quantisers,
    VideoPacket,
    find_packet,
    frame_packet,
)
from imfcodec.errors import CorruptStreamError, ImfError, TruncatedStreamError
from imfcodec.frames import AudioTrack, VideoFormat

FORMAT = VideoFormat(64, 64, Fraction(30), Fraction(1, 15360))
HEADER = StreamHeader(FORMAT, bytes(8), AudioTrack("opus", 48000, 1, Fraction(1, 48000)))
USUAL = Quantisers(50, 6, 60)
KEY, CHUNK, END = PacketKind.KEY, PacketKind.CHUNK, PacketKind.END
STRUCTURE = ((KEY, 1), (CHUNK, 5), (CHUNK, 3), (PacketKind.DELAY_TOKEN, 1), (KEY, 1), (CHUNK, 8), (KEY, 1), (CHUNK, 2))
TOTAL = sum(count for _, count in STRUCTURE)


class Pipe(io.RawIOBase):
    """A source that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, count: int = -1) -> bytes:
        return self._data.read(count)


def make_stream(header: StreamHeader = HEADER) -> bytes:
    """Three groups; every payload tells its packet."""
    sink, frame = io.BytesIO(), 0
    with StreamWriter(sink, header) as writer:
        for number, (kind, count) in enumerate(STRUCTURE):
            pts = header.pts_from(frame, count)
            writer.write_video(VideoPacket(kind, count, pts, b"payload %d" % number, USUAL, kind is CHUNK))
            frame += count
    return sink.getvalue()


def split(data: bytes) -> list[bytes]:
    """The header and each packet."""
    starts = [0, *(info.offset for info in list_packets(io.BytesIO(data))), len(data)]
    return [data[start:end] for start, end in pairwise(starts)]


def conceal(data: bytes, source: Callable[[bytes], io.IOBase] = io.BytesIO) -> list[VideoPacket | LostPacket]:
    return list(StreamReader(source(data), conceal=True))


def shown(items: list[VideoPacket | LostPacket]) -> list[int]:
    """Time stamps a decoder shows: of frames given again it keeps the first."""
    stamps: list[int] = []
    for item in items:
        stamps += [pts for pts in item.pts if not stamps or pts > stamps[-1]]
    return stamps


def intact(items: list[VideoPacket | LostPacket]) -> list[bytes]:
    return [item.payload for item in items if isinstance(item, VideoPacket)]


HEAD, *PACKETS = split(make_stream())
TIMES = {item.payload: item.pts for item in conceal(make_stream()) if isinstance(item, VideoPacket)}
VARIABLE = split(make_stream(replace(HEADER, variable_rate=True)))
STAMPS = list(HEADER.pts_from(0, TOTAL))
PLACE = st.integers(0, len(PACKETS) - 2)
FAULT = st.tuples(st.sampled_from(["drop", "double", "swap", "damage"]), PLACE, PLACE, st.integers(0, 255))


def spoil(faults: list[tuple[str, int, int, int]], parts: Sequence[bytes] = (HEAD, *PACKETS)) -> bytes:
    """The stream with these faults in its packets; END stays, as the last packet."""
    head, *packets, end = parts
    for fault, place, other, value in faults:
        if not packets:
            break
        place, other = place % len(packets), other % len(packets)
        if fault == "drop":
            del packets[place]
        elif fault == "double":
            packets.insert(place, packets[place])
        elif fault == "swap":
            packets[place], packets[other] = packets[other], packets[place]
        else:
            position = value % len(packets[place])
            changed = bytes((packets[place][position] ^ (value or 1),))
            packets[place] = packets[place][:position] + changed + packets[place][position + 1 :]
    return head + b"".join(packets) + end


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(FAULT, max_size=8))
def test_frames_stay_in_their_places(faults: list[tuple[str, int, int, int]]) -> None:
    assert shown(conceal(spoil(faults))) == STAMPS


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(FAULT.filter(lambda fault: fault[0] == "drop"), max_size=8))
def test_frames_missing_from_a_pipe_stay_in_their_places(faults: list[tuple[str, int, int, int]]) -> None:
    assert shown(conceal(spoil(faults), Pipe)) == STAMPS


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(FAULT.filter(lambda fault: fault[0] != "swap"), max_size=6))
def test_frames_of_a_variable_rate_stay_in_their_places(faults: list[tuple[str, int, int, int]]) -> None:
    assert shown(conceal(spoil(faults, VARIABLE))) == STAMPS


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(FAULT, max_size=8))
def test_intact_packets_stand_at_their_own_times(faults: list[tuple[str, int, int, int]]) -> None:
    for source in (io.BytesIO, Pipe):
        items = conceal(spoil(faults), source)
        assert all(TIMES[item.payload] == item.pts for item in items if isinstance(item, VideoPacket))


@pytest.mark.parametrize("source", [io.BytesIO, Pipe])
@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_a_missing_packet_is_noticed_at_the_next_one(number: int, source: Callable[[bytes], io.IOBase]) -> None:
    items = conceal(HEAD + b"".join(PACKETS[:number] + PACKETS[number + 1 :]), source)
    assert intact(items) == [payload for payload in TIMES if payload != b"payload %d" % number]
    (lost,) = (item for item in items if isinstance(item, LostPacket))
    assert (items.index(lost), lost.pts) == (number, TIMES[b"payload %d" % number])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sets(st.sampled_from([1, 2, 3, 5, 7])), st.sampled_from([io.BytesIO, Pipe]))
def test_damage_costs_no_packet_that_is_intact(numbers: set[int], source: Callable[[bytes], io.IOBase]) -> None:
    damaged = [part[:-1] + bytes((part[-1] ^ 0xFF,)) if n in numbers else part for n, part in enumerate(PACKETS)]
    items = conceal(HEAD + b"".join(damaged), source)
    assert intact(items) == [payload for n, payload in enumerate(TIMES) if n not in numbers]
    assert shown(items) == STAMPS


def test_packets_that_change_places_cost_one_of_them() -> None:
    order = [0, 2, 1, 3, 4, 5, 6, 7, *range(8, len(PACKETS))]
    assert intact(conceal(HEAD + b"".join(PACKETS[n] for n in order))) == [p for p in TIMES if p != b"payload 1"]


def test_places_are_found_across_the_halves_of_a_number() -> None:
    data = frame_packet(PacketHead(CHUNK, 5, golden=True), b"payload", 65_600)
    for near, place in ((65_600, 65_600), (65_500, 65_600), (65_700, 65_600), (65_000, None), (0, None)):
        source = bits.ByteSource(io.BytesIO(data))
        if place is None:
            with pytest.raises(CorruptStreamError, match="checksum"):
                find_packet(source, near)
        else:
            assert find_packet(source, near).place == place
    last = frame_packet(PacketHead(CHUNK, 1), b"", MAX_FRAMES)
    assert find_packet(bits.ByteSource(io.BytesIO(last)), MAX_FRAMES).place == MAX_FRAMES


@pytest.mark.parametrize("source", [io.BytesIO, Pipe])
def test_a_doubled_key_frame_is_used_once(source: Callable[[bytes], io.IOBase]) -> None:
    doubled = [*PACKETS[:6], PACKETS[4], *PACKETS[6:]]
    items = conceal(HEAD + b"".join(doubled), source)
    assert [item for item in items if isinstance(item, VideoPacket)] == conceal(make_stream())
    damaged = PACKETS[4][:-1] + b"?"
    items = conceal(HEAD + b"".join([*PACKETS[:4], damaged, *PACKETS[4:]]), source)
    assert intact(items) == intact(conceal(make_stream()))


@pytest.mark.parametrize("source", [io.BytesIO, Pipe])
def test_intact_packets_after_a_gap_are_used(source: Callable[[bytes], io.IOBase]) -> None:
    data = HEAD + PACKETS[0] + b"?" * 40 + b"".join(PACKETS[4:])
    items = conceal(data, source)
    assert intact(items) == [b"payload %d" % number for number in (0, 4, 5, 6, 7)]
    assert shown(items) == STAMPS
    assert [item.frame_count for item in items if isinstance(item, LostPacket)] == [None, 9]


def test_a_gap_before_a_key_that_cannot_be_read_is_not_forgotten() -> None:
    broken = frame_packet(PacketHead(KEY, 1), b"\1\1\1\1" + encode_varint(10) + encode_varint(1 << 62))
    header = replace(HEADER, variable_rate=True)
    head, first, *_, end = split(make_stream(header))
    items = conceal(head + first + broken + end, Pipe)
    assert [item.frame_count for item in items if isinstance(item, LostPacket)] == [9, 1, TOTAL - 11]


def test_an_end_that_fits_nothing_is_passed_over() -> None:
    early = conceal(HEAD + PACKETS[0] + PACKETS[-1] + b"".join(PACKETS[1:]))
    assert (intact(early), shown(early)) == (intact(conceal(make_stream())), STAMPS)
    only = conceal(HEAD + b"".join(PACKETS[:3]) + PACKETS[-1] + b"noise", Pipe)
    assert shown(only) == STAMPS


def test_a_missing_packet_is_reported_though_nothing_is_damaged() -> None:
    audio = frame_packet(PacketHead(PacketKind.AUDIO), b"\2\1\0\0\1a")
    items = conceal(HEAD + audio + b"".join(PACKETS))
    assert intact(items) == intact(conceal(make_stream()))
    assert any(isinstance(item, LostPacket) for item in items)


@pytest.mark.parametrize("source", [io.BytesIO, Pipe])
def test_stamps_of_a_variable_rate_meet_the_next_key(source: Callable[[bytes], io.IOBase]) -> None:
    header = replace(HEADER, variable_rate=True)
    head, *packets = split(make_stream(header))
    lost = conceal(head + packets[0] + b"".join(packets[4:]), source)
    assert shown(lost) == STAMPS


def test_made_up_frames_are_bounded_by_the_bytes() -> None:
    jumps = [frame_packet(PacketHead(KEY, 1), bytes(4) + encode_varint(4000 * n)) for n in range(1, 3000)]
    data = HEAD + b"".join(jumps)
    made_up = sum(len(item.pts) for item in conceal(data, Pipe) if isinstance(item, LostPacket))
    assert made_up <= len(data) + MAX_GAP_FRAMES
    far = frame_packet(PacketHead(KEY, 1), bytes(4) + encode_varint((1 << 32) - 2))
    assert sum(len(item.pts) for item in conceal(HEAD + far, Pipe)) <= 1


def test_long_gaps_come_in_pieces() -> None:
    key = frame_packet(PacketHead(KEY, 1), bytes(4) + encode_varint(10_000))
    items = conceal(HEAD + PACKETS[0] + bytes(20_000) + key, Pipe)
    assert shown(items) == list(HEADER.pts_from(0, 10_001))
    assert all(len(item.pts) <= MAX_GAP_FRAMES for item in items)


def test_false_lengths_cost_no_memory_from_pipes_either() -> None:
    data = HEAD + b"\x01" + encode_varint(MAX_BODY_BYTES) + bytes(9)
    tracemalloc.start()
    with pytest.raises(TruncatedStreamError):
        list(StreamReader(Pipe(data)))
    conceal(data, Pipe)
    with pytest.raises(TruncatedStreamError):
        StreamReader(Pipe(b"IMF\x02" + encode_varint(1 << 16)))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def noise(size: int) -> bytes:
    return random.Random(9).randbytes(size)


def claims_of_everything(size: int) -> bytes:
    return (b"\x80" + encode_varint(MAX_BODY_BYTES)) * (size // 5)


def claims_of_half(size: int) -> bytes:
    return (b"\x80" + encode_varint(size // 2)) * (size // 4)


def claims_between_sound_packets(size: int) -> bytes:
    tiny = frame_packet(PacketHead(PacketKind.DELAY_TOKEN, 1), b"")
    return (b"\x80" + encode_varint(size // 3) + tiny) * (size // 8)


def sound_chunks(size: int) -> bytes:
    return PACKETS[0] + frame_packet(PacketHead(CHUNK, MAX_CHUNK_FRAMES, golden=True), b"") * (size // 4)


def empty_sound(size: int) -> bytes:
    return frame_packet(PacketHead(PacketKind.AUDIO), b"\2" + encode_varint(1024) + b"\0\0\0") * (size // 9)


def key_frames(size: int) -> bytes:
    return b"".join(frame_packet(PacketHead(KEY, 1), bytes(4) + encode_varint(n)) for n in range(size // 10))


HOSTILE = [
    noise,
    claims_of_everything,
    claims_of_half,
    claims_between_sound_packets,
    sound_chunks,
    empty_sound,
    key_frames,
]


class Work:
    """Counts the bytes that go through checksums."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.examined = 0
        self._crc_hqx = bits.crc_hqx
        monkeypatch.setattr(bits, "crc_hqx", self._count)

    def _count(self, data: bytes, state: int) -> int:
        self.examined += len(data)
        return self._crc_hqx(data, state)

    def of(self, data: bytes) -> int:
        before = self.examined
        conceal(HEAD + data, Pipe)
        return self.examined - before


@pytest.mark.parametrize("make", HOSTILE)
def test_search_examines_bytes_in_proportion(make: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    bits.crc16_after_zeros(0, 0)  # its table is made once
    work = Work(monkeypatch)
    # Two blocks of 256 bytes for each place tried, and each byte once as it arrives and once in its packet.
    assert work.of(make(60_000)) <= 60_000 * (2 * 256 + 2)


@pytest.mark.parametrize("make", HOSTILE)
def test_hostile_bytes_cost_bounded_time(make: Callable[[int], bytes]) -> None:
    data = HEAD + make(200_000)
    start = time.process_time()
    conceal(data)
    with pytest.raises(ImfError):
        verify_structure(io.BytesIO(data))
    assert time.process_time() - start < 10


def test_strict_readers_refuse_what_concealing_ones_cover() -> None:
    with pytest.raises(CorruptStreamError):
        list(StreamReader(io.BytesIO(HEAD + b"".join(PACKETS[1:]))))
    for number in range(len(PACKETS)):
        with pytest.raises(CorruptStreamError):
            list(StreamReader(io.BytesIO(HEAD + b"".join(PACKETS[:number] + PACKETS[number + 1 :]))))
