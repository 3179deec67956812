"""Numbered picture series, "shots/%05d.png": which pictures there are, and where some are missing."""

import itertools
import re
from pathlib import Path

from imfcodec.errors import InputError

# Numbers for each picture there is, at most: names with dates in them are no series with gaps.
_MAX_SPREAD = 100
_NUMBER = re.compile(r"%(?:0(\d+))?d")


def is_series(path: str | Path) -> bool:
    """Whether a name is the pattern of a series: it has one number such as %05d or %d, and no file is called that."""
    return len(_NUMBER.findall(Path(path).name)) == 1 and not Path(path).exists()


def list_series(pattern: str | Path, *, allow_gaps: bool) -> list[Path | None]:
    """Return the pictures of a series in order, from the lowest number there is; None where one is missing.

    Raises:
        InputError: there is no picture, or one is missing and `allow_gaps` is False.
    """
    folder = Path(pattern).parent
    before, digits, after = _NUMBER.split(Path(pattern).name)
    own = re.compile(re.escape(before) + rf"(\d{{{max(1, int(digits or 1))},}})" + re.escape(after))
    found: dict[int, Path] = {}
    for file in folder.iterdir() if folder.is_dir() else ():
        match = own.fullmatch(file.name)
        # %03d writes 1234 in four digits, but never 0123.
        if match and match[1] == f"{int(match[1]):0{int(digits or 1)}d}":
            found[int(match[1])] = file
    if not found:
        raise InputError(f"{pattern}: no such pictures; check folder, name and number of digits")
    missing = _first_gap(sorted(found))
    if missing is not None and not allow_gaps:
        name = f"{before}{missing:0{int(digits or 1)}d}{after}"
        raise InputError(f"{pattern}: the picture {name} is missing; add it, or pass over gaps with --allow-gaps")
    if max(found) - min(found) > _MAX_SPREAD * len(found):
        raise InputError(f"{pattern}: most pictures of {min(found)} to {max(found)} are missing; number them anew")
    return [found.get(number) for number in range(min(found), max(found) + 1)]


def _first_gap(numbers: list[int]) -> int | None:
    return next((early + 1 for early, late in itertools.pairwise(numbers) if late > early + 1), None)
