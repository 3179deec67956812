"""General video codecs for comparison (H.264, H.265, VP9, AV1), through the encoders in PyAV's FFmpeg.

The settings serve a fair count of bytes: one key frame; one thread, since x264 cuts frames into slices for more; no
text of the encoder about itself. Packets hold coded video alone, no container; their length is the rate.

All of them encode in one pass at constant quality. PyAV does not pass on what a first pass finds out, so that VP9 does
without its second one.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
from av.video.codeccontext import VideoCodecContext

from imfcodec.errors import UsageError
from imfcodec.frames import Frame
from imfcodec.video.planes import from_picture, to_picture

_H264_START_CODE = re.compile(rb"\x00?\x00\x00\x01")
_H264_NAL_SEI = 6
_AV1_TEMPORAL_DELIMITER = b"\x12\x00"


@dataclass(frozen=True)
class PeerCodec:
    """One encoder with its settings.

    Attributes:
        encoder, decoder: FFmpeg codec names.
        options: encoder options other than the rate.
        max_crf: largest constant rate factor; the smallest is 0.
        trim: takes off what a packet holds besides coded video.
    """

    encoder: str
    decoder: str
    options: Mapping[str, str]
    max_crf: int
    trim: Callable[[bytes], bytes]


def h264_without_sei(packet: bytes) -> bytes:
    """An Annex B packet without its SEI NAL units: x264 writes 0.7 kB about itself into one."""
    codes = list(_H264_START_CODE.finditer(packet))
    ends = [code.start() for code in codes[1:]] + [len(packet)]
    units = zip(codes, ends, strict=True)
    return b"".join(packet[code.start() : end] for code, end in units if packet[code.end()] & 31 != _H264_NAL_SEI)


def av1_without_delimiter(packet: bytes) -> bytes:
    """A temporal unit without its temporal delimiter, which mp4 and mkv files leave out too."""
    return packet.removeprefix(_AV1_TEMPORAL_DELIMITER)


def _svt_av1(preset: int) -> PeerCodec:
    return PeerCodec(
        encoder="libsvtav1",
        decoder="libdav1d",
        options={"preset": str(preset), "svtav1-params": "keyint=-1:scd=0:lp=1"},
        max_crf=63,
        trim=av1_without_delimiter,
    )


PEER_CODECS: Mapping[str, PeerCodec] = {
    "x264": PeerCodec(
        encoder="libx264",
        decoder="h264",
        options={"preset": "veryslow", "x264-params": "keyint=infinite:scenecut=0"},
        max_crf=51,
        trim=h264_without_sei,
    ),
    "x265": PeerCodec(
        encoder="libx265",
        decoder="hevc",
        options={
            "preset": "slow",
            "x265-params": "info=0:keyint=-1:scenecut=0:pools=none:frame-threads=1:log-level=error",
        },
        max_crf=51,
        trim=bytes,
    ),
    "vp9": PeerCodec(
        encoder="libvpx-vp9",
        decoder="vp9",
        options={
            "deadline": "good",
            "cpu-used": "1",
            "b": "0",  # quality alone is held
            "g": "9999",
            "lag-in-frames": "25",
            "auto-alt-ref": "1",
        },
        max_crf=63,
        trim=bytes,
    ),
    "svt-av1-p4": _svt_av1(preset=4),
    "svt-av1-p2": _svt_av1(preset=2),
}


def available_peer_codecs() -> tuple[str, ...]:
    """Names in PEER_CODECS whose encoder and decoder this build of FFmpeg has."""
    return tuple(name for name, peer in PEER_CODECS.items() if {peer.encoder, peer.decoder} <= av.codecs_available)


def find_peer_codec(name: str) -> PeerCodec:
    """The codec of that name; UsageError when it is unknown or missing in this build of FFmpeg."""
    available = available_peer_codecs()
    if name not in available:
        raise UsageError(f"peer codec '{name}' is not available; choose from {', '.join(available)}")
    return PEER_CODECS[name]


def encode_with_peer(name: str, frames: Iterable[Frame], frame_rate: Fraction, crf: int) -> list[bytes]:
    """Encode pictures at constant rate with a general codec.

    Args:
        name: a key of PEER_CODECS.
        frames: pictures of one size, at least one; their time stamps are replaced by 0, 1, 2, ...
        frame_rate: frames per second.
        crf: constant rate factor, 0..max_crf; higher is smaller and worse.
    Returns:
        Coded packets in coding order, headers included, nothing else.
    Raises:
        UsageError: the codec is not available, `crf` is out of range, a side is odd or there are no frames.
    """
    peer = find_peer_codec(name)
    if not 0 <= crf <= peer.max_crf:
        raise UsageError(f"crf {crf} of {name} is outside 0 to {peer.max_crf}")
    encoder: VideoCodecContext | None = None
    packets: list[bytes] = []
    for index, frame in enumerate(frames):
        if encoder is None:
            encoder = _open_encoder(peer, frame, frame_rate, crf)
        packets += map(bytes, encoder.encode(to_picture(frame, index)))
    if encoder is None:
        raise UsageError(f"no frames to encode with {name}")
    packets += map(bytes, encoder.encode(None))
    return [peer.trim(packet) for packet in packets]


def decode_with_peer(name: str, packets: Iterable[bytes]) -> list[Frame]:
    """Decode what `encode_with_peer` returned: 8-bit 4:2:0 pictures in display order, pts 0, 1, 2, ..."""
    decoder = _create_context(find_peer_codec(name).decoder, "r")
    pictures = [picture for packet in packets for picture in decoder.decode(av.Packet(packet))]
    pictures += decoder.decode(None)
    return [from_picture(picture, index) for index, picture in enumerate(pictures)]


def _open_encoder(peer: PeerCodec, frame: Frame, frame_rate: Fraction, crf: int) -> VideoCodecContext:
    height, width = frame.y.shape
    if height % 2 or width % 2:
        raise UsageError(f"{peer.encoder} takes even sizes only, not {width}x{height}; crop the video first")
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings on stderr otherwise
    encoder = _create_context(peer.encoder, "w")
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = "yuv420p"
    encoder.framerate = frame_rate
    encoder.time_base = 1 / frame_rate
    encoder.options = {**peer.options, "crf": str(crf)}
    return encoder


def _create_context(codec: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    context = av.CodecContext.create(codec, mode)
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    return context
