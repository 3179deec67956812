"""Small streams made by code, shared by the bitstream tests."""

import io
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import PacketKind, Quantisers, VideoPacket
from imfcodec.frames import AudioPacket, AudioTrack, VideoFormat

MODEL_ID = bytes(range(1, 9))


@pytest.fixture
def video_format() -> VideoFormat:
    return VideoFormat(256, 256, Fraction(30), Fraction(1, 15360))


@pytest.fixture
def audio_track() -> AudioTrack:
    return AudioTrack("opus", 48000, 1, Fraction(1, 48000), b"OpusHead")


@pytest.fixture
def mixed_header(video_format: VideoFormat, audio_track: AudioTrack) -> StreamHeader:
    return StreamHeader(video_format, MODEL_ID, audio_track)


def mixed_video(header: StreamHeader) -> list[VideoPacket]:
    """Two groups with every kind of video packet, usual and own quantisers, and tails."""
    first, second = Quantisers(50, 6, 60), Quantisers(55, 0, 70)
    plan = (
        (PacketKind.KEY, 1, first, False, b"first key frame"),
        (PacketKind.CHUNK, 5, first, True, b"usual quantisers"),
        (PacketKind.CHUNK, 32, Quantisers(51, 5, 61), True, b"own quantisers"),
        (PacketKind.DELAY_TOKEN, 1, first, False, b"usual token"),
        (PacketKind.DELAY_TOKEN, 1, replace(first, token=99), False, b"own token"),
        (PacketKind.KEY, 1, second, False, b"second key frame"),
        (PacketKind.DELAY_GOLDEN, 1, second, False, b"usual golden"),
        (PacketKind.DELAY_GOLDEN, 1, replace(second, golden=56), False, b"own golden"),
        (PacketKind.CHUNK, 3, replace(second, token=71), False, b"own tail"),
        (PacketKind.CHUNK, 1, second, False, b""),
    )
    packets, frame = [], 0
    for kind, count, quantisers, golden, payload in plan:
        key_qindex = 40 if kind is PacketKind.KEY else 0
        packets.append(VideoPacket(kind, count, header.pts_from(frame, count), payload, quantisers, golden, key_qindex))
        frame += count
    return packets


AUDIO = (
    [AudioPacket(-312 + 960 * index, 960, bytes((index,)) * 3) for index in range(4)],
    [AudioPacket(3528, 960, b"ab"), AudioPacket(4488, 480, b"z"), AudioPacket(5000, 960, b"xyz")],
)


@pytest.fixture
def mixed_items(mixed_header: StreamHeader) -> list[VideoPacket]:
    return mixed_video(mixed_header)


@pytest.fixture
def mixed_stream(mixed_header: StreamHeader, mixed_items: list[VideoPacket]) -> bytes:
    """A stream with two groups, audio before, within and after them."""
    sink = io.BytesIO()
    with StreamWriter(sink, mixed_header) as writer:
        writer.write_audio(AUDIO[0])
        for packet in mixed_items:
            writer.write_video(packet)
        writer.write_audio(AUDIO[1])
    return sink.getvalue()


@pytest.fixture
def audio_batches() -> tuple[list[AudioPacket], ...]:
    return AUDIO


@pytest.fixture
def write_stream() -> Callable[..., bytes]:
    """Write video packets (and nothing else) under a header."""

    def write(header: StreamHeader, packets: list[VideoPacket], last_duration: int | None = None) -> bytes:
        sink = io.BytesIO()
        with StreamWriter(sink, header) as writer:
            for packet in packets:
                writer.write_video(packet)
            writer.close(last_duration)
        return sink.getvalue()

    return write
