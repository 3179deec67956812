"""The shape of pixels in Matroska, which PyAV cannot pass to FFmpeg's writer: put into the finished file's head.

The head grows by a few bytes, and the padding that FFmpeg leaves before it shrinks by as many.
"""

from fractions import Fraction
from typing import BinaryIO, NamedTuple

from imfcodec.errors import ImfError

_HEAD_BYTES = 1 << 20
_SEGMENT, _SEEK_HEAD, _INFO, _TRACKS = (
    bytes.fromhex(text) for text in ("18538067", "114d9b74", "1549a966", "1654ae6b")
)
_SEEK, _SEEK_POSITION, _VOID = bytes.fromhex("4dbb"), bytes.fromhex("53ac"), b"\xec"
_TRACK_ENTRY, _VIDEO = b"\xae", b"\xe0"
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = (bytes.fromhex(text) for text in ("54b0", "54ba", "54b2"))
_UNIT_ASPECT_RATIO = 3


class _Element(NamedTuple):
    """Where an EBML element lies: its id, its size field, its payload up to `end`."""

    start: int
    size: int
    payload: int
    end: int


def set_display_aspect(file: BinaryIO, aspect: Fraction) -> None:
    """Say in a Matroska file made by FFmpeg, without checksums, how wide its first track is shown.

    Args:
        file: opened for reading and writing in place.
        aspect: width / height of the whole picture as shown, both below 2^32.
    Raises:
        ImfError: the file is not laid out as FFmpeg does it.
    """
    file.seek(0)
    head = bytearray(file.read(_HEAD_BYTES))
    length = len(head)
    _edit(head, aspect)
    assert len(head) == length
    file.seek(0)
    file.write(head)


def _edit(head: bytearray, aspect: Fraction) -> None:
    segment = _child(head, _Element(0, 0, 0, len(head)), _SEGMENT)
    seek_head, padding, tracks = (_child(head, segment, name) for name in (_SEEK_HEAD, _VOID, _TRACKS))
    entry = _child(head, tracks, _TRACK_ENTRY)
    video = _child(head, entry, _VIDEO)
    shape = (
        _number(_DISPLAY_WIDTH, aspect.numerator)
        + _number(_DISPLAY_HEIGHT, aspect.denominator)
        + _number(_DISPLAY_UNIT, _UNIT_ASPECT_RATIO)
    )
    kept = [child for child in _children(head, video) if not head.startswith(_DISPLAY_UNIT, child.start)]
    payload = b"".join(head[child.start : child.end] for child in kept) + shape
    grown = len(payload) - (video.end - video.payload)
    # From the back to the front, so that places found stay right.
    head[video.payload : video.end] = payload
    for master in (video, entry, tracks):
        _resize(head, master, grown)
    del head[padding.end - grown : padding.end]
    _resize(head, padding, -grown)
    for seek in _children(head, seek_head):
        position = _child(head, seek, _SEEK_POSITION)
        place = int.from_bytes(head[position.payload : position.end], "big")
        if padding.end - segment.payload <= place <= tracks.start - segment.payload:
            head[position.payload : position.end] = (place - grown).to_bytes(position.end - position.payload, "big")


def _children(data: bytearray, parent: _Element) -> list[_Element]:
    found, at = [], parent.payload
    while at < min(parent.end, len(data)):
        size_at = at + 9 - data[at].bit_length()
        width = 9 - data[size_at].bit_length() if size_at < len(data) else 9
        if width > 8:
            break
        size = int.from_bytes(data[size_at : size_at + width], "big") & ((1 << 7 * width) - 1)
        found.append(_Element(at, size_at, size_at + width, size_at + width + size))
        at = found[-1].end
    return found


def _child(data: bytearray, parent: _Element, name: bytes) -> _Element:
    for child in _children(data, parent):
        if data[child.start : child.size] == name:
            return child
    raise ImfError("FFmpeg lays out .mkv files in an unknown way, and the shape of pixels is lost; write .mp4")


def _resize(data: bytearray, element: _Element, change: int) -> None:
    width = element.payload - element.size
    size = element.end - element.payload + change
    if not 0 <= size < (1 << 7 * width) - 1:
        raise ImfError("there is no room in the .mkv file for the shape of pixels; write .mp4")
    data[element.size : element.payload] = (size | 1 << 7 * width).to_bytes(width, "big")


def _number(name: bytes, value: int) -> bytes:
    payload = value.to_bytes(max(1, -(-value.bit_length() // 8)), "big")
    return name + bytes([0x80 | len(payload)]) + payload
