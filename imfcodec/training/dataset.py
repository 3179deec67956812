"""Training material: clips decoded once into a compact store, and the groups of frames that training steps take.

A store is a folder with one .npy a clip, uint8 [T, H * W * 3 / 2] (I420 frames, even sizes), and `index.json` with
{name: [frames, height, width]}. `training.prepare` makes stores. In stores of `training.pairs` a clip is a prediction
and the frame that was predicted, and a fourth number is the quantiser index of the references.
"""

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imfcodec.errors import InputError
from imfcodec.nn.picture import Picture

Frames = npt.NDArray[np.uint8]

DICE = 8
"""Uniform numbers that each sample of a batch brings for the objective's own draws."""


@dataclass(frozen=True)
class StoredClip:
    """One clip of a store.

    Attributes:
        path: the .npy file.
        frames: number of frames; 1 is a photo.
        height, width: luma size in pixels, even.
        qindex: of a prediction and its target; -1 for frames in a row.
    """

    path: Path
    frames: int
    height: int
    width: int
    qindex: int = -1

    def __len__(self) -> int:
        return self.frames

    @property
    def name(self) -> str:
        """Name of the clip within its store."""
        return self.path.stem

    @property
    def data(self) -> Frames:
        """The frames, uint8 [T, H * W * 3 / 2], memory-mapped and read-only."""
        return _map(self.path)


@functools.lru_cache(maxsize=256)  # a store may have more clips than a process may have open files
def _map(path: Path) -> Frames:
    return np.asarray(np.load(path, mmap_mode="r"))


def load_store(folder: Path) -> list[StoredClip]:
    """All clips of a store, by name; nothing is read of their frames.

    Raises:
        InputError: the folder is not a store, or one of its files is missing or cut off.
    """
    return [
        _checked(StoredClip(folder / f"{name}.npy", *map(int, shape)))
        for name, shape in sorted(read_index(folder).items())
    ]


def read_index(folder: Path) -> dict[str, list[int]]:
    """{name: [frames, height, width]} of a store, with the quantiser index of pairs.

    Raises:
        InputError: there is no index, or it is damaged.
    """
    path = folder / "index.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{folder}: is no store of training clips, it has no index.json") from None
    except ValueError:
        raise InputError(f"{path}: is not JSON; delete the store and prepare it again") from None
    if not isinstance(index, dict) or any(not _is_shape(shape) for shape in index.values()):
        raise InputError(f"{path}: is not the index of a store; delete the store and prepare it again")
    return index


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and len(value) in (3, 4) and all(isinstance(n, int) and n > 0 for n in value)


def _checked(clip: StoredClip) -> StoredClip:
    wanted = clip.frames * clip.height * clip.width * 3 // 2
    if not clip.path.is_file() or clip.path.stat().st_size < wanted:
        raise InputError(f"{clip.path}: is missing or cut off; delete the store and prepare it again")
    return clip


@dataclass(frozen=True)
class GroupShape:
    """What the samples of one step have in common; objectives add what else they draw.

    Attributes:
        offsets: the frames of a group, counted from its first one (0), ascending.
    """

    offsets: tuple[int, ...]


class ShapeSource(Protocol):
    """Draws the shape of a step's groups; objectives do."""

    def shape(self, generator: np.random.Generator) -> GroupShape:
        """The next shape; `generator` is all it may depend on."""
        ...


class Batch:
    """The samples of one step, those of one process.

    No dataclass: Fabric would take that apart and round its numbers to the precision of the network.

    Attributes:
        step: number of the step, from 0.
        shape: of the groups.
        frames: uint8 [B, T, S * S * 3 / 2], I420.
        dice: float32 [B, `DICE`], uniform 0..1.
        qindex: int64 [B], of pairs; -1 for frames in a row.
    """

    def __init__(self, step: int, shape: GroupShape, frames: Tensor, dice: Tensor, qindex: Tensor) -> None:
        self.step, self.shape, self.frames, self.dice, self.qindex = step, shape, frames, dice, qindex

    def pictures(self) -> list[Picture]:
        """The T frames of the groups, each a float32 picture of batch B."""
        side = math.isqrt(self.frames.shape[-1] * 2 // 3)
        return [as_pictures(frames, side, side) for frames in self.frames.unbind(1)]

    def pin_memory(self) -> "Batch":
        """A copy in page-locked memory; DataLoader calls this."""
        return Batch(self.step, self.shape, *(part.pin_memory() for part in (self.frames, self.dice, self.qindex)))

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; from page-locked memory it travels asynchronously."""
        parts = (part.to(device, non_blocking=True) for part in (self.frames, self.dice, self.qindex))
        return Batch(self.step, self.shape, *parts)


def as_pictures(frames: Frames | Tensor, height: int, width: int, device: torch.device | str | None = None) -> Picture:
    """I420 frames uint8 [B, H * W * 3 / 2] as a float32 picture batch; `device` None leaves them where they are."""
    stored = frames if isinstance(frames, Tensor) else torch.from_numpy(np.array(frames))  # maps are read-only
    flat = stored.to(device).float() / 255 - 0.5
    luma = flat[:, : height * width].reshape(-1, 1, height, width)
    return Picture(luma, flat[:, height * width :].reshape(-1, 2, height // 2, width // 2))
