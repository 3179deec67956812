"""Output files that are either complete or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imfcodec.errors import UsageError


def check_target(path: str | Path, *, overwrite: bool) -> None:
    """Check that an output can be written to `path`, before any work is done for it.

    Raises:
        UsageError: the file exists and `overwrite` is False, or its folder does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise UsageError(f"{target}: the folder {target.parent} does not exist; make it first")
    if target.is_file() and not overwrite:
        raise UsageError(f"{target} exists; choose another name or give -y to overwrite it")


@contextmanager
def write_beside(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for binary writing that takes the place of `path` when the block ends without an exception.

    Until then it lies beside the target under a temporary name; after an exception nothing is left of it. What is not a
    regular file (a pipe, a device) is written to as it is.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        with target.open("wb") as device:
            yield device
        return
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            yield file
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
