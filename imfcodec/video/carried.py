"""A stream carried inside an .mp4 or .mkv beside its sound: where it lies, how it gets in and how it is found again.

In MP4 it is the content of a `uuid` box after all others, in Matroska an attached file in an Attachments element at the
end of the segment. Both are what the formats have for things that players pass over. Nothing is held in memory.
"""

import io
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import av

from imfcodec.errors import InputError, UsageError
from imfcodec.files import named_errors
from imfcodec.frames import AudioPacket, AudioTrack
from imfcodec.video.adts import AdtsStripper
from imfcodec.video.audio import PcmFiller, add_copied_stream, make_packet
from imfcodec.video.writer import write_errors

FORMATS = {".mp4": "mp4", ".mkv": "matroska"}
MEDIA_TYPE = b"video/x-imfcodec"
BOX_ID = bytes.fromhex("696d66636f646563a1f04e6b8a5d2c11")  # "imfcodec" and eight bytes drawn by lot

_BOX_HEAD, _LARGE_BOX_HEAD = 8, 16
_EBML, _SEGMENT, _ATTACHMENTS = (bytes.fromhex(text) for text in ("1a45dfa3", "18538067", "1941a469"))
_FILE, _FILE_NAME, _FILE_TYPE, _FILE_UID, _FILE_DATA = (
    bytes.fromhex(text) for text in ("61a7", "466e", "4660", "46ae", "465c")
)
_LENGTH_BYTES = 8
_MAX_NAME_BYTES = 255
_PIECE_BYTES = 1 << 20


class Span(NamedTuple):
    """Where something lies in a file, in bytes."""

    start: int
    end: int


class _Element(NamedTuple):
    """An EBML element: its name, where its size and its payload begin, and its end."""

    name: bytes
    size: int
    payload: int
    end: int


def write_sound(path: Path, suffix: str, track: AudioTrack, packets: Iterable[AudioPacket], *, name: str) -> None:
    """Write a file that holds a sound track alone.

    Args:
        path: where to; must be a file that can seek.
        suffix: a key of FORMATS.
        track: `audio.can_copy` holds for it and the suffix.
        packets: of the track.
        name: the target's, for errors.
    Raises:
        OutputError: it cannot be written.
        InputError: the sound is damaged.
    """
    with write_errors(name), av.open(f"file:{path}", "w", format=FORMATS[suffix]) as container:
        stream = add_copied_stream(container, track)
        strip = AdtsStripper(stream) if suffix == ".mp4" else None
        container.start_encoding()
        fill = PcmFiller(track)
        for piece in (piece for packet in packets for piece in fill(packet)):
            copied = make_packet(piece, track.time_base)
            copied.stream = stream
            container.mux(strip(copied) if strip else copied)


def attach(file: BinaryIO, suffix: str, stream: BinaryIO, size: int, *, name: str) -> None:
    """Put a stream into a file that `write_sound` has written.

    Args:
        file: opened for reading and writing in place.
        suffix: as for `write_sound`.
        stream: the bytes to put in, from where it stands.
        size: how many they are.
        name: what the attached file is called.
    Raises:
        OutputError: they cannot be written.
    """
    with named_errors(str(file.name)):
        if suffix == ".mkv":
            _open_attachment(file, name, size)
        else:
            file.seek(0, io.SEEK_END)
            file.write(b"\0\0\0\x01uuid" + (_LARGE_BOX_HEAD + len(BOX_ID) + size).to_bytes(8, "big") + BOX_ID)
        shutil.copyfileobj(stream, file, _PIECE_BYTES)
        file.flush()


def find(file: BinaryIO, name: str) -> Span:
    """Where the stream lies in a file, whoever has written it since, as long as it kept what it did not know.

    Raises:
        InputError: the file is neither MP4 nor Matroska, is damaged, or carries no stream.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(_BOX_HEAD)
    found = _find_attachment(file, size) if head.startswith(_EBML) else _find_box(file, size)
    if found is None:
        raise InputError(f"{name}: carries no .imf stream; `imfcodec mux` makes files that do")
    return found


class SpanReader(io.RawIOBase):
    """The bytes of a file within a span, as a file of their own."""

    def __init__(self, file: BinaryIO, span: Span, name: str) -> None:
        super().__init__()
        self._file, self._span, self._at = file, span, 0
        self.name = name

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, target: Any) -> int:
        """Read as io.RawIOBase says."""
        self._file.seek(self._span.start + self._at)
        data = self._file.read(min(len(target), self._span.end - self._span.start - self._at))
        target[: len(data)] = data
        self._at += len(data)
        return len(data)


def read_span(file: BinaryIO, span: Span, name: str) -> BinaryIO:
    """The stream at a place `find` has found."""
    return cast(BinaryIO, io.BufferedReader(SpanReader(file, span, name), _PIECE_BYTES))


def _find_box(file: BinaryIO, size: int) -> Span | None:
    at = 0
    while at + _BOX_HEAD <= size:
        file.seek(at)
        head = file.read(_LARGE_BOX_HEAD + len(BOX_ID))
        length, start = int.from_bytes(head[:4], "big"), at + _BOX_HEAD
        if length == 1:
            length, start = int.from_bytes(head[_BOX_HEAD:_LARGE_BOX_HEAD], "big"), at + _LARGE_BOX_HEAD
        end = size if length == 0 else at + length
        if end < start or end > size:
            return None
        if head[4:8] == b"uuid" and head[start - at :].startswith(BOX_ID):
            return Span(start + len(BOX_ID), end)
        at = end
    return None


def _open_attachment(file: BinaryIO, name: str, size: int) -> None:
    """Write all of an Attachments element that stands before the attached bytes, and make the segment longer."""
    label = name.encode(errors="replace")[:_MAX_NAME_BYTES]
    about = _element(_FILE_NAME, label) + _element(_FILE_TYPE, MEDIA_TYPE) + _element(_FILE_UID, b"\x01")
    data_head = _FILE_DATA + _length(size)
    entry_head = _FILE + _length(len(about) + len(data_head) + size)
    head = _ATTACHMENTS + _length(len(entry_head) + len(about) + len(data_head) + size)
    total = file.seek(0, io.SEEK_END)
    segment = _segment(file, total)
    if segment is None or segment.end != total or segment.payload - segment.size != _LENGTH_BYTES:
        raise UsageError("FFmpeg lays out .mkv files in an unknown way; write .mp4")
    file.seek(segment.size)
    file.write(_length(total - segment.payload + len(head) + len(entry_head) + len(about) + len(data_head) + size))
    file.seek(total)
    file.write(head + entry_head + about + data_head)


def _find_attachment(file: BinaryIO, size: int) -> Span | None:
    segment = _segment(file, size)
    for element in _children(file, segment) if segment else ():
        for entry in _children(file, element) if element.name == _ATTACHMENTS else ():
            parts = {part.name: part for part in _children(file, entry)}
            if entry.name == _FILE and _FILE_DATA in parts and _text(file, parts.get(_FILE_TYPE)) == MEDIA_TYPE:
                return Span(parts[_FILE_DATA].payload, parts[_FILE_DATA].end)
    return None


def _segment(file: BinaryIO, size: int) -> _Element | None:
    whole = _Element(b"", 0, 0, size)
    return next((element for element in _children(file, whole) if element.name == _SEGMENT), None)


def _children(file: BinaryIO, parent: _Element) -> Iterator[_Element]:
    """The elements in an element, up to the first that is damaged, or of unknown length as in live streams."""
    at = parent.payload
    while at < parent.end:
        file.seek(at)
        head = file.read(4 + _LENGTH_BYTES)
        name_width = 9 - head[0].bit_length() if head else 9
        width = 9 - head[name_width].bit_length() if name_width < len(head) else 9
        if name_width > 4 or width > _LENGTH_BYTES:
            return
        length = int.from_bytes(head[name_width : name_width + width], "big") & ((1 << 7 * width) - 1)
        payload = at + name_width + width
        if length == (1 << 7 * width) - 1 or payload + length > parent.end:
            return
        yield _Element(head[:name_width], at + name_width, payload, payload + length)
        at = payload + length


def _text(file: BinaryIO, element: _Element | None) -> bytes:
    if element is None:
        return b""
    file.seek(element.payload)
    return file.read(min(element.end - element.payload, _MAX_NAME_BYTES))


def _element(name: bytes, payload: bytes) -> bytes:
    return name + _length(len(payload)) + payload


def _length(value: int) -> bytes:
    return (value | 1 << 7 * _LENGTH_BYTES).to_bytes(_LENGTH_BYTES, "big")
