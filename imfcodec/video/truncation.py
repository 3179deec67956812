"""Files that are cut off. FFmpeg takes the end of such a Y4M or Matroska file for the end of the video."""

import io
from pathlib import Path
from typing import BinaryIO

from imfcodec.errors import InputError
from imfcodec.files import open_input

_HEAD_BYTES = 4096
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


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file, enough for the checks below."""
    with open_input(path) as file:
        try:
            return file.read(_HEAD_BYTES)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error


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
