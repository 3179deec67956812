"""What is refused before any work is done: names that cannot be written to, and files given twice."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import BinaryIO

from imfcodec.errors import OutputError, UsageError
from imfcodec.files.series import series_names

Place = str | Path | BinaryIO


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Turn failures of the system into an OutputError that names the target, and a name too long into a UsageError."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{name}: {error.strerror}; choose another name") from error
        raise OutputError(f"{name}: cannot be written: {error.strerror or error}") from error


def check_name(path: str | Path) -> None:
    """Check that a name can be one of a file.

    Raises:
        UsageError: it is empty, holds a null character, or the system does not take it (too long, a ring of links).
    """
    if not str(path):
        raise UsageError("the name of a file is empty")
    if "\0" in str(path):
        raise UsageError(f"{str(path)!r}: holds a null character, which no name of a file may; choose another name")
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # opening it will say so
        return
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; choose another name") from error


def check_target(path: str | Path, *, overwrite: bool) -> None:
    """Check that an output file can be written to `path`, before any work is done for it.

    Raises:
        UsageError: the file exists and `overwrite` is False, it is a folder, or its folder does not exist.
    """
    check_name(path)
    target = final_path(path)
    if str(path).endswith(os.sep) or os.path.isdir(path):
        raise UsageError(f"{path} is a folder; name a file in it")
    if not is_in_place(path) and not os.path.isdir(target.parent):
        folder = target.parent if os.path.islink(path) else Path(path).parent
        raise UsageError(f"{path}: the folder {folder} does not exist; make it first")
    if os.path.isfile(target) and not overwrite:
        raise UsageError(f"{path} exists already; choose another name or give -y to overwrite it")


def make_folder(path: Path) -> None:
    """Make a folder, and those around it, where they are missing.

    Raises:
        UsageError: the name can be none of a folder, or is one of a file.
        OutputError: the system refuses.
    """
    check_name(path)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: is a file; name a folder")
    with named_errors(str(path)):
        path.mkdir(parents=True, exist_ok=True)


def check_distinct(inputs: Iterable[Place | None], outputs: Iterable[Place | None]) -> None:
    """Check that no output is another output or an input, by whatever names; None stands for "not given".

    Raises:
        UsageError: one is, or has a name that can be none of a file.
    """
    sources, targets = ([place for place in places if place is not None] for places in (inputs, outputs))
    for place in (*sources, *targets):
        if isinstance(place, str | Path):
            check_name(place)
    for target in targets:
        if any(_is_same(source, target) for source in sources):
            raise UsageError(f"{_name(target)} is an input itself; choose another name")
    for one, other in combinations(targets, 2):
        if _is_same(one, other):
            raise UsageError(f"{_name(one)} and {_name(other)} are the same file; choose another name for one of them")


def final_path(path: str | Path) -> Path:
    """Where a name leads, all links followed as far as we may see them; the last part need not exist."""
    try:
        return Path(os.path.realpath(path))
    except OSError:
        return Path(os.path.abspath(path))


def is_in_place(path: str | Path) -> bool:
    """Whether a target is a pipe or device, or a file without a name: these are written to as they are."""
    if not os.path.exists(path) or os.path.isdir(path):
        return False
    final = final_path(path)
    return not (os.path.isfile(path) and os.path.exists(final) and os.path.samefile(final, path))


def _is_same(one: Place, other: Place) -> bool:
    first, second = _identity(one), _identity(other)
    return (first is not None and first == second) or _is_in_series(one, other) or _is_in_series(other, one)


def _is_in_series(file: Place, series: Place) -> bool:
    """Whether `series` is a pattern such as "%05d.png" and `file` one of its files."""
    if not isinstance(file, str | Path) or not isinstance(series, str | Path) or os.path.exists(series):
        return False
    path, pattern = final_path(file), final_path(series)
    own = series_names(pattern.name)
    return own is not None and path.parent == pattern.parent and bool(own.fullmatch(path.name))


def _identity(place: Place) -> object:
    """What is equal for all names of one file; None for what may stand twice, such as /dev/null."""
    try:
        known = os.stat(place) if isinstance(place, str | Path) else os.fstat(place.fileno())
    except FileNotFoundError:
        return str(final_path(place)) if isinstance(place, str | Path) else None
    except (OSError, ValueError, AttributeError):  # a name that `check_name` refuses, a stream that is no file
        return None
    may_repeat = stat.S_ISCHR(known.st_mode) or stat.S_ISSOCK(known.st_mode)
    return None if may_repeat else (known.st_dev, known.st_ino)


def _name(place: Place) -> str:
    return str(place if isinstance(place, str | Path) else getattr(place, "name", "the stream"))
