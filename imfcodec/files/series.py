"""Names of numbered series such as "shot_%03d.png"; %% stands for a percent sign of the name itself."""

import re

_PERCENT = re.compile(r"(%%|%\d{0,2}d|%)")


def series_names(pattern: str) -> re.Pattern[str] | None:
    """What the names of a series look like, the number as a group; None where a name is no pattern of a series.

    A pattern has one number and no other single percent sign; `pattern % number` is the name of a file.
    """
    parts = _PERCENT.split(pattern)
    numbers = [mark for mark in parts[1::2] if mark != "%%"]
    if len(numbers) != 1 or numbers == ["%"]:
        return None
    names = {"%%": "%", numbers[0]: r"( *\d+)"}
    return re.compile("".join(names.get(part, re.escape(part)) for part in parts))
