"""Packets: what stands between the header and the end of a stream, and how each body is written and read."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from enum import IntEnum
from itertools import product

from imfcodec.bitstream.bits import (
    CHECKSUM_BYTES,
    CRC_START,
    MAX_TIME_STAMP,
    ByteCursor,
    ByteSource,
    check_time_stamp,
    crc16,
    crc16_after_zeros,
    encode_varint,
    encode_zigzag,
)
from imfcodec.bitstream.header import StreamHeader
from imfcodec.errors import CorruptStreamError, LimitError, UsageError
from imfcodec.frames import AudioPacket

MAX_BODY_BYTES = 1 << 26
MAX_CHUNK_FRAMES = 32
MAX_FRAMES = (1 << 32) - 1
MAX_AUDIO_BATCH = 1024
MAX_AUDIO_DURATION = 1 << 40

# Added to the kind's number, or, in a CHUNK, to the number of its frames less one.
_CHUNK_TAIL, _CHUNK_GOLDEN, _EXPLICIT = 0x40, 0x80, 0x20
_IRREGULAR, _EQUAL_SIZES = 0x01, 0x02
_KEY_SETTINGS_BYTES = 4
_PLACE_BYTES = 4

FARTHEST_PLACE = 256
"""Frames by which a packet may be away from its place and still be known for what it is. Of damaged packets one in
65536 / (2 * 256 + 1) is taken for such, so that one should not be believed without what follows it."""


class PacketKind(IntEnum):
    """What a packet holds; the numbers are those of the format."""

    KEY = 1
    CHUNK = 2
    DELAY_GOLDEN = 3
    DELAY_TOKEN = 4
    AUDIO = 5
    INDEX = 6
    END = 7


DELAY_KINDS = (PacketKind.DELAY_GOLDEN, PacketKind.DELAY_TOKEN)
PLACED_KINDS = (PacketKind.CHUNK, *DELAY_KINDS)
"""Those that say no frame number; instead their checksum holds at one place only."""
VIDEO_KINDS = (PacketKind.KEY, *PLACED_KINDS)


@dataclass(frozen=True)
class Quantisers:
    """Quantiser indices (qindex), 0..255 each; higher is finer.

    Attributes:
        golden: qindex of golden frames at the end of a chunk.
        deeper: what is taken off it for each level of golden frames within a chunk.
        token: qindex of token frames.
    """

    golden: int
    deeper: int
    token: int


@dataclass(frozen=True)
class VideoPacket:
    """One or more coded frames, in display order right after the frames of the video packet before.

    Attributes:
        kind: KEY (one key frame, opens a group), CHUNK (`frame_count` frames, the last of them golden if `golden`),
            DELAY_GOLDEN or DELAY_TOKEN (one frame with past references only).
        frame_count: 1..32 for CHUNK, 1 otherwise.
        pts: time stamps of the frames, ticks of the format's time base, strictly increasing.
        payload: entropy-coded body.
        quantisers: on a KEY the usual ones of its group, otherwise those in force. Packets do not spend bytes on usual
            ones. What a packet has no frames for is not written; reading gives the usual value for it.
        golden: CHUNK only: whether the last frame is a golden frame.
        key_qindex: KEY only: quantiser index 0..255 of the key frame.
    """

    kind: PacketKind
    frame_count: int
    pts: tuple[int, ...]
    payload: bytes
    quantisers: Quantisers
    golden: bool = False
    key_qindex: int = 0


@dataclass(frozen=True)
class AudioBatch:
    """Consecutive audio packets, carried together."""

    packets: tuple[AudioPacket, ...]


@dataclass(frozen=True)
class LostPacket:
    """A stretch of the stream that could not be used; only a concealing reader gives these.

    Attributes:
        kind: kind of the packet as its damaged head claims, None if unknown.
        frame_count: number of frames lost, None if unknown (a later LostPacket may account for them).
        reason: one line for a person.
        pts: nominal time stamps of the lost frames; empty if their number is unknown.
    """

    kind: PacketKind | None
    frame_count: int | None
    reason: str
    pts: tuple[int, ...] = ()


@dataclass(frozen=True)
class PacketHead:
    """The meaning of a packet's first byte.

    Attributes:
        kind: the packet's kind.
        frame_count: frames in the packet; 0 for AUDIO, INDEX and END.
        golden: CHUNK only: the last frame is golden.
        explicit: the body starts with the packet's own quantisers; otherwise the group's usual ones are in force.
    """

    kind: PacketKind
    frame_count: int = 0
    golden: bool = False
    explicit: bool = False

    def to_byte(self) -> int:
        """The first byte of the packet."""
        number = int(self.kind)
        if self.kind is PacketKind.CHUNK:
            number = (_CHUNK_GOLDEN if self.golden else _CHUNK_TAIL) + self.frame_count - 1
        return number + (_EXPLICIT if self.explicit else 0)

    @staticmethod
    def from_byte(byte: int) -> "PacketHead":
        """Read the first byte of a packet; CorruptStreamError for a value the format does not use."""
        if byte not in _HEADS:
            raise CorruptStreamError(f"unknown packet type 0x{byte:02x}")
        return _HEADS[byte]


def is_first_byte(byte: int) -> bool:
    """Whether packets may begin with `byte`."""
    return byte in _HEADS


def _all_heads() -> Iterator[PacketHead]:
    for kind in PacketKind:
        if kind is not PacketKind.CHUNK:
            yield PacketHead(kind, int(kind in VIDEO_KINDS))
    for explicit in (False, True):
        for count, golden in product(range(1, MAX_CHUNK_FRAMES + 1), (False, True)):
            yield PacketHead(PacketKind.CHUNK, count, golden, explicit)
    for kind in DELAY_KINDS:
        yield PacketHead(kind, 1, explicit=True)


_HEADS = {head.to_byte(): head for head in _all_heads()}


@dataclass(frozen=True)
class RawPacket:
    """A packet whose checksum matches: head, body, size in the stream in bytes, and its place if it has one.

    `place` is the number of frames before it, for which its checksum holds; None for kinds other than PLACED_KINDS.
    """

    head: PacketHead
    body: bytes
    size: int
    place: int | None


def frame_packet(head: PacketHead, body: bytes, place: int = 0) -> bytes:
    """Put first byte, length and checksum around a body; LimitError above MAX_BODY_BYTES.

    Args:
        place: number of frames before the packet; counts for PLACED_KINDS.
    """
    if len(body) > MAX_BODY_BYTES:
        raise LimitError(f"a packet of {len(body)} bytes is above the limit of {MAX_BODY_BYTES}; use shorter chunks")
    data = bytes((head.to_byte(),)) + encode_varint(len(body)) + body
    return add_checksum(data, place)


def add_checksum(data: bytes, place: int) -> bytes:
    """A packet's bytes and their checksum, which for PLACED_KINDS goes over the number of frames before it first."""
    head = _HEADS.get(data[0])
    is_placed = head is not None and head.kind in PLACED_KINDS
    register = crc16(place.to_bytes(_PLACE_BYTES, "big")) if is_placed else CRC_START
    return data + crc16(data, register).to_bytes(CHECKSUM_BYTES, "big")


def count_frames(byte: int) -> int:
    """Frames of a packet with that first byte; 0 for one that the format does not use."""
    return _HEADS[byte].frame_count if byte in _HEADS else 0


def peek_head(source: ByteSource, start: int = 0) -> tuple[PacketHead, int, int]:
    """Head, start of the body and end of the packet that begins `start` bytes ahead, before any check of its body."""
    head = PacketHead.from_byte(source.peek(start, start + 1)[0])
    length, body_start = source.peek_varint(start + 1)
    if length > MAX_BODY_BYTES:
        raise LimitError(f"a packet of {length} bytes is above the limit of {MAX_BODY_BYTES}")
    return head, body_start, body_start + length + CHECKSUM_BYTES


def find_packet(source: ByteSource, near: int, start: int = 0) -> RawPacket:
    """The packet that begins `start` bytes ahead, in whatever place near `near` its checksum matches.

    A checksum is linear: the register it started from is found backwards, and with it the number of frames before the
    packet, in constant time.

    Raises:
        CorruptStreamError: it matches in none.
    """
    head, body_start, end = peek_head(source, start)
    last = end - CHECKSUM_BYTES
    stated = int.from_bytes(source.peek(last, end), "big")
    register = crc16_after_zeros(stated ^ source.checksum(start, last, 0), start - last)
    place = _place_of(register, near) if head.kind in PLACED_KINDS else None
    if place is None and (head.kind in PLACED_KINDS or register != CRC_START):
        raise CorruptStreamError("checksum mismatch; fetch the file again, or decode with concealment")
    return RawPacket(head, source.peek(body_start, last), end - start, place)


def _place_of(register: int, near: int) -> int | None:
    """The number whose four bytes leave that CRC-16 register, if there is one within FARTHEST_PLACE of `near`."""
    nearby = range(max(0, near - FARTHEST_PLACE), min(MAX_FRAMES, near + FARTHEST_PLACE) + 1)
    for high in {nearby[0] >> 16, nearby[-1] >> 16}:
        number = high << 16 | crc16_after_zeros(register, -2) ^ crc16(high.to_bytes(2, "big"))
        if number in nearby:
            return number
    return None


def peek_packet(source: ByteSource, place: int = 0) -> RawPacket:
    """The packet ahead, with `place` frames before it; CorruptStreamError when its checksum does not match."""
    raw = find_packet(source, place)
    if raw.place not in (None, place):
        raise CorruptStreamError(
            f"frame {raw.place} follows {place} frames: packets are missing, doubled or out of order; "
            "fetch the file again"
        )
    return raw


class VideoState:
    """What both ends of a stream remember from one video packet to the next.

    Attributes:
        frame: number of the next frame in display order.
        last_pts: time stamp of the frame before it, from which the next one is predicted.
        floor_pts: what the next time stamp must exceed; None at the start and where reading goes on anew.
        usual: quantisers usual in the open group; None while no key frame is in force.
    """

    def __init__(self, header: StreamHeader) -> None:
        self.header = header
        self.frame = 0
        self.last_pts = header.first_pts - header.nominal_ticks
        self.floor_pts: int | None = None
        self.usual: Quantisers | None = None

    def nominal_pts(self, count: int) -> tuple[int, ...]:
        """Time stamps the next `count` frames have in a stream of constant rate."""
        if not self.header.variable_rate:
            return self.header.pts_from(self.frame, count)
        return tuple(self.last_pts + (index + 1) * self.header.nominal_ticks for index in range(count))

    def spread_pts(self, count: int, until: int | None) -> tuple[int, ...]:
        """Time stamps for `count` missing frames, in even steps up to one at `until` where that is known and fits."""
        room = 0 if until is None else until - self.last_pts
        if room <= count:
            return self.nominal_pts(count)
        return tuple(self.last_pts + room * (index + 1) // (count + 1) for index in range(count))

    def holds(self, pts: tuple[int, ...]) -> bool:
        """Whether a stream may go on with frames at these time stamps."""
        return not pts or (self.frame + len(pts) <= MAX_FRAMES and abs(pts[-1]) <= MAX_TIME_STAMP)

    def advance(self, pts: tuple[int, ...]) -> None:
        """Move on past frames with these time stamps."""
        if not pts:
            return
        if self.frame + len(pts) > MAX_FRAMES:
            raise LimitError(f"a stream holds at most {MAX_FRAMES} frames; split the video")
        self.last_pts = self.floor_pts = check_time_stamp(pts[-1])
        self.frame += len(pts)

    def resume(self, frame: int) -> None:
        """Go on at key frame number `frame`, whatever came before."""
        self.frame = frame
        self.floor_pts = self.usual = None

    def increases(self, pts: tuple[int, ...]) -> bool:
        """Whether time stamps increase strictly, the one before them included."""
        earlier = pts[:-1] if self.floor_pts is None else (self.floor_pts, *pts[:-1])
        return all(early < late for early, late in zip(earlier, pts[len(pts) - len(earlier) :], strict=True))


def encode_video(packet: VideoPacket, state: VideoState) -> bytes:
    """Write a video packet and advance `state`.

    Raises:
        UsageError: a field is out of range, a time stamp does not fit, or no key frame came before.
        LimitError: the payload, a time stamp or the number of frames is above the limits.
    """
    _check_packet(packet, state)
    if packet.kind is PacketKind.KEY:
        head = PacketHead(PacketKind.KEY, 1)
        settings = bytes((packet.key_qindex, *astuple(packet.quantisers))) + encode_varint(state.frame)
    else:
        golden = packet.golden and packet.kind is PacketKind.CHUNK
        names = _own_names(packet.kind, golden)
        explicit = any(getattr(packet.quantisers, name) != getattr(state.usual, name) for name in names)
        head = PacketHead(packet.kind, packet.frame_count, golden, explicit)
        settings = bytes(getattr(packet.quantisers, name) for name in names) if explicit else b""
    data = frame_packet(head, settings + _encode_times(packet, state) + packet.payload, state.frame)
    state.advance(packet.pts)
    if packet.kind is PacketKind.KEY:
        state.usual = packet.quantisers
    return data


def read_key_place(raw: RawPacket, header: StreamHeader) -> tuple[int, int | None]:
    """Number of the key frame in a KEY packet, and its time stamp if the packet has a readable one.

    Raises:
        CorruptStreamError, LimitError: the number cannot be read or is above the limit.
    """
    cursor = ByteCursor(raw.body)
    cursor.take(_KEY_SETTINGS_BYTES)
    if (number := cursor.varint()) >= MAX_FRAMES:
        raise LimitError(f"key frame number {number} is above the limit of {MAX_FRAMES} frames")
    try:
        return number, check_time_stamp(header.first_pts + cursor.zigzag()) if header.variable_rate else None
    except (CorruptStreamError, LimitError):
        return number, None


def decode_video(raw: RawPacket, state: VideoState) -> VideoPacket:
    """Read a video packet and advance `state`; CorruptStreamError when it breaks the format."""
    head, cursor = raw.head, ByteCursor(raw.body)
    key_qindex = 0
    if head.kind is PacketKind.KEY:
        key_qindex, *usual = cursor.take(_KEY_SETTINGS_BYTES)
        quantisers = Quantisers(*usual)
        if (number := cursor.varint()) != state.frame:
            raise CorruptStreamError(f"key frame number {number} follows {state.frame} frames")
    elif state.usual is None:
        raise CorruptStreamError("a frame comes before the first key frame")
    else:
        quantisers = _read_quantisers(head, cursor, state.usual)
    pts = _decode_times(head, cursor, state)
    state.advance(pts)
    if head.kind is PacketKind.KEY:
        state.usual = quantisers
    return VideoPacket(head.kind, head.frame_count, pts, cursor.rest(), quantisers, head.golden, key_qindex)


def encode_audio(packets: Sequence[AudioPacket]) -> bytes:
    """Write one AUDIO packet with 1..1024 audio packets; UsageError or LimitError for values out of range."""
    for packet in packets:
        if not packet.data:
            raise UsageError("an audio packet is empty; leave it out")
        if not 0 <= packet.duration <= MAX_AUDIO_DURATION:
            raise UsageError(f"audio packet duration {packet.duration} is outside 0..{MAX_AUDIO_DURATION} ticks")
        check_time_stamp(packet.pts)
    sizes = [len(packet.data) for packet in packets]
    equal = len(set(sizes)) == 1
    regular = _is_regular(packets)
    body = bytes(((0 if regular else _IRREGULAR) | (_EQUAL_SIZES if equal else 0),)) + encode_varint(len(packets))
    end = 0
    for packet in packets[:1] if regular else packets:
        body += encode_zigzag(packet.pts - end) + encode_varint(packet.duration)
        end = packet.pts + packet.duration
    body += b"".join(encode_varint(size) for size in (sizes[:1] if equal else sizes))
    return frame_packet(PacketHead(PacketKind.AUDIO), body + b"".join(packet.data for packet in packets))


def decode_audio(body: bytes) -> AudioBatch:
    """Read the body of an AUDIO packet; CorruptStreamError or LimitError when it breaks the format."""
    cursor = ByteCursor(body)
    if (flags := cursor.u8()) & ~(_IRREGULAR | _EQUAL_SIZES):
        raise CorruptStreamError(f"audio packet has unknown flags 0x{flags:02x}")
    count = cursor.varint()
    if not 1 <= count <= MAX_AUDIO_BATCH:
        raise LimitError(f"audio packet holds {count} packets; allowed is 1..{MAX_AUDIO_BATCH}")
    if count > cursor.remaining:
        raise CorruptStreamError(f"audio packet names {count} packets but holds {cursor.remaining} bytes")
    times = _read_audio_times(cursor, count, regular=not flags & _IRREGULAR)
    sizes = [cursor.varint()] * count if flags & _EQUAL_SIZES else [cursor.varint() for _ in range(count)]
    if 0 in sizes:
        raise CorruptStreamError("an audio packet is empty")
    if sum(sizes) != cursor.remaining:
        raise CorruptStreamError(f"audio packet names {sum(sizes)} bytes of data but holds {cursor.remaining}")
    return AudioBatch(
        tuple(AudioPacket(pts, duration, cursor.take(size)) for (pts, duration), size in zip(times, sizes, strict=True))
    )


def _check_packet(packet: VideoPacket, state: VideoState) -> None:
    limit = MAX_CHUNK_FRAMES if packet.kind is PacketKind.CHUNK else 1
    if packet.kind not in VIDEO_KINDS or not 1 <= packet.frame_count <= limit:
        raise UsageError(f"a {packet.kind.name} packet cannot hold {packet.frame_count} video frames (1..{limit})")
    if len(packet.pts) != packet.frame_count:
        raise UsageError(f"packet has {len(packet.pts)} time stamps for {packet.frame_count} frames")
    for name, value in (asdict(packet.quantisers) | {"key_qindex": packet.key_qindex}).items():
        if not 0 <= value <= 255:
            raise UsageError(f"packet field {name} is {value}; allowed is 0..255")
    if packet.kind is not PacketKind.KEY and state.usual is None:
        raise UsageError("the first video packet must be a KEY packet")
    _check_times(packet.pts, state)


def _check_times(pts: tuple[int, ...], state: VideoState) -> None:
    for value in pts:
        check_time_stamp(value)
    if not state.header.variable_rate and pts != (expected := state.nominal_pts(len(pts))):
        raise UsageError(
            f"frame {state.frame} has time stamps {pts[0]}.., a constant-rate stream needs {expected[0]}..; "
            "write a variable-rate stream"
        )
    if not state.increases(pts):
        raise UsageError(f"time stamps from frame {state.frame} on do not increase")


def _own_names(kind: PacketKind, golden: bool) -> tuple[str, ...]:
    """Which quantisers a packet that is not a KEY has frames for, in the order of its explicit form."""
    if kind is PacketKind.DELAY_GOLDEN:
        return ("golden",)
    return ("golden", "deeper", "token") if golden else ("token",)


def _read_quantisers(head: PacketHead, cursor: ByteCursor, usual: Quantisers) -> Quantisers:
    """Quantisers in force in a packet that is not a KEY."""
    if not head.explicit:
        return usual
    own = replace(usual, **{name: cursor.u8() for name in _own_names(head.kind, head.golden)})
    if own == usual:
        raise CorruptStreamError("a packet spells out the usual quantisers")
    return own


def _encode_times(packet: VideoPacket, state: VideoState) -> bytes:
    if not state.header.variable_rate:
        return b""
    # A key frame's time stamp stands on its own, so that reading can start or go on there.
    if packet.kind is PacketKind.KEY:
        return encode_zigzag(packet.pts[0] - state.header.first_pts)
    steps = (late - early for early, late in zip((state.last_pts, *packet.pts), packet.pts, strict=False))
    return b"".join(encode_zigzag(step - state.header.nominal_ticks) for step in steps)


def _decode_times(head: PacketHead, cursor: ByteCursor, state: VideoState) -> tuple[int, ...]:
    if not state.header.variable_rate:
        return state.nominal_pts(head.frame_count)
    if head.kind is PacketKind.KEY:
        pts = [state.header.first_pts + cursor.zigzag()]
    else:
        pts = []
        for _ in range(head.frame_count):
            pts.append((pts or [state.last_pts])[-1] + state.header.nominal_ticks + cursor.zigzag())
    if not state.increases(tuple(pts)):
        raise CorruptStreamError(f"time stamps from frame {state.frame} on do not increase")
    return tuple(check_time_stamp(value) for value in pts)


def _is_regular(packets: Sequence[AudioPacket]) -> bool:
    """Whether all durations are equal and each packet starts where the one before ends."""
    first = packets[0]
    return all(
        packet.duration == first.duration and packet.pts == first.pts + index * first.duration
        for index, packet in enumerate(packets)
    )


def _read_audio_times(cursor: ByteCursor, count: int, regular: bool) -> list[tuple[int, int]]:
    """(pts, duration) of each packet of a batch."""
    times: list[tuple[int, int]] = []
    end = 0
    for index in range(count):
        if index == 0 or not regular:
            gap, duration = cursor.zigzag(), cursor.varint()
        else:
            gap = 0
        if duration > MAX_AUDIO_DURATION:
            raise LimitError(f"audio packet duration {duration} is above {MAX_AUDIO_DURATION} ticks")
        times.append((check_time_stamp(end + gap), duration))
        end += gap + duration
    return times
