"""Checkpoints on disk: complete or not there, and read without running code from them."""

from pathlib import Path
from typing import Any

import torch

from imfcodec.errors import InputError
from imfcodec.files import write_beside
from imfcodec.nn.state import read_state


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays until the new one is complete."""
    with write_beside(path) as file:
        torch.save(state, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Raises:
        InputError: it is not one.
    """
    state = read_state(path, "the checkpoint.pt of a run")
    if "weights" not in state or "model" not in state:
        raise InputError(f"{path} is not a training checkpoint; give the checkpoint.pt of a run")
    return state
