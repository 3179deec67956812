"""Model files before anything is made of them: safetensors, read by hand and checked in little time and memory.

A file is believed only as far as its bytes go: sizes are checked before memory is taken for them, and every number must
be finite. Needs no torch.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from imfcodec.config import ModelConfig
from imfcodec.errors import ImfError, InputError, ModelError
from imfcodec.files import open_input

MAX_HEADER_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 27
MAX_TENSORS = 1 << 14
MAX_DIMENSIONS = 8
_PIECE_BYTES = 1 << 20
_LENGTH_BYTES = 8
_TYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "I8": "<i1", "U8": "<u1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ModelFile:
    """What a model file says it holds.

    Attributes:
        config: of the network.
        model_id: first 8 bytes of the SHA-256 of the file.
        shapes: of the tensors by name.
    """

    config: ModelConfig
    model_id: bytes
    shapes: dict[str, Shape]

    @property
    def parameters(self) -> int:
        """Number of weights; tables do not count."""
        return sum(math.prod(shape) for name, shape in self.shapes.items() if not name.startswith("tables."))


@dataclass(frozen=True)
class _Entry:
    """One tensor: `start` and `end` count bytes from the end of the header."""

    kind: str
    shape: Shape
    start: int
    end: int


def read_model_file(path: Path, *, id_bytes: int = 8) -> ModelFile:
    """Read a model file's header; the weights are hashed, not checked.

    Raises:
        ModelError: it cannot be read, or is not a whole model file.
    """
    try:
        with open_input(path) as file:
            config, entries, _ = _read_header(file, path)
            file.seek(0)
            digest = hashlib.sha256()
            for piece in iter(lambda: file.read(_PIECE_BYTES), b""):
                digest.update(piece)
    except (InputError, OSError) as error:
        raise ModelError(str(error)) from None
    return ModelFile(config, digest.digest()[:id_bytes], {name: entry.shape for name, entry in entries.items()})


def check_model_file(path: Path) -> None:
    """Check a whole model file, its numbers too.

    Raises:
        ModelError: it is damaged, cut off, too large, or holds numbers that are not finite.
    """
    try:
        with open_input(path) as file:
            _, entries, start = _read_header(file, path)
            for name, entry in entries.items():
                file.seek(start + entry.start)
                if not all(_is_finite(piece, entry.kind) for piece in _pieces(file, entry.end - entry.start)):
                    raise ModelError(f"{path}: {name} holds numbers that are not finite; get the file again")
    except (InputError, OSError) as error:
        raise ModelError(str(error)) from None


def _read_header(file: BinaryIO, path: Path) -> tuple[ModelConfig, dict[str, _Entry], int]:
    """Configuration, tensors, and where these begin."""
    size = file.seek(0, 2)
    file.seek(0)
    if size > MAX_FILE_BYTES:
        raise ModelError(f"{path}: {size} bytes are more than a model has; give a file made by `imfcodec train`")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
        raise ModelError(f"{path}: is not a model file, or cut off; get it again")
    try:
        header = json.loads(file.read(length))
        config = ModelConfig.from_dict(json.loads(header.pop("__metadata__")["config"]))
        entries = {str(name): _entry(value) for name, value in header.items()}
    except ImfError as error:
        raise ModelError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{path}: holds no imfcodec model; give a file made by `imfcodec train`") from None
    start = _LENGTH_BYTES + length
    _check_layout(path, entries, size - start)
    return config, entries, start


def _entry(value: dict[str, Any]) -> _Entry:
    """Raises ValueError, KeyError or TypeError where the values are none of a tensor."""
    kind, shape, (start, end) = str(value["dtype"]), tuple(value["shape"]), value["data_offsets"]
    numbers = [*shape, start, end]
    if kind not in _TYPES or len(shape) > MAX_DIMENSIONS or any(type(n) is not int for n in numbers):
        raise ValueError
    if not all(0 <= n <= MAX_FILE_BYTES for n in numbers):
        raise ValueError
    if end - start != math.prod(shape) * np.dtype(_TYPES[kind]).itemsize:
        raise ValueError
    return _Entry(kind, shape, start, end)


def _check_layout(path: Path, entries: dict[str, _Entry], size: int) -> None:
    """The tensors fill the file: no holes, no overlap, nothing missing."""
    position = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != position:
            raise ModelError(f"{path}: its tensors overlap or leave holes; get the file again")
        position = entry.end
    if position != size or len(entries) > MAX_TENSORS:
        raise ModelError(f"{path}: has {size} bytes of weights instead of {position}; get the file again")


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = file.read(min(size, _PIECE_BYTES))
        if not piece:
            raise ModelError("a model file was cut off while it was read")
        size -= len(piece)
        yield piece


def _is_finite(data: bytes, kind: str) -> bool:
    numbers = np.frombuffer(data, _TYPES[kind])
    if kind == "BF16":
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers.dtype.kind != "f" or bool(np.isfinite(numbers).all())
