"""A clip coded and decoded in memory, for scripts that compare settings."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import VideoPacket
from imfcodec.codec.decoder import Decoder
from imfcodec.codec.encoder import Encoder
from imfcodec.codec.settings import EncoderSettings
from imfcodec.evaluation.quality import psnr
from imfcodec.frames import Frame, VideoFormat
from imfcodec.zoo import LoadedModel


@dataclass(frozen=True)
class RoundTrip:
    """A clip before and after.

    Attributes:
        video: format of the frames.
        frames: the originals.
        packets: what was made of them.
        decoded: what a decoder makes of those.
        encode_seconds: processor time.
    """

    video: VideoFormat
    frames: Sequence[Frame]
    packets: Sequence[VideoPacket]
    decoded: Sequence[Frame]
    encode_seconds: float

    @property
    def kbps(self) -> float:
        """Rate of the payloads alone, kilobits per second."""
        byte_count = sum(len(packet.payload) for packet in self.packets)
        return 8e-3 * byte_count * float(self.video.frame_rate) / len(self.frames)

    @cached_property
    def psnr_y(self) -> float:
        """Mean over the frames, dB."""
        return float(np.mean([psnr(a.y, b.y) for a, b in zip(self.frames, self.decoded, strict=True)]))


def round_trip(
    model: LoadedModel, frames: Sequence[Frame], video: VideoFormat, settings: EncoderSettings, **more: Any
) -> RoundTrip:
    """Encode and decode a clip.

    Args:
        frames: evenly spaced, at least one.
        video: their format.
        more: further arguments of `codec.encoder.Encoder`.
    """
    start = time.process_time()
    packets = list(Encoder(model, settings, **more).encode(iter(frames)))
    seconds = time.process_time() - start
    decoded = list(Decoder(model, StreamHeader(video, model.model_id)).decode(iter(packets)))
    return RoundTrip(video, frames, packets, decoded, seconds)
