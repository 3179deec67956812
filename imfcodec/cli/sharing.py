"""Commands that bring streams to other programs: mux, demux, play, page, serve."""

import os
import tempfile
import webbrowser
from typing import TYPE_CHECKING

import click

from imfcodec.cli.exits import EXIT_CONCEALED
from imfcodec.cli.options import (
    as_target,
    dtype_option,
    limit_options,
    model_options,
    on_error_option,
    options,
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
        say=_say_note,
    )


def _say_note(line: str) -> None:
    say(f"imfcodec: {line}")


def _named_videos(context: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Files by name, of NAME=FILE; without a name one goes by that of the file."""
    videos: dict[str, str] = {}
    for value in values:
        name, has_name, path = value.partition("=")
        if not has_name:
            name, path = os.path.basename(value), value
        if not (name.strip() and path):
            raise click.BadParameter(f"{value!r} is not NAME=FILE, e.g. AV1=av1.mp4.")
        if name in videos:
            raise click.BadParameter(f"two videos go by the name {name!r}; give each its own, as NAME=FILE.")
        videos[name] = path
    return videos


page_options = options(
    click.option(
        "--beside",
        multiple=True,
        callback=_named_videos,
        metavar="[NAME=]FILE",
        help="A video to play beside the stream, in step with it and with its rate; may be given again.",
    ),
    click.option("--model", metavar="DIR", help="Model made by export. [default: the package's, exported if need be]"),
    click.option("--runtime", metavar="DIR", help="onnxruntime-web. [default: node_modules here or above]"),
    click.option(
        "--on-error",
        type=click.Choice(["stop", "conceal"]),
        default="stop",
        show_default=True,
        help="Damage: stop at it, or take the stream all the same, to be played up to there (exit code 6).",
    ),
)


@click.command()
@click.argument("streams", nargs=-1, required=True, metavar="STREAM...")
@click.argument("folder", metavar="DIR")
@page_options
@overwrite_option
def page(
    streams: tuple[str, ...],
    folder: str,
    beside: dict[str, str],
    model: str | None,
    runtime: str | None,
    on_error: str,
    overwrite: bool,
) -> int:
    """Write a web page to DIR that plays .imf streams in the browser; any web server can serve it."""
    from imfcodec.web.pages import write_page

    damaged = write_page(
        streams,
        folder,
        model=model,
        runtime=runtime,
        overwrite=overwrite,
        conceal=on_error == "conceal",
        beside=beside,
        say=_say_note,
    )
    return EXIT_CONCEALED if damaged else 0


@click.command()
@click.argument("streams", nargs=-1, required=True, metavar="STREAM...")
@page_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port. [default: a free one]")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
def serve(
    streams: tuple[str, ...],
    beside: dict[str, str],
    model: str | None,
    runtime: str | None,
    on_error: str,
    port: int,
    opens: bool,
) -> None:
    """Play .imf streams in the browser of this machine: prints the address of the page, and serves it until Ctrl-C."""
    from imfcodec.web.pages import write_page
    from imfcodec.web.serving import PageServer

    with tempfile.TemporaryDirectory(prefix="imfcodec-") as folder:
        write_page(
            streams,
            f"{folder}/page",
            model=model,
            runtime=runtime,
            conceal=on_error == "conceal",
            beside=beside,
            say=_say_note,
        )
        with PageServer(f"{folder}/page", port) as server:
            click.echo(server.url)
            if opens:
                webbrowser.open(server.url)
            server.serve_forever()
