"""Commands that take streams apart and put them together: trim, concat, thumbnail."""

from fractions import Fraction
from typing import TYPE_CHECKING

import click

from imfcodec.cli.moments import Time, part_options, stop_of
from imfcodec.cli.options import as_target, dtype_option, limit_options, model_options, overwrite_option
from imfcodec.cli.printing import say

if TYPE_CHECKING:
    from imfcodec.api import EncodeStats
    from imfcodec.limits import Limits


@click.command()
@click.argument("source")
@click.argument("target")
@part_options
@model_options
@dtype_option
@limit_options
@overwrite_option
def trim(
    source: str,
    target: str,
    start: Fraction | None,
    stop: Fraction | None,
    duration: Fraction | None,
    model: str | None,
    device: str,
    threads: int | None,
    dtype: str,
    limits: "Limits",
    overwrite: bool,
) -> None:
    """Cut a part out of an .imf stream; packets are copied, only what a cut splits is encoded again."""
    from imfcodec import api

    result = api.trim(
        source,
        as_target(target),
        start=start or 0,
        stop=stop_of(start, stop, duration),
        model=api.Model(model, device=device, dtype=dtype, threads=threads),
        limits=limits,
        overwrite=overwrite,
    )
    say(_line(result))


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target")
@limit_options
@overwrite_option
def concat(sources: tuple[str, ...], target: str, limits: "Limits", overwrite: bool) -> None:
    """Join .imf streams of one model, size and rate, packet by packet; nothing is encoded again."""
    from imfcodec import api

    say(_line(api.concat(sources, as_target(target), limits=limits, overwrite=overwrite)))


@click.command()
@click.argument("stream")
@click.argument("target", metavar="OUT.png")
@click.option("--at", type=Time(), default="0", show_default=True, metavar="TIME", help="The frame shown at this time.")
@model_options
@dtype_option
@limit_options
@overwrite_option
def thumbnail(
    stream: str,
    target: str,
    at: Fraction,
    model: str | None,
    device: str,
    threads: int | None,
    dtype: str,
    limits: "Limits",
    overwrite: bool,
) -> None:
    """Write one frame of an .imf stream as a PNG picture, reading no more of the stream than it needs."""
    from imfcodec import api

    held = api.Model(model, device=device, dtype=dtype, threads=threads)
    api.thumbnail(stream, target, at=at, model=held, limits=limits, overwrite=overwrite)


def _line(stats: "EncodeStats") -> str:
    return f"{stats.frames} frames, {stats.duration_seconds:.2f} s, {stats.byte_count} bytes, {stats.kbps:.2f} kbps"
