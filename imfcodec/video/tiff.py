"""How many pages a TIFF file holds: FFmpeg decodes the first one, and is silent about the others."""

from pathlib import Path
from typing import BinaryIO

from imfcodec.errors import InputError
from imfcodec.files import open_input

_HEADS = {b"II*\0": "little", b"MM\0*": "big"}
_ENTRY_BYTES, _MAX_PAGES = 12, 1 << 16
_SUBFILE_TYPE, _REDUCED = 254, 1


def count_pages(path: Path) -> int:
    """Number of pages of a TIFF file, smaller versions of others not counted; 0 for other files.

    Raises:
        InputError: it cannot be read.
    """
    with open_input(path) as file:
        try:
            return _count(file)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _count(file: BinaryIO) -> int:
    order = _HEADS.get(file.read(4))
    count = 0
    seen: set[int] = set()
    place = _number(file.read(4), order) if order else 0
    while place and place not in seen and len(seen) < _MAX_PAGES:  # pages may name each other in a circle
        seen.add(place)
        file.seek(place)
        entries = file.read(_ENTRY_BYTES * _number(file.read(2), order))
        count += bool(entries) and not _is_reduced(entries, order)
        place = _number(file.read(4), order)
    return count


def _is_reduced(entries: bytes, order: str | None) -> bool:
    for start in range(0, len(entries), _ENTRY_BYTES):
        if _number(entries[start : start + 2], order) == _SUBFILE_TYPE:
            return bool(_number(entries[start + 8 : start + 12], order) & _REDUCED)
    return False


def _number(data: bytes, order: str | None) -> int:
    return int.from_bytes(data, "big" if order == "big" else "little")
