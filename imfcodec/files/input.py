"""Input files."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from imfcodec.errors import InputError
from imfcodec.files.targets import check_name


def list_folder(path: Path) -> list[Path]:
    """What is in a folder, by name.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return sorted(path.iterdir())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


@contextmanager
def open_input(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for binary reading.

    Raises:
        UsageError: the name can be none of a file.
        InputError: it cannot be read.
    """
    check_name(path)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        yield file
