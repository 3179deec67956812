"""AAC packets that describe themselves, each with a head of 7 or 9 bytes, as in transport streams (ADTS)."""

from typing import NamedTuple

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext

_HEAD_BYTES, _CHECKED_HEAD_BYTES = 7, 9
_RATES = 13  # sampling rates that a head can name
_MPEG_HEAD_BYTES = 4
_LAYERS = {3: "mp1", 2: "mp2", 1: "mp3"}


class AdtsHead(NamedTuple):
    """What the head of a packet says.

    Attributes:
        size: bytes of the head.
        config: the AudioSpecificConfig that takes its place in other files, 2 bytes.
    """

    size: int
    config: bytes


def read_adts_head(packet: bytes) -> AdtsHead | None:
    """The head of an AAC packet; None where it has none, or one that a configuration cannot replace."""
    if len(packet) < _HEAD_BYTES or packet[0] != 0xFF or packet[1] & 0xF6 != 0xF0:
        return None
    size = _HEAD_BYTES if packet[1] & 1 else _CHECKED_HEAD_BYTES
    object_type, rate = (packet[2] >> 6) + 1, packet[2] >> 2 & 15
    channels = (packet[2] & 1) << 2 | packet[3] >> 6
    length, further_blocks = (packet[3] & 3) << 11 | packet[4] << 3 | packet[5] >> 5, packet[6] & 3
    if length != len(packet) or further_blocks or rate >= _RATES or channels == 0:
        return None
    return AdtsHead(size, (object_type << 11 | rate << 7 | channels << 3).to_bytes(2, "big"))


def mpeg_codec(packet: bytes) -> str | None:
    """Which codec of MPEG sound a packet says it is in, "aac", "mp1", "mp2" or "mp3"; None where it does not say."""
    if read_adts_head(packet):
        return "aac"
    if len(packet) < _MPEG_HEAD_BYTES or packet[0] != 0xFF or packet[1] & 0xE0 != 0xE0:
        return None
    return _LAYERS.get(packet[1] >> 1 & 3)


class AdtsStripper:
    """Takes the heads off AAC packets on their way into MP4, which describes them once.

    FFmpeg does so by itself for MP4 files, but not for their fragments. All other packets pass as they are.
    """

    def __init__(self, stream: AudioStream) -> None:
        is_aac = stream.codec_context.name == "aac"
        self._filter = BitStreamFilterContext("aac_adtstoasc", stream) if is_aac else None

    def __call__(self, packet: av.Packet) -> list[av.Packet]:
        """Return the packet as MP4 wants it."""
        return self._filter.filter(packet) if self._filter and read_adts_head(bytes(packet)) else [packet]
