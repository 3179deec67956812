"""General video codecs on the same clips: coded bytes and decoded pictures."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from imfcodec.frames import Frame
from imfcodec.video.peercodecs import count_peer_bytes, decode_with_peer, encode_with_peer


@dataclass(frozen=True)
class PeerRun:
    """What a peer codec made of a clip.

    Attributes:
        byte_count: coded video without container.
        frames: decoded pictures in display order, as many as went in.
        encode_seconds, decode_seconds: wall time, one thread.
    """

    byte_count: int
    frames: tuple[Frame, ...]
    encode_seconds: float
    decode_seconds: float


def run_peer(name: str, frames: Sequence[Frame], frame_rate: Fraction, crf: int) -> PeerRun:
    """Encode and decode a clip with a general codec.

    Args:
        name: a key of `imfcodec.video.peercodecs.PEER_CODECS`.
        frames: pictures of one size, at least one.
        frame_rate: frames per second.
        crf: constant rate factor of that codec.
    Raises:
        UsageError: the codec is not available, `crf` is out of range or there are no frames.
    """
    start = time.perf_counter()
    packets = encode_with_peer(name, frames, frame_rate, crf)
    encoded = time.perf_counter()
    decoded = decode_with_peer(name, packets)
    end = time.perf_counter()
    return PeerRun(count_peer_bytes(name, packets), tuple(decoded), encoded - start, end - encoded)
