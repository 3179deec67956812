"""Options that several commands share, and what their values mean."""

import functools
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from imfcodec.cli.process import limit_memory
from imfcodec.errors import UsageError
from imfcodec.progress import ProgressReporter, terminal_width

if TYPE_CHECKING:
    from imfcodec.video.reader import RawSpec

MAX_RATE = 100_000

Command = Callable[..., Any]


def options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several click options as one decorator, shown in the order given."""

    def apply(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


overwrite_option = click.option("-y", "--overwrite", is_flag=True, help="Overwrite existing output.")
on_error_option = click.option(
    "--on-error",
    type=click.Choice(["stop", "conceal"]),
    default="stop",
    show_default=True,
    help="Damage: stop at it, or go on and make up what is lost (exit code 6).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "lines", "json", "none"]),
    default="auto",
    show_default=True,
    help="How to show progress on stderr; auto is a bar on a terminal, else lines.",
)
raw_options = options(
    click.option("--size", metavar="WxH", help="Frame size of headerless .yuv input (8-bit 4:2:0)."),
    click.option(
        "--rate", metavar="R", help="Frame rate of input without time stamps (.yuv, pictures, .h264), e.g. 30000/1001."
    ),
)
source_options = options(
    click.option(
        "--video-track", type=click.IntRange(1), metavar="N", help="Video track, from 1. [default: as marked]"
    ),
    click.option("--audio-track", metavar="N|LANG", help="Sound track, from 1, or its language, e.g. eng."),
    click.option("--strict", is_flag=True, help="Damage in the source is an error (exit code 3)."),
    click.option("--allow-gaps", is_flag=True, help="Repeat the picture before where one of a series is missing."),
    click.option(
        "--deinterlace/--no-deinterlace", default=None, help="Deinterlace everything, or nothing. [default: as marked]"
    ),
)
model_options = options(
    click.option(
        "--model", metavar="NAME|PATH", help="Model to use. [default: encode: the best one; decode: by stream]"
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--threads", type=click.IntRange(1, 256), help="CPU threads. [default: all]"),
)
dtype_option = click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Arithmetic of the networks; auto is bfloat16 where the device has it.",
)

engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "onnx", "torch"]),
    default="auto",
    show_default=True,
    help="What computes: onnx needs no torch, but --model DIR, made by export; auto takes it where it can.",
)


def limit_options(command: Command) -> Command:
    """Options that reach the command as one argument `limits`; memory, if given, limits the whole process too."""

    @functools.wraps(command)
    def with_limits(
        *arguments: Any, max_pixels: int | None, max_frames: int | None, max_memory: int | None, **others: Any
    ) -> Any:
        from imfcodec.limits import BASE_BYTES, Limits

        given = {"max_pixels": max_pixels, "max_frames": max_frames, "max_memory": max_memory}
        if max_memory is not None:
            limit_memory(max(max_memory, BASE_BYTES))  # torch does not load in less
        limits = Limits(**{name: value for name, value in given.items() if value is not None})
        return command(*arguments, limits=limits, **others)

    return options(
        click.option("--max-pixels", type=click.IntRange(1), help="Pixels a frame may have. [default: 4096x2304]"),
        click.option("--max-frames", type=click.IntRange(1), help="Frames a video may have. [default: 16777216]"),
        click.option("--max-memory", type=ByteSize(), help="Memory coding may take, e.g. 2G. [default: 8G, estimated]"),
    )(with_limits)


class ByteSize(click.ParamType):
    """A number of bytes such as 500M or 2G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,15})([KMGT]?)(i?B)?", str(value), re.IGNORECASE)
        if not match or int(match[1]) < 1:
            self.fail(f"{value} is not a size such as 500M or 2G.", param, context)
        return int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ")


class Number(click.ParamType):
    """A number such as 6k, 1.5M or 6000; k, M and G stand for thousands."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?|\.\d{1,6})([kMG]?)", str(value))
        if not match:
            self.fail(f"{value} is not a number such as 6k or 1.5M.", param, context)
        return float(match[1]) * 1000 ** " kMG".index(match[2] or " ")


def as_source(name: str) -> str | BinaryIO:
    if name != "-":
        return name
    if sys.stdin is None:
        raise UsageError("standard input is closed; name a file")
    return sys.stdin.buffer


def as_target(name: str) -> str | BinaryIO:
    if name not in ("-", "/dev/stdout"):
        return name
    if sys.stdout is None:
        raise UsageError("standard output is closed; name a file")
    return sys.stdout.buffer


def require_file(name: str) -> None:
    if name == "-" or (os.path.exists(name) and not os.path.isfile(name)):
        raise UsageError(f"this reads the stream twice; give a file, not {name}")


def require_extra(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UsageError(f"this needs more packages; install them with: pip install 'imfcodec[{extra}]'")


def raw_spec(size: str | None, rate: str | None) -> "RawSpec | None":
    """Format of headerless input; None if no size is given."""
    if size is None:
        return None
    frame_rate = parse_rate(rate)
    if frame_rate is None:
        raise UsageError("headerless .yuv input needs both --size WxH and --rate R")
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", size)
    if not match:
        raise UsageError(f"--size {size} is not WIDTHxHEIGHT, e.g. 352x288")
    from imfcodec.video.reader import RawSpec

    return RawSpec(int(match[1]), int(match[2]), frame_rate)


def parse_rate(rate: str | None) -> Fraction | None:
    if rate is None:
        return None
    frame_rate = fraction_of(rate)
    if frame_rate is None:
        raise UsageError(f"--rate {rate} is not a number or fraction, e.g. 25 or 30000/1001")
    if not 0 < frame_rate <= MAX_RATE:
        raise UsageError(f"--rate {rate} must be above 0, and {MAX_RATE} at most")
    return frame_rate


def fraction_of(text: str) -> Fraction | None:
    """What "25", "29.97" or "30000/1001" stands for; None for anything else, powers of ten above all."""
    return Fraction(text) if re.fullmatch(r"\d{1,9}(\.\d{1,6}|/0*[1-9]\d{0,5})?", text, re.ASCII) else None


@contextmanager
def reporter(style: str, verb: str) -> Iterator[ProgressReporter]:
    terminal = os.environ.get("TERM", "")
    if style == "auto":
        style = "bar" if terminal and terminal_width(sys.stderr) else "lines"
    if style == "bar" and terminal == "dumb":
        style = "lines"
    reporter = ProgressReporter(style, verb, sys.stderr)
    try:
        yield reporter
    finally:
        reporter.close()
