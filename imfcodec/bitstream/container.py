"""Writing and reading whole .imf streams, on files and on pipes (SPEC.md, "Stream")."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from imfcodec.bitstream.bits import CHECKSUM_BYTES, HASH_BYTES, ByteCursor, ByteSource, encode_varint
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
    frame_packet,
    key_frame_number,
    peek_head,
    peek_packet,
)
from imfcodec.errors import CorruptStreamError, ImfError, LimitError, TruncatedStreamError, UsageError
from imfcodec.frames import AudioPacket

MAX_AUDIO_BATCH_BYTES = 1 << 22
MAX_END_BYTES = 64
MAX_GAP_FRAMES = 4096
# Searching for the next sound packet costs at most this much checksumming in a whole stream.
SCAN_BUDGET_BYTES = 1 << 24
_PROBE_COST_BYTES = 64
_HASH_TAIL_BYTES = HASH_BYTES + CHECKSUM_BYTES

Item = VideoPacket | AudioBatch | LostPacket


@dataclass(frozen=True)
class IndexEntry:
    """Where a group starts: byte offset of its KEY packet from the start of the stream, number of its first frame."""

    offset: int
    first_frame: int


@dataclass(frozen=True)
class PacketInfo:
    """One line of a packet listing: kind, byte offset, size in bytes, number of frames, quantiser index if it has one.

    For packets with a key or golden frame `quality` is that frame's index, for others the token frames'.
    """

    kind: PacketKind
    offset: int
    size: int
    frames: int
    quality: int | None


@dataclass(frozen=True)
class StreamSummary:
    """What a whole, valid stream holds.

    Attributes:
        header: the stream's header.
        size_bytes: bytes of the stream.
        total_frames: number of video frames.
        key_frames: number of key frames.
        audio_packets: number of audio packets (not batches).
        duration_seconds: from the first frame's start to the last frame's nominal end.
        packets: number of packets by kind name.
        bytes_by_kind: bytes of payload "keys", "tokens" and "audio"; all the rest is "container".
        stream_hash: whole-stream hash, 16 hexadecimal digits.
    """

    header: StreamHeader
    size_bytes: int
    total_frames: int
    key_frames: int
    audio_packets: int
    duration_seconds: float
    packets: dict[str, int]
    bytes_by_kind: dict[str, int]
    stream_hash: str


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
        """Write audio packets in as few container packets as the limits allow; none for an empty sequence."""
        if self._header.audio is None:
            raise UsageError("the stream has no audio track; give the header an AudioTrack")
        for batch in _split_audio(packets):
            self._write(encode_audio(batch), AudioBatch(tuple(batch)))

    def close(self) -> None:
        """Write the INDEX (if there are several key frames) and END packets. A second call does nothing."""
        if self._closed:
            return
        index = frame_packet(PacketHead(PacketKind.INDEX), bytes(self._index.body)) if self._index.body else b""
        self._write(index)
        counts = encode_varint(self._state.frame) + (encode_varint(len(index)) if index else b"")
        self._write(frame_packet(PacketHead(PacketKind.END), counts + self._hash_before(counts)))
        self._closed = True

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


class StreamReader:
    """Reads a stream front to back; the source may be a pipe. Iterate once.

    Iteration gives `VideoPacket` and `AudioBatch` in the order of the file and ends after the END packet without
    reading on. Strict reading raises at the first fault; every fault is found at the latest at the END packet.

    With `conceal=True` a damaged stretch gives a `LostPacket` instead. Reading goes on behind the packet's length
    field if a sound packet begins there, otherwise at the next place where one does. Frames whose number was unknown
    are accounted for by a further `LostPacket` before the next key frame or the end. After a loss time stamps are
    nominal until the next key frame; where a damaged head claimed too many frames they may step back there.

    Args:
        source: binary stream at the start of a header; stays open.
        conceal: go on after damaged packets. A damaged header is always an error.

    Attributes:
        header: the stream's header.
        total_frames: number of frames as the END packet states it; None before.
        stream_hash: the END packet's 8-byte whole-stream hash; None before.

    Raises (while constructing and while iterating):
        TruncatedStreamError: the stream ends before its END packet.
        CorruptStreamError: a checksum, field or order breaks the format.
        LimitError: a size, count or length is above the limits; raised before anything of that size is read.
    """

    def __init__(self, source: BinaryIO, *, conceal: bool = False) -> None:
        self._raw_source = source
        self._source = ByteSource(source)
        self._conceal = conceal
        try:
            self.header = read_header(self._source)
        except (CorruptStreamError, LimitError) as error:
            raise type(error)(f"{self._source.name}: {error}") from error
        self._state = VideoState(self.header)
        self._index = _KeyIndex()
        self._index_size = 0
        self._from_start = True
        self._has_loss = False
        self._is_over = False
        self._scan_budget = SCAN_BUDGET_BYTES
        self.total_frames: int | None = None
        self.stream_hash: bytes | None = None

    def __iter__(self) -> Iterator[Item]:
        """Packets with video or sound, and what is lost."""
        return (record.item for record in self.records() if record.item is not None)

    def seek(self, entry: IndexEntry) -> None:
        """Go on at a key frame of a seekable source that starts with the header (see `read_index`).

        The index and the whole-stream hash are not checked afterwards.
        """
        self._raw_source.seek(entry.offset)
        self._source = ByteSource(self._raw_source, entry.offset)
        self._state.resume(entry.first_frame)
        self._from_start = False

    def records(self) -> Iterator[Record]:
        """Every packet with its place in the stream."""
        while not self._is_over:
            offset = self._source.offset
            raw = None
            try:
                raw = peek_packet(self._source)
                items = self._interpret(raw)
            except (CorruptStreamError, LimitError) as error:
                if not self._conceal:
                    raise type(error)(f"{self._source.name}: packet at byte {offset}: {error}") from error
                lost = self._recover(raw, error)
                yield Record(lost.kind, offset, self._source.offset - offset, lost)
                continue
            self._source.consume(raw.size)
            for item in items:
                yield Record(raw.head.kind, offset, raw.size, item)

    @property
    def name(self) -> str:
        """The source's name for messages."""
        return self._source.name

    def has_more(self) -> bool:
        """Whether bytes follow what has been read; waits for them on a pipe."""
        return self._source.available(1) > 0

    def _interpret(self, raw: RawPacket) -> list[Item | None]:
        kind = raw.head.kind
        if self._index_size and not self._has_loss and kind is not PacketKind.END:
            raise CorruptStreamError(f"a packet of kind {kind.name} follows the index")
        if kind in VIDEO_KINDS:
            return self._read_video(raw)
        if kind is PacketKind.AUDIO:
            if self.header.audio is None:
                raise CorruptStreamError("an audio packet in a stream without audio track")
            return [decode_audio(raw.body)]
        if kind is PacketKind.INDEX:
            self._check_index(raw)
            return [None]
        return self._read_end(raw)

    def _read_video(self, raw: RawPacket) -> list[Item | None]:
        items: list[Item | None] = []
        if raw.head.kind is PacketKind.KEY:
            number = key_frame_number(raw)
            if self._has_loss and number <= MAX_FRAMES:
                items += self._account_for_gap(number)
                self._state.resume(number)
            self._index.add(self._source.offset, number)
        items.append(decode_video(raw, self._state))
        return items

    def _check_index(self, raw: RawPacket) -> None:
        if self._from_start and not self._has_loss and raw.body != self._index.body:
            raise CorruptStreamError("the index does not agree with the key frames")
        self._index_size = raw.size

    def _read_end(self, raw: RawPacket) -> list[Item | None]:
        total, index_size, stream_hash = _parse_end(raw.body)
        items: list[Item | None] = []
        if self._has_loss:
            items += self._account_for_gap(total)
        elif total != self._state.frame:
            raise CorruptStreamError(f"the end packet counts {total} frames, the stream has {self._state.frame}")
        elif index_size != self._index_size:
            raise CorruptStreamError(f"the end packet names an index of {index_size} bytes, not {self._index_size}")
        elif self._from_start and stream_hash != self._source.hash_ahead(raw.size - _HASH_TAIL_BYTES):
            raise CorruptStreamError("the whole-stream hash does not match; fetch the file again")
        self.total_frames, self.stream_hash = total, stream_hash
        self._is_over = True
        return [*items, None]

    def _account_for_gap(self, frame: int) -> list[LostPacket]:
        """What lies between the frames known so far and frame number `frame`, after a loss of unknown length."""
        missing = frame - self._state.frame
        if missing <= 0:
            return []
        if missing > MAX_GAP_FRAMES:
            return [LostPacket(None, None, f"{missing} frames are missing, too many to conceal")]
        return [LostPacket(None, missing, f"{missing} frames are missing", self._state.nominal_pts(missing))]

    def _recover(self, raw: RawPacket | None, error: ImfError) -> LostPacket:
        """Move to the next packet that can be read and say what is lost before it."""
        self._has_loss = True
        claim = (raw.head, raw.size) if raw else self._claim()
        size = claim[1] if claim else 0
        skip = raw.size if raw else self._find_packet(size)
        # A head is believed when the next packet begins where it says, or when the stream ends before that.
        left = self._source.available(size)
        is_believed = skip == size or (skip is None and left < size)
        self._is_over = skip is None
        self._source.consume(left if skip is None else skip)
        if claim is None or not is_believed:
            return LostPacket(None, None, str(error))
        return self._lose(claim[0], str(error))

    def _lose(self, head: PacketHead, reason: str) -> LostPacket:
        """Move the frame count past a packet of which only the head is believed."""
        if head.kind is PacketKind.KEY:
            self._state.usual = None
        pts = self._state.nominal_pts(head.frame_count)
        try:
            self._state.advance(pts)
        except LimitError:  # a false key frame number led here; the next key frame sets it right
            return LostPacket(head.kind, None, reason)
        return LostPacket(head.kind, head.frame_count, reason, pts)

    def _claim(self) -> tuple[PacketHead, int] | None:
        """Head and size of the damaged packet ahead as far as they make sense."""
        try:
            head, _, end = peek_head(self._source)
        except (CorruptStreamError, LimitError):
            return None
        return head, end

    def _find_packet(self, claimed_size: int) -> int | None:
        """Distance to the next sound packet (or to the end of the stream, if exactly there); None if there is none."""
        if claimed_size and (self._source.available(claimed_size + 1) == claimed_size or self._is_sound(claimed_size)):
            return claimed_size
        start = 1
        while self._scan_budget > 0 and self._source.available(start + 1) > start:
            self._scan_budget -= _PROBE_COST_BYTES
            if self._is_sound(start, self._scan_budget):
                return start
            start += 1
        return None

    def _is_sound(self, start: int, budget: int | None = None) -> bool:
        """Whether a packet with matching checksum, no longer than `budget`, begins `start` bytes ahead."""
        try:
            size = peek_head(self._source, start)[2] - start
            if budget is not None:
                if size > budget:
                    return False
                self._scan_budget -= size
            peek_packet(self._source, start)
        except (CorruptStreamError, LimitError):
            return False
        return True


def list_packets(source: BinaryIO) -> Iterator[PacketInfo]:
    """Every packet of a stream in order, header left out; raises like a strict `StreamReader`."""
    for record in StreamReader(source).records():
        item = record.item
        assert record.kind is not None  # strict reading knows every packet's kind
        video = item if isinstance(item, VideoPacket) else None
        yield PacketInfo(
            record.kind, record.offset, record.size, video.frame_count if video else 0, _shown_quality(video)
        )


def verify_structure(source: BinaryIO) -> StreamSummary:
    """Read a whole stream without its model and check everything but the coded payloads.

    Raises:
        TruncatedStreamError, CorruptStreamError, LimitError: as `StreamReader`; also when bytes follow the END packet.
    """
    reader = StreamReader(source)
    sizes, packets = _ByteCount(), {kind.name: 0 for kind in PacketKind}
    audio_packets, end = 0, 0
    first_pts = last_pts = None
    for record in reader.records():
        assert record.kind is not None  # strict reading knows every packet's kind
        packets[record.kind.name] += 1
        # The first packet's count includes the header before it.
        sizes.add(record.offset + record.size - end, record.item)
        end = record.offset + record.size
        if isinstance(record.item, AudioBatch):
            audio_packets += len(record.item.packets)
        elif isinstance(record.item, VideoPacket):
            first_pts = record.item.pts[0] if first_pts is None else first_pts
            last_pts = record.item.pts[-1]
    if reader.has_more():
        raise CorruptStreamError(f"{reader.name}: bytes follow the end packet at byte {end}; cut the file there")
    assert reader.total_frames is not None and reader.stream_hash is not None  # set by the END packet
    return StreamSummary(
        header=reader.header,
        size_bytes=end,
        total_frames=reader.total_frames,
        key_frames=packets[PacketKind.KEY.name],
        audio_packets=audio_packets,
        duration_seconds=_duration_seconds(reader.header, reader.total_frames, first_pts, last_pts),
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
        size = source.seek(0, io.SEEK_END)
        source.seek(max(0, size - MAX_END_BYTES))
        end = _find_end(source.read(MAX_END_BYTES))
        index_size = _parse_end(end.body)[1]
        if not index_size:
            return ()
        offset = size - end.size - index_size
        if offset < 0:
            raise CorruptStreamError("the index would begin before the stream; decode from the start")
        source.seek(offset)
        raw = peek_packet(ByteSource(source, offset))
        if raw.head.kind is not PacketKind.INDEX:
            raise CorruptStreamError(f"no index at byte {offset}; decode from the start")
        return _parse_index(raw.body, offset)
    finally:
        source.seek(position)


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


def _parse_end(body: bytes) -> tuple[int, int, bytes]:
    """Total frames, size of the INDEX packet (0 if none) and whole-stream hash."""
    cursor = ByteCursor(body)
    total = cursor.varint()
    index_size = cursor.varint() if cursor.remaining > HASH_BYTES else 0
    if cursor.remaining != HASH_BYTES:
        raise CorruptStreamError(f"the end packet has {cursor.remaining} bytes of hash instead of {HASH_BYTES}")
    if total > MAX_FRAMES:
        raise LimitError(f"{total} frames are above the limit of {MAX_FRAMES}")
    return total, index_size, cursor.rest()


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


def _shown_quality(packet: VideoPacket | None) -> int | None:
    if packet is None:
        return None
    has_reference = packet.golden or packet.kind in (PacketKind.KEY, PacketKind.DELAY_GOLDEN)
    return packet.quality if has_reference else packet.token_quality


def _duration_seconds(header: StreamHeader, frames: int, first_pts: int | None, last_pts: int | None) -> float:
    if first_pts is None or last_pts is None:
        return 0.0
    if not header.variable_rate:
        return float(frames * header.frame_ticks * header.format.time_base)
    return float((last_pts - first_pts + header.nominal_ticks) * header.format.time_base)
