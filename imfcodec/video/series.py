"""Numbered picture series, "shots/%05d.png": which pictures there are, and where some are missing."""

import itertools
import os
from pathlib import Path

from imfcodec.errors import InputError
from imfcodec.files import list_folder, series_names

# Numbers for each picture there is, at most: names with dates in them are no series with gaps.
_MAX_SPREAD = 100


def is_series(path: str | Path) -> bool:
    """Whether a name is the pattern of a series, see `files.series_names`, and no file is called that."""
    return series_names(Path(path).name) is not None and not os.path.exists(path)


def list_series(pattern: str | Path, *, allow_gaps: bool) -> list[Path | None]:
    """Return the pictures of a series in order, from the lowest number there is; None where one is missing.

    Raises:
        InputError: there is no picture, or one is missing and `allow_gaps` is False.
    """
    found = _numbered(Path(pattern))
    if not found:
        raise InputError(f"{pattern}: no such pictures; check folder, name and number of digits")
    missing = _first_gap(sorted(found))
    if missing is not None and not allow_gaps:
        name = Path(pattern).name % missing
        raise InputError(f"{pattern}: the picture {name} is missing; add it, or pass over gaps with --allow-gaps")
    if max(found) - min(found) > _MAX_SPREAD * len(found):
        raise InputError(f"{pattern}: most pictures of {min(found)} to {max(found)} are missing; number them anew")
    return [found.get(number) for number in range(min(found), max(found) + 1)]


def _numbered(pattern: Path) -> dict[int, Path]:
    """The pictures of a series by number."""
    own = series_names(pattern.name)
    found: dict[int, Path] = {}
    for file in list_folder(pattern.parent) if os.path.isdir(pattern.parent) else ():
        match = own and own.fullmatch(file.name)
        # %03d writes 1234 in four digits, but never 0123.
        if match and file.name == pattern.name % int(match[1]):
            found[int(match[1])] = file
    return found


def _first_gap(numbers: list[int]) -> int | None:
    return next((early + 1 for early, late in itertools.pairwise(numbers) if late > early + 1), None)
