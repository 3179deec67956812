"""Writing and reading whole .imf streams, on files and on pipes (SPEC.md, "Stream")."""

import hashlib
import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from imfcodec.bitstream.bits import (
    CHECKSUM_BYTES,
    HASH_BYTES,
    MAX_TIME_STAMP,
    ByteCursor,
    ByteSource,
    encode_varint,
)
from imfcodec.bitstream.header import StreamHeader, read_header
from imfcodec.bitstream.packet import (
    MAX_AUDIO_BATCH,
    MAX_FRAMES,
    VIDEO_KINDS,
    AudioBatch,
    LostPacket,
    PacketHead,
    PacketKind,
    RawPacket,
    VideoPacket,
    VideoState,
    decode_audio,
    decode_video,
    encode_audio,
    encode_video,
    find_packet,
    frame_packet,
    is_first_byte,
    peek_head,
    peek_packet,
    read_key_place,
)
from imfcodec.errors import CorruptStreamError, ImfError, LimitError, TruncatedStreamError, UsageError
from imfcodec.frames import AudioPacket

MAX_AUDIO_BATCH_BYTES = 1 << 22
MAX_END_BYTES = 64
# Missing frames are accounted for in pieces of so many. All in all a stream may miss as many, or one a byte.
MAX_GAP_FRAMES = 4096
_FARTHEST_LOOK = 8  # packets in a row that are looked past
_HASH_TAIL_BYTES = HASH_BYTES + CHECKSUM_BYTES

_FAULTS = (CorruptStreamError, LimitError)

Item = VideoPacket | AudioBatch | LostPacket


@dataclass(frozen=True)
class IndexEntry:
    """Where a group starts: byte offset of its KEY packet from the start of the stream, number of its first frame."""

    offset: int
    first_frame: int


@dataclass(frozen=True)
class PacketInfo:
    """One line of a packet listing: kind, byte offset, size in bytes, number of frames, quantiser index if it has one.

    For packets with a key or golden frame `qindex` is that frame's, for others the token frames'.
    """

    kind: PacketKind
    offset: int
    size: int
    frames: int
    qindex: int | None


@dataclass(frozen=True)
class StreamSummary:
    """What a whole, valid stream holds.

    Attributes:
        header: the stream's header.
        size_bytes: bytes of the stream.
        total_frames: number of video frames.
        key_frames: number of key frames.
        audio_packets: number of audio packets (not batches).
        last_duration: how long the last frame is shown, in ticks; 0 where there are no frames.
        duration_seconds: from the first frame's start to the last frame's end.
        packets: number of packets by kind name.
        bytes_by_kind: bytes of payload "keys", "tokens" and "audio"; all the rest is "container".
        stream_hash: whole-stream hash, 16 hexadecimal digits.
    """

    header: StreamHeader
    size_bytes: int
    total_frames: int
    key_frames: int
    audio_packets: int
    last_duration: int
    duration_seconds: float
    packets: dict[str, int]
    bytes_by_kind: dict[str, int]
    stream_hash: str


class _End(NamedTuple):
    """The END packet: frames, ticks the last of them is shown, bytes of the INDEX packet (0 if none), stream hash."""

    total_frames: int
    last_duration: int
    index_size: int
    stream_hash: bytes


class _KeyIndex:
    """Body of the INDEX packet as it grows: offset and frame number of each key frame after the first, as steps."""

    def __init__(self) -> None:
        self.body = bytearray()
        self._last: IndexEntry | None = None

    def add(self, offset: int, first_frame: int) -> None:
        if self._last is None:
            self._last = IndexEntry(0, 0)
            return
        self.body += encode_varint(offset - self._last.offset) + encode_varint(first_frame - self._last.first_frame)
        self._last = IndexEntry(offset, first_frame)


class _ByteCount:
    """Bytes of a stream by what they carry."""

    def __init__(self) -> None:
        self.by_kind = dict.fromkeys(("keys", "tokens", "audio", "container"), 0)

    def add(self, size: int, item: Item | None = None) -> None:
        payload = 0
        if isinstance(item, VideoPacket):
            payload = len(item.payload)
            self.by_kind["keys" if item.kind is PacketKind.KEY else "tokens"] += payload
        elif isinstance(item, AudioBatch):
            payload = sum(len(packet.data) for packet in item.packets)
            self.by_kind["audio"] += payload
        self.by_kind["container"] += size - payload


class StreamWriter:
    """Writes a stream front to back; the sink may be a pipe. Use as a context manager or call `close()`.

    Leaving the context through an exception writes no END packet, so that the stream reads as truncated.

    Args:
        sink: blocking binary stream; stays open after `close()`.
        header: written at once.
    Raises:
        UsageError, LimitError: a header field is out of range; nothing is written then.
    """

    def __init__(self, sink: BinaryIO, header: StreamHeader) -> None:
        self._sink = sink
        self._header = header
        self._state = VideoState(header)
        self._index = _KeyIndex()
        self._bytes = _ByteCount()
        self._digest = hashlib.sha256()
        self._size = 0
        self._closed = False
        self._write(header.to_bytes())

    def __enter__(self) -> "StreamWriter":
        return self

    def __exit__(self, error_type: type[BaseException] | None, *unused: object) -> None:
        if error_type is None:
            self.close()

    @property
    def bytes_by_kind(self) -> dict[str, int]:
        """Bytes written so far: payload of "keys", "tokens" and "audio", everything else as "container"."""
        return dict(self._bytes.by_kind)

    @property
    def total_frames(self) -> int:
        """Video frames written so far."""
        return self._state.frame

    def write_video(self, packet: VideoPacket) -> None:
        """Write one video packet; UsageError or LimitError, and nothing written, when a field is out of range."""
        offset, frame = self._size, self._state.frame
        data = encode_video(packet, self._state)
        if packet.kind is PacketKind.KEY:
            self._index.add(offset, frame)
        self._write(data, packet)

    def write_audio(self, packets: Sequence[AudioPacket]) -> None:
        """Write audio packets in as few container packets as the limits allow; those without data are left out."""
        if self._header.audio is None:
            raise UsageError("the stream has no audio track; give the header an AudioTrack")
        for batch in _split_audio([packet for packet in packets if packet.data]):
            self._write(encode_audio(batch), AudioBatch(tuple(batch)))

    def close(self, last_duration: int | None = None) -> None:
        """Write the INDEX (if there are several key frames) and END packets. A second call does nothing.

        Args:
            last_duration: how long the last frame is shown, 1 to 2^60 ticks; None is the nominal step.
        """
        if self._closed:
            return
        duration = self._code_duration(last_duration)
        index = frame_packet(PacketHead(PacketKind.INDEX), bytes(self._index.body)) if self._index.body else b""
        self._write(index)
        counts = encode_varint(self._state.frame) + duration + (encode_varint(len(index)) if index else b"")
        self._write(frame_packet(PacketHead(PacketKind.END), counts + self._hash_before(counts)))
        self._closed = True

    def _code_duration(self, ticks: int | None) -> bytes:
        if ticks in (None, self._header.nominal_ticks):
            return encode_varint(0)
        if not self._state.frame or not 1 <= ticks <= MAX_TIME_STAMP:
            raise UsageError(f"a last duration of {ticks} ticks after {self._state.frame} frames; allowed is 1..2^60")
        return encode_varint(ticks)

    def _hash_before(self, counts: bytes) -> bytes:
        """Whole-stream hash: of all bytes before it, the first ones of the END packet included."""
        digest = self._digest.copy()
        digest.update(frame_packet(PacketHead(PacketKind.END), counts + bytes(HASH_BYTES))[:-_HASH_TAIL_BYTES])
        return digest.digest()[:HASH_BYTES]

    def _write(self, data: bytes, item: VideoPacket | AudioBatch | None = None) -> None:
        if self._closed:
            raise UsageError("the stream is closed; open a new StreamWriter")
        view = memoryview(data)
        while view:
            written = self._sink.write(view)
            if written is None:
                raise UsageError("the sink does not block until it can write; give a blocking binary stream")
            view = view[written:]
        self._sink.flush()
        self._digest.update(data)
        self._size += len(data)
        self._bytes.add(len(data), item)


class Record(NamedTuple):
    """A packet and its place in the stream; `item` is None for INDEX and END, a LostPacket where a packet is lost."""

    kind: PacketKind | None
    offset: int
    size: int
    item: Item | None


class _FramePlan:
    """Where groups begin and end, as far as the end of a file tells beforehand; a damaged stream is fitted into it.

    Args:
        bounds: numbers of the key frames and, last, of all frames, ascending; empty where nothing is known.
    """

    def __init__(self, bounds: Sequence[int]) -> None:
        self._bounds = bounds
        self._keys = frozenset(bounds[:-1])
        self._group = -1

    def admits(self, frame: int) -> bool:
        """Whether key frame number `frame` may come now: not one beyond the end, nor of a group known to be over."""
        if len(self._keys) > 1:  # the index was there, and names all of them
            return frame in self._keys and frame >= self._group
        return not self._bounds or frame < self._bounds[-1]

    def open_group(self, frame: int) -> None:
        """Say that key frame number `frame` is at hand."""
        self._group = frame

    def enter(self, frame: int) -> bool:
        """Say that frame `frame`, no key frame, is at hand; whether that is in another group than the open one."""
        keys = self._bounds[:-1]
        group = keys[bisect_left(keys, frame) - 1] if keys and frame else self._group
        is_other = group > self._group
        self._group = max(group, self._group)
        return is_other

    def learn_total(self, frames: int) -> None:
        """Take the number of frames from elsewhere where nothing else is known."""
        self._bounds = self._bounds or (frames,)

    def is_open_at(self, frame: int) -> bool:
        """Whether `frame` is the open group's key frame."""
        return frame == self._group

    @property
    def limit(self) -> int:
        """First frame number that the open group does not reach."""
        position = bisect_right(self._bounds, self._group)
        return self._bounds[position] if position < len(self._bounds) else MAX_FRAMES

    def next_group(self, frame: int) -> int | None:
        """Number of the next key frame, `frame` where that is not known; None where no more can come."""
        if self._bounds and self.limit < self._bounds[-1]:
            return self.limit
        return frame if frame < self.limit else None


class StreamReader:
    """Reads a stream front to back; the source may be a pipe. Iterate once.

    Iteration gives `VideoPacket` and `AudioBatch` in the order of the file and ends after the END packet. Strict
    reading raises at the first fault; every fault is found at the latest at the END packet or at bytes behind it.

    With `conceal=True` a damaged stretch gives a `LostPacket` instead. Reading goes on behind the packet's length
    field if a sound packet begins there, otherwise at the next place where one does. Frames whose number was unknown
    are accounted for by further `LostPacket`s as soon as a packet tells its place, at the latest before the next key
    frame or the end: all frame numbers of the stream occur. Some may occur again where a damaged head claims too many
    frames: then the next key frame steps back, and its number is right. What comes again or too late is passed over. A
    file that can seek is asked for its end first; frames beyond what it tells are never given. After a loss the time
    stamps of a variable rate are guesses until the next key frame.

    Args:
        source: binary stream at the start of a header; stays open.
        conceal: go on after damaged packets. A damaged header is always an error.

    Attributes:
        header: the stream's header.
        start: where the header ends, and the first group begins.
        total_frames: number of frames as the END packet states it; None before.
        last_duration: ticks the last frame is shown, as the END packet states it; None before.
        stream_hash: the END packet's 8-byte whole-stream hash; None before.

    Raises (while constructing and while iterating):
        TruncatedStreamError: the stream ends before its END packet.
        CorruptStreamError: a checksum, field or order breaks the format, or bytes follow the END packet.
        LimitError: a size, count or length is above the limits; raised before anything of that size is read.
    """

    def __init__(self, source: BinaryIO, *, conceal: bool = False) -> None:
        self._raw_source = source
        self._plan = _FramePlan(_frame_bounds(source) if conceal else ())
        self._source = ByteSource(source)
        self._conceal = conceal
        try:
            self.header = read_header(self._source)
        except _FAULTS as error:
            raise type(error)(f"{self._source.name}: {error}") from error
        self.start = IndexEntry(self._source.offset, 0)
        self._state = VideoState(self.header)
        self._index = _KeyIndex()
        self._index_size = 0
        self._from_start = True
        self._has_loss = False
        self._is_over = False
        self._early_end: _End | None = None
        self._frames_made_up = 0
        self.total_frames: int | None = None
        self.last_duration: int | None = None
        self.stream_hash: bytes | None = None

    def __iter__(self) -> Iterator[Item]:
        """Packets with video or sound, and what is lost."""
        return (record.item for record in self.records() if record.item is not None)

    def seek(self, entry: IndexEntry) -> None:
        """Go on at a key frame of a seekable source that starts with the header (see `read_index`); also after the end.

        The index and the whole-stream hash are not checked afterwards.
        """
        self._raw_source.seek(entry.offset)
        self._source = ByteSource(self._raw_source, entry.offset)
        self._state.resume(entry.first_frame)
        self._plan.open_group(entry.first_frame - 1)
        self._index_size = 0
        self._from_start = self._is_over = False

    def records(self) -> Iterator[Record]:
        """Every packet with its place in the stream."""
        while not self._is_over:
            offset = self._source.offset
            try:
                raw = peek_packet(self._source, self._state.frame)
            except _FAULTS as error:
                kind, items = self._recover(self._tolerate(error))
            else:
                kind, items = raw.head.kind, self._take(raw)
            for item in items:
                yield Record(kind, offset, self._source.offset - offset, item)
        if not self._conceal and self._source.available(1):
            end = self._source.offset
            raise CorruptStreamError(f"{self.name}: bytes follow the end packet at byte {end}; cut the file there")

    @property
    def name(self) -> str:
        """The source's name for messages."""
        return self._source.name

    def _tolerate(self, error: ImfError) -> str:
        """What is wrong with the packet ahead, in one line; a strict reader raises it."""
        if not self._conceal:
            raise type(error)(f"{self.name}: packet at byte {self._source.offset}: {error}") from error
        self._has_loss = True
        return str(error)

    def _take(self, raw: RawPacket) -> list[Item | None]:
        """Interpret the packet ahead, whose checksum matches, and move past it."""
        items: list[Item | None] = []
        try:
            key = read_key_place(raw, self.header) if self._conceal and raw.head.kind is PacketKind.KEY else None
            number = key[0] if key else raw.place
            if self._is_stray(key[0]) if key else number is not None and number < self._state.frame:
                items.append(LostPacket(raw.head.kind, 0, f"frame {number} comes again or out of order"))
                self._has_loss = True
            else:
                items += self._resume(*key) if key else self._move_to(number)
                items += self._interpret(raw)
        except _FAULTS as error:
            items += self._lose(raw.head, self._tolerate(error))
        self._source.consume(raw.size)
        return items

    def _move_to(self, number: int | None) -> list[LostPacket]:
        """Go on at frame `number` of the open group, if one is given, and say which frames are missing before it."""
        if number is None:
            return []
        lost = self._account_for_gap(number)
        self._state.frame = number
        if self._plan.enter(number):
            self._state.usual = None
        return lost

    def _is_stray(self, number: int) -> bool:
        """Whether an intact key frame is one that was used before, or cannot come here."""
        is_used = self._plan.is_open_at(number) and self._state.usual is not None
        return is_used or not self._plan.admits(number)

    def _interpret(self, raw: RawPacket) -> list[Item | None]:
        kind = raw.head.kind
        if self._index_size and not self._has_loss and kind is not PacketKind.END:
            raise CorruptStreamError(f"a packet of kind {kind.name} follows the index")
        if kind in VIDEO_KINDS:
            return [self._read_video(raw)]
        if kind is PacketKind.AUDIO:
            if self.header.audio is None:
                raise CorruptStreamError("an audio packet in a stream without audio track")
            return [decode_audio(raw.body)]
        if kind is PacketKind.INDEX:
            self._check_index(raw)
            return [None]
        return [*self._read_end(raw), None]

    def _read_video(self, raw: RawPacket) -> VideoPacket:
        if raw.head.kind is PacketKind.KEY:
            self._plan.open_group(self._state.frame)
            if self._from_start:
                self._index.add(self._source.offset, self._state.frame)
        elif self._state.frame + raw.head.frame_count > self._plan.limit:
            raise CorruptStreamError(
                f"frames from {self._state.frame} on go beyond the {self._plan.limit} of the group"
            )
        return decode_video(raw, self._state)

    def _check_index(self, raw: RawPacket) -> None:
        if self._from_start and not self._has_loss and raw.body != self._index.body:
            raise CorruptStreamError("the index does not agree with the key frames")
        self._index_size = raw.size

    def _read_end(self, raw: RawPacket) -> list[LostPacket]:
        end = self._complete(_parse_end(raw.body))
        fault = self._find_fault(end, raw.size)
        if not fault:
            return self._finish(end)
        if not self._conceal:
            raise CorruptStreamError(fault)
        if self._source.available(raw.size + 1) > raw.size:
            self._early_end = end
            self._plan.learn_total(end.total_frames)
            raise CorruptStreamError(f"bytes follow the end packet; {fault}")
        return [*([] if self._has_loss else [LostPacket(None, 0, fault)]), *self._finish(end)]

    def _complete(self, end: _End) -> _End:
        """Fill in the last duration of an END packet."""
        nominal = self.header.nominal_ticks
        if end.last_duration == nominal or (end.last_duration and not end.total_frames):
            raise CorruptStreamError(f"the end packet spells out a last duration of {end.last_duration} ticks")
        return end._replace(last_duration=(end.last_duration or nominal) if end.total_frames else 0)

    def _find_fault(self, end: _End, size: int) -> str | None:
        """Why an END packet of `size` bytes does not fit what came before it."""
        if end.total_frames != self._state.frame:
            return f"the end packet counts {end.total_frames} frames, the stream has {self._state.frame}"
        if end.index_size != self._index_size:
            return f"the end packet names an index of {end.index_size} bytes, not {self._index_size}"
        if self._from_start and end.stream_hash != self._source.hash_ahead(size - _HASH_TAIL_BYTES):
            return "the whole-stream hash does not match; fetch the file again"
        return None

    def _finish(self, end: _End) -> list[LostPacket]:
        """Stop here, and say what is lost of the frames that the END packet counts."""
        self._is_over = True
        self.total_frames, self.last_duration, self.stream_hash = end.total_frames, end.last_duration, end.stream_hash
        return self._account_for_gap(end.total_frames)

    def _resume(self, number: int, pts: int | None = None) -> list[LostPacket]:
        """Go on at key frame `number`, whatever came before, and say which frames are missing before it."""
        if number == self._state.frame and not self._has_loss:
            return []
        self._plan.open_group(number)
        self._has_loss = True
        lost = self._account_for_gap(number, pts)
        self._state.resume(number)
        return lost

    def _account_for_gap(self, frame: int, pts: int | None = None) -> list[LostPacket]:
        """What lies between the frames known so far and number `frame`, shown at `pts` if that is known."""
        missing = frame - self._state.frame
        if missing <= 0:
            return []
        reason = f"{missing} frames are missing"
        if self._frames_made_up + missing > max(MAX_GAP_FRAMES, self._source.offset):
            return [LostPacket(None, None, f"{reason}, too many to conceal")]
        self._frames_made_up += missing
        stamps = self._state.spread_pts(missing, pts)
        if not self._state.holds(stamps):
            return [LostPacket(None, None, f"{reason}, at times above the limits")]
        self._state.last_pts = stamps[-1]
        pieces = (stamps[start : start + MAX_GAP_FRAMES] for start in range(0, missing, MAX_GAP_FRAMES))
        return [LostPacket(None, len(piece), reason, piece) for piece in pieces]

    def _recover(self, reason: str) -> tuple[PacketKind | None, list[Item | None]]:
        """Go on where no packet has its place ahead: with one from elsewhere, or behind the damage."""
        with suppress(*_FAULTS):
            raw = find_packet(self._source, self._state.frame)
            if self._is_borne_out(raw):
                return raw.head.kind, self._take(raw)
        return self._skip_damage(reason)

    def _is_borne_out(self, raw: RawPacket, start: int = 0) -> bool:
        """Whether what follows the packet `start` bytes ahead agrees that it is one of another place.

        If this were a damaged packet of the place where it stands, the next frame would be a later one than is expected
        here, but hardly one from behind this packet's frames. Where damage follows, what comes after that must fit.
        """
        assert raw.place is not None, "packets without a place fit anywhere"
        frame, after, start = self._state.frame, raw.place + raw.head.frame_count, start + raw.size
        try:
            for _ in range(_FARTHEST_LOOK):
                behind = find_packet(self._source, frame, start)
                if behind.head.kind not in (PacketKind.AUDIO, PacketKind.INDEX):
                    number = self._number_of(behind)
                    return raw.place < frame or number <= frame or number >= after
                start += behind.size
        except _FAULTS:
            return self._leads_on(start, after)
        return False

    def _leads_on(self, start: int, frame: int) -> bool:
        """Whether a packet that follows `frame` frames is `start` bytes ahead, or one that fits behind damaged ones."""
        for _ in range(_FARTHEST_LOOK):
            try:
                head, _, end = peek_head(self._source, start)
                with suppress(CorruptStreamError):
                    return find_packet(self._source, frame, start).place in (None, frame)
            except _FAULTS:
                return False
            start, frame = end, frame + head.frame_count
        return False

    def _number_of(self, raw: RawPacket) -> int:
        """How many frames come before a packet that tells it."""
        if raw.head.kind is PacketKind.KEY:
            return read_key_place(raw, self.header)[0]
        return _parse_end(raw.body).total_frames if raw.place is None else raw.place

    def _skip_damage(self, reason: str) -> tuple[PacketKind | None, list[Item | None]]:
        """Move to the next sound packet, or to the end, and say what is lost before it."""
        claim = self._claim()
        size = claim[1] if claim else 0
        distance, is_found = self._find_packet(size, claim[0].frame_count if claim else 0)
        self._source.consume(distance)
        items: list[Item | None] = []
        # A head is believed when the next packet begins where it says, or when the stream ends before that.
        is_believed = claim is not None and (distance == size if is_found else distance <= size)
        if claim and is_believed:
            items += self._lose(claim[0], reason)
        else:
            items.append(LostPacket(None, None, reason))
        if not is_found:
            self._is_over = True
            items += self._finish(self._early_end) if self._early_end else []
        return claim[0].kind if claim and is_believed else None, items

    def _claim(self) -> tuple[PacketHead, int] | None:
        """Head and size of the damaged packet ahead as far as they make sense."""
        try:
            head, _, end = peek_head(self._source)
        except _FAULTS:
            return None
        return head, end

    def _find_packet(self, claimed_size: int, claimed_frames: int) -> tuple[int, bool]:
        """Distance to the next sound packet and True, or to the end of the stream and False.

        Where the claimed size does not lead to one, every place up to the first is tried. Work is linear in the bytes
        passed, see `ByteSource.checksum`.
        """
        if claimed_size and self._source.available(claimed_size + 1) == claimed_size:
            return claimed_size, False
        after = self._state.frame + claimed_frames
        if claimed_size and (self._is_sound(claimed_size, after) or self._leads_on(claimed_size, after)):
            return claimed_size, True
        start = 1
        while self._source.available(start + 1) > start:
            if self._is_sound(start, self._state.frame):
                return start, True
            start += 1
        return self._source.available(start), False

    def _is_sound(self, start: int, expected: int) -> bool:
        """Whether a sound packet begins `start` bytes ahead; one for another place than expected must be borne out."""
        if not self._source.available(start + 1) > start or not is_first_byte(self._source.peek_byte(start)):
            return False
        try:
            raw = find_packet(self._source, self._state.frame, start)
        except _FAULTS:
            return False
        return raw.place in (None, expected) or self._is_borne_out(raw, start)

    def _lose(self, head: PacketHead, reason: str) -> list[LostPacket]:
        """Move the frame count past a packet of which only the head is believed, and say what is lost by that."""
        gap: list[LostPacket] = []
        if head.kind is PacketKind.KEY:
            number = self._plan.next_group(self._state.frame)
            if number is not None and not self._plan.is_open_at(self._state.frame):
                gap = self._resume(number)
            self._state.usual = None
        count = head.frame_count
        pts = self._state.nominal_pts(count)
        if self._state.frame + count > self._plan.limit or not self._state.holds(pts):
            return [*gap, LostPacket(head.kind, None, reason)]  # accounted for at the next key frame or the end
        self._state.advance(pts)
        return [*gap, LostPacket(head.kind, count, reason, pts)]


def list_packets(source: BinaryIO) -> Iterator[PacketInfo]:
    """Every packet of a stream in order, header left out; raises like a strict `StreamReader`."""
    for record in StreamReader(source).records():
        item = record.item
        assert record.kind is not None  # strict reading knows every packet's kind
        video = item if isinstance(item, VideoPacket) else None
        yield PacketInfo(
            record.kind, record.offset, record.size, video.frame_count if video else 0, _shown_qindex(video)
        )


def verify_structure(source: BinaryIO) -> StreamSummary:
    """Read a whole stream without its model and check everything but the coded payloads.

    Raises:
        TruncatedStreamError, CorruptStreamError, LimitError: as `StreamReader`.
    """
    reader = StreamReader(source)
    sizes, packets = _ByteCount(), {kind.name: 0 for kind in PacketKind}
    audio_packets, end = 0, 0
    pts: tuple[int, int] | None = None
    for record in reader.records():
        assert record.kind is not None  # strict reading knows every packet's kind
        packets[record.kind.name] += 1
        # The first packet's count includes the header before it.
        sizes.add(record.offset + record.size - end, record.item)
        end = record.offset + record.size
        if isinstance(record.item, AudioBatch):
            audio_packets += len(record.item.packets)
        elif isinstance(record.item, VideoPacket):
            pts = (pts or record.item.pts)[0], record.item.pts[-1]
    assert reader.total_frames is not None and reader.last_duration is not None  # set by the END packet
    assert reader.stream_hash is not None
    return StreamSummary(
        header=reader.header,
        size_bytes=end,
        total_frames=reader.total_frames,
        key_frames=packets[PacketKind.KEY.name],
        audio_packets=audio_packets,
        last_duration=reader.last_duration,
        duration_seconds=_duration_seconds(reader.header, reader.total_frames, pts, reader.last_duration),
        packets=packets,
        bytes_by_kind=sizes.by_kind,
        stream_hash=reader.stream_hash.hex(),
    )


def read_index(source: BinaryIO) -> tuple[IndexEntry, ...]:
    """Groups after the first, from the INDEX packet at the end of a seekable source; its position is kept.

    Raises:
        TruncatedStreamError: there is no END packet at the end.
        CorruptStreamError: the index is damaged.
    """
    position = source.tell()
    try:
        return _read_entries(source, *_read_tail(source))
    finally:
        source.seek(position)


def find_group(source: BinaryIO, header: StreamHeader, pts: int) -> IndexEntry | None:
    """The group, of those after the first, that holds the first frame shown at `pts` or later; None for the first one.

    Of a variable rate, the group in which `pts` lies. Reads the index and at most a few key frames of a seekable
    source, whose position is kept; errors as for `read_index`.
    """
    groups = read_index(source)
    if not header.variable_rate:
        frame = header.frame_from(pts)
        return next((group for group in reversed(groups) if group.first_frame <= frame), None)
    position = source.tell()
    try:
        number = bisect_right(groups, pts, key=lambda group: _key_pts(source, header, group))
    finally:
        source.seek(position)
    return groups[number - 1] if number else None


def _key_pts(source: BinaryIO, header: StreamHeader, group: IndexEntry) -> int:
    """When the key frame of a group is shown, in a stream of variable rate."""
    source.seek(group.offset)
    raw = peek_packet(ByteSource(source, group.offset))
    pts = read_key_place(raw, header)[1] if raw.head.kind is PacketKind.KEY else None
    if pts is None:
        raise CorruptStreamError(f"the index names no key frame at byte {group.offset}; decode from the start")
    return pts


def _frame_bounds(source: BinaryIO) -> list[int]:
    """Numbers of all key frames and, last, of all frames, from the end of a file; empty where that cannot be had."""
    if not source.seekable():
        return []
    position = source.tell()
    try:
        end, offset = _read_tail(source)
        keys = [0, *_read_key_numbers(source, end, offset)]
        return [*keys, end.total_frames] if keys[-1] < end.total_frames else [0, end.total_frames]
    except _FAULTS:
        return []
    finally:
        source.seek(position)


def _read_key_numbers(source: BinaryIO, end: _End, offset: int) -> list[int]:
    try:
        return [entry.first_frame for entry in _read_entries(source, end, offset)]
    except _FAULTS:
        return []


def _read_tail(source: BinaryIO) -> tuple[_End, int]:
    """The END packet at the end of a seekable source, and where the INDEX packet before it begins."""
    size = source.seek(0, io.SEEK_END)
    source.seek(max(0, size - MAX_END_BYTES))
    raw = _find_end(source.read(MAX_END_BYTES))
    end = _parse_end(raw.body)
    return end, size - raw.size - end.index_size


def _read_entries(source: BinaryIO, end: _End, offset: int) -> tuple[IndexEntry, ...]:
    """What the INDEX packet at `offset` holds, if there is one."""
    if not end.index_size:
        return ()
    if offset < 0:
        raise CorruptStreamError("the index would begin before the stream; decode from the start")
    source.seek(offset)
    raw = peek_packet(ByteSource(source, offset))
    if raw.head.kind is not PacketKind.INDEX:
        raise CorruptStreamError(f"no index at byte {offset}; decode from the start")
    return _parse_index(raw.body, offset)


def _split_audio(packets: Sequence[AudioPacket]) -> Iterator[list[AudioPacket]]:
    batch: list[AudioPacket] = []
    size = 0
    for packet in packets:
        if batch and (len(batch) == MAX_AUDIO_BATCH or size + len(packet.data) > MAX_AUDIO_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(packet)
        size += len(packet.data)
    if batch:
        yield batch


def _parse_end(body: bytes) -> _End:
    """What an END packet holds; the last duration as it is written, 0 for the nominal step."""
    cursor = ByteCursor(body)
    total, last_duration = cursor.varint(), cursor.varint()
    index_size = cursor.varint() if cursor.remaining > HASH_BYTES else None
    if cursor.remaining != HASH_BYTES:
        raise CorruptStreamError(f"the end packet has {cursor.remaining} bytes of hash instead of {HASH_BYTES}")
    if total > MAX_FRAMES:
        raise LimitError(f"{total} frames are above the limit of {MAX_FRAMES}")
    if last_duration > MAX_TIME_STAMP:
        raise LimitError(f"a last duration of {last_duration} ticks is above 2^60; use a coarser time base")
    if index_size == 0:
        raise CorruptStreamError("the end packet names an index of 0 bytes")
    return _End(total, last_duration, index_size or 0, cursor.rest())


def _find_end(tail: bytes) -> RawPacket:
    """The END packet that fills the last bytes of `tail`."""
    for start in range(len(tail)):
        try:
            raw = peek_packet(ByteSource(io.BytesIO(tail[start:])))
        except (CorruptStreamError, LimitError):
            continue
        if raw.head.kind is PacketKind.END and raw.size == len(tail) - start:
            return raw
    raise TruncatedStreamError("the stream does not finish with an end packet; fetch the whole file again")


def _parse_index(body: bytes, limit: int) -> tuple[IndexEntry, ...]:
    cursor = ByteCursor(body)
    entries = [IndexEntry(0, 0)]
    while cursor.remaining:
        entry = IndexEntry(entries[-1].offset + cursor.varint(), entries[-1].first_frame + cursor.varint())
        if (
            not entries[-1].offset < entry.offset < limit
            or not entries[-1].first_frame < entry.first_frame <= MAX_FRAMES
        ):
            raise CorruptStreamError("the index is out of order; decode from the start")
        entries.append(entry)
    return tuple(entries[1:])


def _shown_qindex(packet: VideoPacket | None) -> int | None:
    if packet is None:
        return None
    if packet.kind is PacketKind.KEY:
        return packet.key_qindex
    is_golden = packet.golden or packet.kind is PacketKind.DELAY_GOLDEN
    return packet.quantisers.golden if is_golden else packet.quantisers.token


def _duration_seconds(header: StreamHeader, frames: int, pts: tuple[int, int] | None, last_duration: int) -> float:
    """Playing time of `frames` frames, the first and last of them at `pts`."""
    if pts is None:
        return 0.0
    if not header.variable_rate and last_duration == header.nominal_ticks:
        return float(frames * header.frame_ticks * header.format.time_base)
    return float((pts[1] - pts[0] + last_duration) * header.format.time_base)
