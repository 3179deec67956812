"""Decode videos and photos once into stores (see `training.dataset`)."""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from imfcodec.errors import ImfError, InputError
from imfcodec.files import list_folder, make_folder, write_beside
from imfcodec.frames import Frame
from imfcodec.terminal import printable
from imfcodec.training.dataset import Frames, StoredClip, load_store, read_index
from imfcodec.video.reader import open_clip


def open_stores(sources: Sequence[Path], cache: Path) -> list[list[StoredClip]]:
    """The clips of stores, and of videos and photos, which are decoded into stores in `cache` first.

    Args:
        sources: each a store, a folder of videos and photos (without the folders in it), or one video.
        cache: holds a store for each source that is none; it is used again, and only what is newer is decoded.
    Raises:
        InputError: a source is missing or holds nothing that can be read.
    """
    for source in sources:
        if not _is_store(source):
            _files(source)  # a missing one is known before the others are decoded
    return [load_store(_store_of(source, cache)) for source in sources]


def _is_store(source: Path) -> bool:
    return (source / "index.json").is_file()


def _store_of(source: Path, cache: Path) -> Path:
    if _is_store(source):
        return source
    digest = hashlib.sha256(str(source.resolve()).encode()).hexdigest()
    store = cache / f"{source.resolve().name}-{digest[:8]}"
    prepare(source, store)
    return store


def prepare(folder: Path, store: Path) -> int:
    """Decode every readable file of `folder`, or a single file, into `store`.

    Clips that are there already are kept unless their file is newer; those whose file is gone leave the index. Files
    that cannot be read are named on standard error.

    Returns:
        The number of clips in the store.
    Raises:
        InputError: the folder is missing, or nothing in it can be read.
    """
    files = _files(folder)
    make_folder(store)
    known = read_index(store) if (store / "index.json").exists() else {}
    index = {file.name: known[file.name] for file in files if file.name in known}
    try:
        for file in files:
            target = store / f"{file.name}.npy"
            if file.name not in index or _is_newer(file, target):
                index.pop(file.name, None)
                _decode_into(index, file, target)
    finally:  # an interruption costs no more than the clip at hand
        with write_beside(store / "index.json") as out:
            out.write(json.dumps(index).encode())
    if not index:
        raise InputError(f"{folder}: holds no video or photo that can be read; name a folder of videos or photos")
    return len(index)


def _files(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name a folder of videos or photos")
    return [path for path in list_folder(folder) if path.is_file() and not path.name.startswith(".")]


def _is_newer(file: Path, target: Path) -> bool:
    return not target.exists() or file.stat().st_mtime_ns > target.stat().st_mtime_ns


def _decode_into(index: dict[str, list[int]], file: Path, target: Path) -> None:
    try:
        index[file.name] = _decode(file, target)
    except ImfError as error:
        print(printable(f"left out: {error}"), file=sys.stderr)


def _decode(file: Path, target: Path) -> list[int]:
    """Write the frames of a video as they come; returns their number, height and width."""
    with open_clip(file, audio=False) as clip, write_beside(target) as out:
        height, width = clip.format.height // 2 * 2, clip.format.width // 2 * 2
        _write_header(out, 0, height, width)
        size = sum(out.write(_flatten(frame, height, width).data) for frame in clip.frames())
        count = size // (height * width * 3 // 2)
        out.seek(0)
        _write_header(out, count, height, width)
    return [count, height, width]


def _write_header(out: BinaryIO, count: int, height: int, width: int) -> None:
    """The header of a .npy file; its length is padded to a multiple of 64 and does not depend on `count`."""
    shape = (count, height * width * 3 // 2)
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _flatten(frame: Frame, height: int, width: int) -> Frames:
    """One I420 frame, an odd last row or column left off."""
    planes = (frame.y[:height, :width], frame.u[: height // 2, : width // 2], frame.v[: height // 2, : width // 2])
    return np.concatenate([plane.reshape(-1) for plane in planes])
