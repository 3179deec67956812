"""Files that are cut off. FFmpeg takes the end of such a file for the end of the video, or says so late."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from imfcodec.errors import InputError
from imfcodec.files import open_input

_HEAD_BYTES = 4096
_BOX_HEAD_BYTES = 24
_MIN_BOX_BYTES = 8
_ISO_FIRST_BOXES = {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"}
_TS_PACKET_BYTES, _TS_MARK = 188, b"\x47"
_TS_PREFIXES = (0, 4)  # Blu-ray and AVCHD put a time before each packet
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11")
_OGG_PAGE = b"OggS"
_GIF_TRAILER = b";"
_PNG_HEAD, _PNG_END = b"\x89PNG", b"IEND"
_TAIL_BYTES = 1 << 17  # more than the longest Ogg page
_FRAME_MARK = b"FRAME\n"
_EBML_ID = b"\x1a\x45\xdf\xa3"
_SEGMENT_ID = b"\x18\x53\x80\x67"


class CountingReader(io.RawIOBase):
    """Passes a stream on and remembers its first bytes and its length."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.head = b""
        self.length = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.head += data[: max(0, _HEAD_BYTES - len(self.head))]
        self.length += len(data)
        return data


def ends_early(path: Path) -> bool:
    """Tell whether a file is shorter than its own structure says; False for kinds of files that do not say.

    Raises:
        InputError: it cannot be read.
    """
    if not os.path.isfile(path):
        return False
    with open_input(path) as file:
        try:
            return _file_ends_early(file, os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _file_ends_early(file: BinaryIO, length: int) -> bool:
    head = file.read(_HEAD_BYTES)
    if head[4:8] in _ISO_FIRST_BOXES:
        return _ends_within(file, length, _iso_box_size)
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WEBP"):
        return _ends_within(file, length, _riff_chunk_size)
    if head.startswith(_ASF_HEADER):
        return _ends_within(file, length, _asf_object_size)
    if head.startswith(b"GIF8"):
        return not _tail(file, length).rstrip(b"\0").endswith(_GIF_TRAILER)
    if head.startswith(_PNG_HEAD):
        return _PNG_END not in _tail(file, length)
    if head.startswith(_OGG_PAGE):
        return _ogg_ends_early(_tail(file, length))
    if any(_is_transport(head, prefix) for prefix in _TS_PREFIXES):
        return not _tail(file, length)[-_TS_PACKET_BYTES:].startswith(_TS_MARK)
    return matroska_ends_early(head, length)


def _is_transport(head: bytes, prefix: int) -> bool:
    """Whether a file consists of transport packets, each after so many bytes."""
    each = prefix + _TS_PACKET_BYTES
    return all(head[at : at + 1] == _TS_MARK for at in range(prefix, 10 * each, each))


def _ends_within(file: BinaryIO, length: int, size_of: Callable[[bytes], int]) -> bool:
    """Walk over the outermost boxes of a file; `size_of` reads a size from a box's first bytes, 0 for the rest."""
    start = 0
    while start < length:
        file.seek(start)
        size = size_of(file.read(_BOX_HEAD_BYTES))
        if size < _MIN_BOX_BYTES:
            return False
        start += size
    return start > length


def _iso_box_size(head: bytes) -> int:
    size = int.from_bytes(head[:4], "big")
    return int.from_bytes(head[8:16], "big") if size == 1 else size


def _asf_object_size(head: bytes) -> int:
    return int.from_bytes(head[16:24], "little")


def _tail(file: BinaryIO, length: int) -> bytes:
    file.seek(max(0, length - _TAIL_BYTES))
    return file.read(_TAIL_BYTES)


def _ogg_ends_early(tail: bytes) -> bool:
    """Tell whether the last page goes on behind the end: its table of segment lengths says how long it is."""
    page = tail.rfind(_OGG_PAGE)
    segments = tail[page + 26] if 0 <= page < len(tail) - 26 else 0
    table = tail[page + 27 : page + 27 + segments]
    return page >= 0 and page + 27 + segments + sum(table) > len(tail)


def _riff_chunk_size(head: bytes) -> int:
    # A chunk of odd length is padded; writers that were interrupted leave 0 or all ones.
    size = int.from_bytes(head[4:8], "little")
    return 8 + size + size % 2 if head[:4] in (b"RIFF", b"idx1", b"JUNK") and size not in (0, 0xFFFFFFFF) else 0


def y4m_ends_early(head: bytes, length: int, frame_count: int, frame_bytes: int) -> bool:
    """Tell whether a Y4M stream of `length` bytes has more than `frame_count` whole frames and less than one more.

    Frames with parameters behind their mark have no fixed length; for these the answer is always False.
    """
    start = head.find(b"\n") + 1
    if not head.startswith(_FRAME_MARK, start):
        return False
    return length > start + frame_count * (len(_FRAME_MARK) + frame_bytes)


def matroska_ends_early(head: bytes, length: int) -> bool:
    """Tell whether a file is Matroska or WebM and shorter than its segment claims to be."""
    if not head.startswith(_EBML_ID):
        return False
    size, start = _read_size(head, len(_EBML_ID))
    segment = start + size
    if not head.startswith(_SEGMENT_ID, segment):
        return False
    size, start = _read_size(head, segment + len(_SEGMENT_ID))
    return size >= 0 and start + size > length


def _read_size(data: bytes, at: int) -> tuple[int, int]:
    """Return the EBML size written at `at`, -1 for "unknown", and the position after it."""
    first = data[at] if at < len(data) else 0
    width = 9 - first.bit_length()
    field = data[at : at + width]
    if width > 8 or len(field) < width:
        return -1, at + 1
    value = int.from_bytes(field, "big") & ((1 << 7 * width) - 1)
    return (-1 if value == (1 << 7 * width) - 1 else value), at + width
