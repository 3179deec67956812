"""Small streams made by code, shared by the bitstream tests."""

import io
from collections.abc import Callable
from fractions import Fraction

import pytest

from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import PacketKind, VideoPacket
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
    """Two groups with every kind of video packet, usual and own qualities, and a tail."""
    plan = (
        (PacketKind.KEY, 1, 40, 60, False, 50, b"first key frame"),
        (PacketKind.CHUNK, 5, 50, 60, True, 0, b"usual qualities"),
        (PacketKind.CHUNK, 64, 51, 61, True, 0, b"own qualities"),
        (PacketKind.DELAY_TOKEN, 1, 0, 60, False, 0, b"usual token"),
        (PacketKind.DELAY_TOKEN, 1, 0, 99, False, 0, b"own token"),
        (PacketKind.KEY, 1, 41, 70, False, 55, b"second key frame"),
        (PacketKind.DELAY_GOLDEN, 1, 55, 0, False, 0, b"usual golden"),
        (PacketKind.DELAY_GOLDEN, 1, 56, 0, False, 0, b"own golden"),
        (PacketKind.CHUNK, 1, 0, 70, False, 0, b""),
    )
    packets, frame = [], 0
    for kind, count, quality, token_quality, golden, golden_quality, payload in plan:
        pts = tuple(header.pts_at(frame + index) for index in range(count))
        packets.append(VideoPacket(kind, count, quality, token_quality, pts, payload, golden, golden_quality))
        frame += count
    return packets


AUDIO = (
    [AudioPacket(-312 + 960 * index, 960, bytes((index,)) * 3) for index in range(4)],
    [AudioPacket(3528, 960, b"ab"), AudioPacket(4488, 480, b""), AudioPacket(5000, 960, b"xyz")],
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

    def write(header: StreamHeader, packets: list[VideoPacket]) -> bytes:
        sink = io.BytesIO()
        with StreamWriter(sink, header) as writer:
            for packet in packets:
                writer.write_video(packet)
        return sink.getvalue()

    return write
