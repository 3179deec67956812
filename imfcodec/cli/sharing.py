"""Commands that bring streams to other programs: mux, demux, play."""

from typing import TYPE_CHECKING

import click

from imfcodec.cli.options import (
    as_target,
    dtype_option,
    limit_options,
    model_options,
    on_error_option,
    overwrite_option,
)
from imfcodec.cli.printing import say

if TYPE_CHECKING:
    from imfcodec.limits import Limits


@click.command()
@click.argument("stream")
@click.argument("target")
@overwrite_option
def mux(stream: str, target: str, overwrite: bool) -> None:
    """Put an .imf stream into an .mp4 or .mkv beside its sound, which other players play; they pass over the stream."""
    from imfcodec.muxing import mux

    mux(stream, target, overwrite=overwrite)


@click.command()
@click.argument("source")
@click.argument("target")
@overwrite_option
def demux(source: str, target: str, overwrite: bool) -> None:
    """Take an .imf stream out of the .mp4 or .mkv that `mux` made, byte by byte as it was."""
    from imfcodec.muxing import demux

    demux(source, as_target(target), overwrite=overwrite)


@click.command()
@click.argument("stream")
@click.option("--player", type=click.Choice(["ffplay", "mpv"]), help="Player to use. [default: the first there is]")
@on_error_option
@model_options
@dtype_option
@limit_options
def play(
    stream: str,
    player: str | None,
    on_error: str,
    model: str | None,
    device: str,
    threads: int | None,
    dtype: str,
    limits: "Limits",
) -> None:
    """Play an .imf stream in a window of ffplay or mpv, decoding as it goes."""
    from imfcodec.playing import find_player, play

    play(
        stream,
        player=find_player(player),
        model=model,
        device=device,
        threads=threads,
        dtype=dtype,
        conceal=on_error == "conceal",
        limits=limits,
        say=lambda line: say(f"imfcodec: {line}"),
    )
