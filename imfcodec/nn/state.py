"""State dicts on disk, read without running code from them."""

from pathlib import Path
from typing import Any

import torch

from imfcodec.errors import InputError


def read_state(path: str | Path, wanted: str) -> dict[str, Any]:
    """Read what `torch.save` wrote of a dict, to the CPU.

    Args:
        wanted: what the file should be, for the error message, e.g. "the checkpoint.pt of a run".
    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises what its archive reader and unpickler happen to raise
        reason = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__  # torch goes on for long
        raise InputError(f"{path} cannot be read; give {wanted}: {reason}") from None
    if not isinstance(state, dict):
        raise InputError(f"{path} holds no weights; give {wanted}")
    return state
