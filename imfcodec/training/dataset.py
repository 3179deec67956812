"""Training material: decoded once into a compact store, then read as uint8 without decoding.

A store holds one .npy a clip, uint8 [T, H * W * 3 / 2] (I420 frames, even sizes), and `index.json` with
{name: [frames, height, width]}.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from imfcodec.errors import InputError
from imfcodec.nn.picture import Picture

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class StoredClip:
    """One clip of a store: `data` uint8 [T, H * W * 3 / 2], memory-mapped."""

    name: str
    data: Frames
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.data)


def load_store(folder: Path) -> list[StoredClip]:
    """All clips of a store, memory-mapped.

    Raises:
        InputError: the folder is not a store.
    """
    index = folder / "index.json"
    if not index.is_file():
        raise InputError(f"{folder} holds no index.json; make a store with imfcodec.training.prepare first")
    entries = json.loads(index.read_text())
    return [
        StoredClip(name, np.load(folder / f"{name}.npy", mmap_mode="r"), height, width)
        for name, (_, height, width) in sorted(entries.items())
    ]


class GroupSampler:
    """Draws groups of frames: random clip, start, crop and flips, the same for all frames of a group.

    Args:
        clips: long enough clips are used with a chance proportional to the root of their length.
        size: crop height and width, a multiple of 64.
        seed: of the generator; its state can be saved for exact resume.
    """

    def __init__(self, clips: list[StoredClip], size: int, seed: int) -> None:
        self.size = size
        self.generator = np.random.default_rng(seed)
        self.clips = [clip for clip in clips if min(clip.height, clip.width) >= size]

    def draw(self, gaps: list[int]) -> npt.NDArray[np.uint8]:
        """One group: frames at offsets 0, gaps[0], gaps[1], ... as uint8 [len(gaps) + 1, size * size * 3 / 2].

        Time runs backwards in half of the draws. Clips shorter than the last offset are passed over.
        """
        span = max(gaps, default=0)
        fitting = [clip for clip in self.clips if len(clip) > span]
        weights = np.sqrt([len(clip) for clip in fitting])
        clip = fitting[self.generator.choice(len(fitting), p=weights / weights.sum())]
        start = self.generator.integers(len(clip) - span)
        offsets = np.array([0, *gaps])
        if self.generator.random() < 0.5:
            offsets = span - offsets
        frames = [clip.data[start + offset] for offset in offsets]
        return np.stack(self._crop(clip, frames))

    def _crop(self, clip: StoredClip, frames: list[Frames]) -> list[Frames]:
        size, half = self.size, self.size // 2
        top = int(self.generator.integers((clip.height - size) // 2 + 1)) * 2
        left = int(self.generator.integers((clip.width - size) // 2 + 1)) * 2
        step = -1 if self.generator.random() < 0.5 else 1
        luma = clip.height * clip.width
        cropped = []
        for frame in frames:
            y = frame[:luma].reshape(clip.height, clip.width)[top : top + size, left : left + size][:, ::step]
            uv = frame[luma:].reshape(2, clip.height // 2, clip.width // 2)
            uv = uv[:, top // 2 : top // 2 + half, left // 2 : left // 2 + half][:, :, ::step]
            cropped.append(np.concatenate([y.reshape(-1), uv.reshape(-1)]))
        return cropped


def as_pictures(frames: Frames, height: int, width: int, device: torch.device | str = "cpu") -> Picture:
    """I420 frames uint8 [B, H * W * 3 / 2] as a float32 picture batch."""
    flat = torch.from_numpy(np.ascontiguousarray(frames)).to(device).float() / 255 - 0.5
    luma = flat[:, : height * width].reshape(-1, 1, height, width)
    return Picture(luma, flat[:, height * width :].reshape(-1, 2, height // 2, width // 2))
