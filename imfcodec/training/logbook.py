"""Figures of a run: a line of JSON and TensorBoard scalars now and then, warnings where something is wrong."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from imfcodec.files import named_errors
from imfcodec.training.watch import find_problems


class Logbook:
    """Collects figures of steps and writes their means.

    Args:
        run: folder for `log.jsonl` and TensorBoard's event files; None keeps nothing (processes other than the first).
        say: is told of each entry and each warning, one line.
    """

    def __init__(self, run: Path | None, say: Callable[[str], None]) -> None:
        self._path = run / "log.jsonl" if run else None
        self._board = SummaryWriter(str(run)) if run else None
        self._say = say
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, figures: Mapping[str, Tensor]) -> None:
        """Take in the figures of one step; they stay on their device."""
        for name, value in figures.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.detach()
            self._counts[name] += 1

    def means(self) -> dict[str, float]:
        """Means since the last call."""
        names = list(self._sums)
        values = torch.stack([self._sums[name] / self._counts[name] for name in names]).tolist() if names else []
        self._sums.clear()
        self._counts.clear()
        return dict(zip(names, values, strict=True))

    def write(self, step: int, seconds: float, figures: Mapping[str, float]) -> list[str]:
        """Write an entry; returns its warnings."""
        problems = find_problems(dict(figures))
        if self._path is None or self._board is None:
            return problems
        rounded = {name: float(f"{value:.6g}") for name, value in figures.items()}
        entry = {"step": step, "seconds": round(seconds, 1), **rounded, **({"warnings": problems} if problems else {})}
        with named_errors(str(self._path)), self._path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)
        for problem in problems:
            self._say(f"warning, step {step}: {problem}")
        return problems

    def pictures(self, step: int, pictures: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        """Write pictures, uint8 [H, W, 3] each."""
        if self._board is not None:
            for name, picture in pictures.items():
                self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush what is not yet on disk."""
        if self._board is not None:
            self._board.close()
