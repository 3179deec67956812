"""Training material: clips decoded once into a compact store, and the groups of frames that training steps take.

A store is a folder with one .npy a clip, uint8 [T, H * W * 3 / 2] (I420 frames, even sizes), and `index.json` with
{name: [frames, height, width]}. `training.prepare` makes stores. In stores of `training.pairs` a clip is a prediction,
both moved copies it was mixed from, and the frame that was predicted; a fourth number is the quantiser index of the
references, and two more files hold what else both sides know of the frame (`Knowledge`).
"""

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from imfcodec.errors import InputError
from imfcodec.nn.picture import Picture

Frames = npt.NDArray[np.uint8]

PAIR_FRAMES = 4
"""Pictures of a pair: the prediction, both moved copies, the target."""

NEAR_UNIT = 2
"""Mean magnitudes of two references' symbols are halves of whole numbers, and stored as whole ones."""

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

    @property
    def features(self) -> Path:
        """File of a pair's aligned features, float16 [C_16, H / 16, W / 16]."""
        return self.path.with_suffix(".features")

    @property
    def near(self) -> Path:
        """File of the magnitudes of its references' symbols of y, uint8 [C_y, H / 16, W / 16], `NEAR_UNIT` for one."""
        return self.path.with_suffix(".near")


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
    if not isinstance(value, list) or not all(isinstance(number, int) and number > 0 for number in value):
        return False
    return len(value) == 3 or (len(value) == 4 and value[0] == PAIR_FRAMES)


def _checked(clip: StoredClip) -> StoredClip:
    wanted = {clip.path: clip.frames * clip.height * clip.width * 3 // 2}
    if clip.qindex >= 0:
        wanted |= {clip.features: 1, clip.near: 1}
    for path, size in wanted.items():
        if not path.is_file() or path.stat().st_size < size:
            raise InputError(f"{path}: is missing or cut off; delete the store and prepare it again")
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


class Knowledge(NamedTuple):
    """What both sides know of the frames of pairs beside their predictions, zeros for other frames.

    Attributes:
        features: aligned features, float32 [B, C_16, S / 16, S / 16].
        near: mean magnitude of the references' symbols of y, float32 [B, C_y, S / 16, S / 16].
    """

    features: Tensor
    near: Tensor


class Batch:
    """The samples of one step, those of one process.

    No dataclass: Fabric would take that apart and round its numbers to the precision of the network.

    Attributes:
        step: number of the step, from 0.
        shape: of the groups.
        frames: uint8 [B, T, S * S * 3 / 2], I420.
        dice: float32 [B, `DICE`], uniform 0..1.
        qindex: int64 [B], of pairs; -1 for frames in a row.
        known: of pairs, None where there are none in the batch.
    """

    def __init__(
        self, step: int, shape: GroupShape, frames: Tensor, dice: Tensor, qindex: Tensor, known: Knowledge | None = None
    ) -> None:
        self.step, self.shape, self.frames, self.dice = step, shape, frames, dice
        self.qindex, self.known = qindex, known

    def pictures(self) -> list[Picture]:
        """The T frames of the groups, each a float32 picture of batch B."""
        side = math.isqrt(self.frames.shape[-1] * 2 // 3)
        return [as_pictures(frames, side, side) for frames in self.frames.unbind(1)]

    def pin_memory(self) -> "Batch":
        """A copy in page-locked memory; DataLoader calls this."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; from page-locked memory it travels asynchronously."""
        return self._each(lambda part: part.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        known = None if self.known is None else Knowledge(*map(change, self.known))
        return Batch(self.step, self.shape, change(self.frames), change(self.dice), change(self.qindex), known)


def as_pictures(frames: Frames | Tensor, height: int, width: int, device: torch.device | str | None = None) -> Picture:
    """I420 frames uint8 [B, H * W * 3 / 2] as a float32 picture batch; `device` None leaves them where they are."""
    stored = frames if isinstance(frames, Tensor) else torch.from_numpy(np.array(frames))  # maps are read-only
    flat = stored.to(device).float() / 255 - 0.5
    luma = flat[:, : height * width].reshape(-1, 1, height, width)
    return Picture(luma, flat[:, height * width :].reshape(-1, 2, height // 2, width // 2))
