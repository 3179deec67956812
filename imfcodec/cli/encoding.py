"""The command that makes streams, and its options.

Each option that says what to make of the source is named after a field of `api.EncodeOptions`; the command gets them as
one such object.
"""

import functools
import json
from dataclasses import fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from imfcodec.cli.exits import EXIT_CONCEALED
from imfcodec.cli.moments import edit_options, part_options, stop_of
from imfcodec.cli.options import (
    Command,
    Number,
    as_source,
    as_target,
    dtype_option,
    limit_options,
    model_options,
    options,
    overwrite_option,
    parse_rate,
    progress_option,
    raw_options,
    raw_spec,
    reporter,
    source_options,
)
from imfcodec.cli.printing import say, write_text
from imfcodec.files import check_distinct, check_target

if TYPE_CHECKING:
    from imfcodec.api import EncodeOptions, EncodeStats
    from imfcodec.limits import Limits

codec_options = options(
    click.option(
        "-q", "--quality", type=click.FloatRange(0, 100), default=50, show_default=True, help="0 smallest to 100 best."
    ),
    click.option(
        "--structure",
        type=click.Choice(["offline", "low-delay"]),
        default="offline",
        show_default=True,
        help="offline looks ahead; low-delay sends each frame on its own.",
    ),
    click.option("--golden-interval", type=int, help="Frames between references, 1 to 32. [default: by content]"),
    click.option("--key-interval", "--keyint", type=int, help="Frames between key frames. [default: by need]"),
    click.option(
        "--scenecut/--no-scenecut", "scene_cuts", default=True, show_default=True, help="Key frames at scene cuts?"
    ),
    click.option("--resilience", is_flag=True, help="Losing a packet harms no frame from the next key frame on."),
    click.option(
        "--preset",
        type=click.Choice(["fast", "medium", "slow", "placebo"]),
        default="medium",
        show_default=True,
        help="How much work to take on; slow and placebo refine every frame.",
    ),
    click.option(
        "--spatial",
        type=click.FloatRange(0, 1000),
        default=0,
        show_default=True,
        help="Weight of likeness between places, in slow and placebo.",
    ),
    click.option(
        "--temporal",
        type=click.FloatRange(0, 1000),
        default=0,
        show_default=True,
        help="Weight of sameness along the motion, in slow and placebo.",
    ),
    click.option(
        "--roi",
        multiple=True,
        metavar="X,Y,W,H|face|MASK",
        help="What counts most: rectangles (repeat it), faces, or a picture or video whose grey level is the weight.",
    ),
    click.option(
        "--roi-strength",
        type=click.FloatRange(1, 1000),
        default=16,
        show_default=True,
        help="How many times as much errors count there as elsewhere.",
    ),
    click.option(
        "--audio",
        default="copy",
        show_default=True,
        metavar="copy|opus[:RATE]|none",
        help="What to do with sound, e.g. opus:12k.",
    ),
    click.option(
        "--verify", is_flag=True, help="Decode what is written and compare it, before the target gets its name."
    ),
)


target_options = options(
    click.option(
        "-b", "--bitrate", type=Number(), metavar="BITS", help="Mean rate in bits/s, sound included, e.g. 6k."
    ),
    click.option("--target-size", type=Number(), metavar="BYTES", help="Size of the stream, e.g. 200k."),
    click.option("--target-psnr", type=float, metavar="DB", help="Mean PSNR-Y, 10 to 60 dB."),
    click.option("--target-ssim", type=float, metavar="S", help="Mean SSIM-Y (FFmpeg's), 0.1 to 0.999."),
    click.option("--target-xpsnr", type=float, metavar="DB", help="Mean XPSNR-Y, 10 to 70 dB."),
    click.option("--target-vmaf", type=float, metavar="V", help="VMAF, 1 to 100, where FFmpeg has it."),
    click.option("--vbv", type=Number(), metavar="BITS", help="Buffer of --bitrate in low delay. [default: 1 second]"),
    click.option(
        "--coded-size",
        default="auto",
        show_default=True,
        metavar="auto|WxH|SHARE",
        help="Size to code at, e.g. 640x360 or 1/2; auto tries some below the source's.",
    ),
    click.option("--min-fps", type=float, metavar="FPS", help="auto takes no larger size than is coded at this speed."),
)


def encode_options(command: Command) -> Command:
    """Options that reach the command as one argument `choices`, an `EncodeOptions`."""

    @functools.wraps(command)
    def with_choices(*arguments: Any, size: str | None, rate: str | None, **others: Any) -> Any:
        from imfcodec.api import Edits, EncodeOptions, SourceOptions

        raw = raw_spec(size, rate)
        start, stop, duration = (others.pop(name) for name in ("start", "stop", "duration"))
        edits = Edits(start or Fraction(0), stop_of(start, stop, duration), **_take(others, Edits))
        reading = SourceOptions(rate=parse_rate(None if raw else rate), **_take(others, SourceOptions))
        choices = EncodeOptions(raw=raw, source_options=reading, edits=edits, **_take(others, EncodeOptions))
        return command(*arguments, choices=choices, **others)

    return options(codec_options, target_options, part_options, edit_options, raw_options, source_options)(with_choices)


def _take(values: dict[str, Any], kind: type) -> dict[str, Any]:
    """Take those values out that are named after a field of a class."""
    names = {field.name for field in fields(kind)}
    return {name: values.pop(name) for name in names & values.keys()}


@click.command()
@click.argument("source")
@click.argument("target")
@encode_options
@model_options
@dtype_option
@limit_options
@overwrite_option
@click.option(
    "--resume", is_flag=True, help="Keep what is written if the run is ended, and go on with it; whole groups count."
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 4096),
    help="Code groups of a file side by side in so many processes, with --threads or 1 each: the bytes of one job, "
    "sooner where scene cuts or --key-interval make several groups.",
)
@click.option("--stats", metavar="FILE", help="Write the figures of the last line to a JSON file.")
@progress_option
def encode(
    source: str,
    target: str,
    choices: "EncodeOptions",
    model: str | None,
    device: str,
    threads: int | None,
    dtype: str,
    limits: "Limits",
    overwrite: bool,
    resume: bool,
    jobs: int | None,
    stats: str | None,
    progress: str,
) -> int:
    """Encode a video file, or Y4M from "-", into an .imf stream.

    What is damaged, left out or changed is said in one line each; exit code 6 if the source is cut off.
    """
    check_distinct([as_source(source), model], [as_target(target), stats])
    if stats:
        check_target(stats, overwrite=overwrite)
    from imfcodec import api

    with reporter(progress, "encode") as report:
        result = api.encode(
            as_source(source),
            as_target(target),
            choices,
            model=model,
            device=device,
            threads=threads,
            dtype=dtype,
            limits=limits,
            overwrite=overwrite,
            resume=resume,
            jobs=jobs,
            progress=report,
            say=report.say,
        )
    say(_encode_line(result))
    if stats:
        write_text(stats, json.dumps(result.to_dict(), indent=1), overwrite=overwrite)
    return EXIT_CONCEALED if result.cut_off else 0


def _encode_line(stats: "EncodeStats") -> str:
    parts = ", ".join(f"{kind} {kbps:.2f}" for kind, kbps in stats.kbps_by_kind.items())
    return (
        f"{stats.frames} frames, {stats.duration_seconds:.2f} s, {stats.byte_count} bytes, "
        f"{stats.kbps:.2f} kbps ({parts}), {stats.fps:.1f} fps{_passes(stats)}{_source_state(stats)}"
    )


def _passes(stats: "EncodeStats") -> str:
    return f" in the last of {stats.passes} passes" if stats.passes > 1 else ""


def _source_state(stats: "EncodeStats") -> str:
    state = f", {stats.damage}" if stats.damage else ""
    return state + (", source cut off" if stats.cut_off else "")
