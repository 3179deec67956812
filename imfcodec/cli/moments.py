"""Options that name a part of a video, and a change of its frames, as FFmpeg writes them."""

import re
from fractions import Fraction
from typing import Any

import click

from imfcodec.cli.options import fraction_of, options
from imfcodec.errors import UsageError

MAX_FPS = 1000


class Time(click.ParamType):
    """Seconds, or [HH:]MM:SS, with a fraction; exact."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        match = re.fullmatch(r"(?:(?:(\d{1,4}):)?([0-5]?\d):(?=[0-5]?\d(?:\.|$)))?(\d{1,9}(?:\.\d{1,9})?)", str(value))
        if not match:
            self.fail(f"{value} is not a time such as 7.3 or 1:02:03.5, in seconds or [HH:]MM:SS.", param, context)
        hours, minutes, seconds = match.groups()
        return int(hours or 0) * 3600 + int(minutes or 0) * 60 + Fraction(seconds)


class Rate(click.ParamType):
    """Frames per second, a number or a fraction."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Fraction:
        rate = fraction_of(str(value))
        if rate is None or not 0 < rate <= MAX_FPS:
            self.fail(f"{value} is not a rate above 0 and up to {MAX_FPS}, e.g. 25 or 30000/1001.", param, context)
        return rate


class Scale(click.ParamType):
    """WxH, or W:H as FFmpeg has it; -2 for one of them."""

    name = "scale"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(-2|\d{1,5})[x:](-2|\d{1,5})", str(value))
        if not match or match[1] == match[2] == "-2" or "0" in match.groups():
            self.fail(f"{value} is not a size such as 640x360, or -2:360 to keep the shape.", param, context)
        return int(match[1]), int(match[2])


class Crop(click.ParamType):
    """WxH+X+Y."""

    name = "crop"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[int, ...]:
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})", str(value))
        if not match or int(match[1]) < 2 or int(match[2]) < 2:
            self.fail(f"{value} is not a part such as 256x256+64+0, WxH+X+Y.", param, context)
        return tuple(map(int, match.groups()))


part_options = options(
    click.option("--ss", "start", type=Time(), metavar="TIME", help="Start here, e.g. 7.3 or 1:02:03.5."),
    click.option("--to", "stop", type=Time(), metavar="TIME", help="Stop before this time of the source."),
    click.option("-t", "duration", type=Time(), metavar="TIME", help="Stop after so long."),
)
edit_options = options(
    click.option("--fps", type=Rate(), metavar="R", help="Frames per second to code: repeats or leaves out frames."),
    click.option("--scale", type=Scale(), metavar="WxH|-2:H", help="Size to scale the frames to, after --crop."),
    click.option("--crop", type=Crop(), metavar="WxH+X+Y", help="Part of the frames to keep, in pixels as stored."),
)


def stop_of(start: Fraction | None, stop: Fraction | None, duration: Fraction | None) -> Fraction | None:
    """Where a part ends, in seconds; None at the end.

    Raises:
        UsageError: the part is given twice, or empty.
    """
    if stop is not None and duration is not None:
        raise UsageError("--to and -t both say where to stop; give one of them")
    end = stop if duration is None else (start or 0) + duration
    if end is not None and end <= (start or 0):
        raise UsageError(f"--to and -t must lie after --ss: from {float(start or 0):g} to {float(end):g} s is nothing")
    return None if end is None else Fraction(end)
