"""The size at which pictures are coded, as the user may write it."""

import re
from fractions import Fraction

from imfcodec.errors import UsageError
from imfcodec.frames import MIN_SIDE

AUTO = "auto"
_FACTORS = tuple(Fraction(*factor) for factor in ((1, 8), (1, 6), (1, 4), (1, 3), (1, 2), (2, 3), (1, 1)))
_SHORTEST_SIDE = 240  # no smaller size is chosen for the user: models are trained on 256x256

Size = tuple[int, int]


def check_coded_size(text: str) -> None:
    """Raise UsageError unless `text` is "auto", WIDTHxHEIGHT, or a share of the size such as "1/2"."""
    coded_size(text, (1 << 20, 1 << 20))


def coded_size(text: str, source: Size) -> Size | None:
    """The size that `text` asks for; None where it leaves that to the encoder.

    Args:
        source: width and height of the frames.
    Raises:
        UsageError: it says no size, or one above the source's or below 16x16.
    """
    if text == AUTO:
        return None
    if match := re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text):
        size = int(match[1]), int(match[2])
    elif (match := re.fullmatch(r"(\d{1,3})(?:/(\d{1,3}))?", text)) and 0 < int(match[1]) <= int(match[2] or 1):
        size = scaled(source, Fraction(int(match[1]), int(match[2] or 1)))
    else:
        raise UsageError(f"--coded-size {text} is not auto, WIDTHxHEIGHT or a share from 1/999 to 1, e.g. 1/2")
    if min(size) < MIN_SIDE or size[0] > source[0] or size[1] > source[1]:
        raise UsageError(f"--coded-size {text} is not within {MIN_SIDE}x{MIN_SIDE} to {source[0]}x{source[1]}")
    return size


def scaled(source: Size, factor: Fraction) -> Size:
    """A share of a size, in even numbers of pixels; all of it as it is."""
    if factor == 1:
        return source
    width, height = (max(2, 2 * round(side * factor / 2)) for side in source)
    return width, height


def ladder(source: Size) -> list[tuple[Fraction, Size]]:
    """The sizes an encoder chooses from, with the share each is, from small to full."""
    sizes = [(factor, scaled(source, factor)) for factor in _FACTORS]
    return [(factor, size) for factor, size in sizes if factor == 1 or min(size) >= _SHORTEST_SIDE]
