"""Commands that read and check streams: decode, info, verify."""

import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from imfcodec.cli.exits import EXIT_CONCEALED
from imfcodec.cli.moments import part_options, stop_of
from imfcodec.cli.options import (
    as_source,
    as_target,
    dtype_option,
    engine_option,
    json_option,
    limit_options,
    model_options,
    on_error_option,
    overwrite_option,
    progress_option,
    reporter,
    require_extra,
    require_file,
)
from imfcodec.cli.printing import print_fields, print_table, say, show
from imfcodec.errors import CorruptStreamError, UsageError

if TYPE_CHECKING:
    from imfcodec.api import DecodeStats
    from imfcodec.limits import Limits


@click.command()
@click.argument("source")
@click.argument("target")
@model_options
@dtype_option
@engine_option
@on_error_option
@click.option("--native", is_flag=True, help="Write the coded size, instead of scaling to the shown one.")
@click.option("--audio", type=click.Choice(["copy", "none"]), default="copy", show_default=True, help="Keep the sound?")
@click.option(
    "--codec",
    type=click.Choice(["h264", "hevc", "av1", "ffv1"]),
    help="Codec in .mp4 and .mkv. [default: .mp4: h264; .mkv: ffv1, lossless]",
)
@click.option(
    "--crf", type=click.IntRange(0, 63), help="Rate factor of that codec, 0 best. [default: visually lossless]"
)
@click.option("--extras-from", metavar="SOURCE", help="Copy the subtitles and chapters of this file to .mp4 and .mkv.")
@part_options
@click.option("--frames", type=click.IntRange(1), help="Frames to decode at most. [default: all]")
@limit_options
@overwrite_option
@progress_option
def decode(
    source: str,
    target: str,
    model: str | None,
    device: str,
    threads: int | None,
    dtype: str,
    engine: str,
    on_error: str,
    native: bool,
    audio: str,
    codec: str | None,
    crf: int | None,
    extras_from: str | None,
    start: Fraction | None,
    stop: Fraction | None,
    duration: Fraction | None,
    frames: int | None,
    limits: "Limits",
    overwrite: bool,
    progress: str,
) -> int:
    """Decode an .imf stream into .mp4, .mkv (FFV1), .y4m, a folder or %05d.png pattern, or Y4M to "-".

    .mp4 is H.264, visually lossless; .mkv and .y4m hold exactly the decoded frames. Y4M and pictures hold no sound.
    """
    from imfcodec import api

    with reporter(progress, "decode") as report:
        result = api.decode(
            as_source(source),
            as_target(target),
            model=model,
            device=device,
            threads=threads,
            dtype=dtype,
            engine=engine,
            conceal=on_error == "conceal",
            native=native,
            audio=audio,
            coding=api.VideoCoding(codec, crf) if codec or crf is not None else None,
            extras_from=extras_from,
            start=start,
            stop=stop_of(start, stop, duration),
            frames=frames,
            limits=limits,
            overwrite=overwrite,
            progress=report,
            say=report.say,
        )
    say(_decode_line(result))
    return EXIT_CONCEALED if result.has_losses else 0


@click.command()
@click.argument("stream", metavar="STREAM|SOURCE")
@json_option
@click.option("--packets", is_flag=True, help="List every packet of an .imf stream.")
@click.option(
    "--plot", metavar="OUT.html", help="Write a page: bits and quality over time, pictures (needs the model)."
)
@click.option("--reference", metavar="SOURCE", help="The video the stream was made of, for PSNR and SSIM on that page.")
@click.option("--model", metavar="NAME|PATH", help="Model for that page. [default: by stream]")
@overwrite_option
@limit_options
def info(
    stream: str,
    as_json: bool,
    packets: bool,
    plot: str | None,
    reference: str | None,
    model: str | None,
    overwrite: bool,
    limits: "Limits",
) -> None:
    """Show what an .imf stream holds, without a model, or the tracks of any media file."""
    from imfcodec.api import probe
    from imfcodec.reports import describe_packets, describe_source, describe_stream, is_stream

    if not plot and (reference or model):
        raise UsageError("--reference and --model are for the page that --plot writes; name it")
    if stream != "-" and not packets and not plot and not is_stream(stream):
        _show_source(describe_source(stream), as_json)
        return
    if packets or plot:
        require_file(stream)
    if plot:
        _plot(stream, plot, reference, model, overwrite, limits)
    report = describe_stream(probe(as_source(stream), limits=limits))
    rows = describe_packets(stream) if packets else []
    if as_json:
        click.echo(json.dumps({**report, "packet_list": rows} if packets else report, indent=1))
    else:
        print_fields(report)
        print_table(rows)


@click.command()
@click.argument("stream")
@click.option("--decode", "decode_fully", is_flag=True, help="Also decode every frame (needs the model).")
@model_options
@engine_option
@json_option
@limit_options
def verify(
    stream: str,
    decode_fully: bool,
    model: str | None,
    device: str,
    threads: int | None,
    engine: str,
    as_json: bool,
    limits: "Limits",
) -> None:
    """Check structure and checksums of an .imf stream; exit code 3 if it is damaged."""
    from imfcodec.api import decode_frames, probe

    if decode_fully:
        require_file(stream)
    try:
        total = probe(as_source(stream), limits=limits).total_frames
        if decode_fully:
            frames = decode_frames(stream, model=model, device=device, threads=threads, engine=engine, limits=limits)
            decoded = sum(1 for _ in frames)
            if decoded != total:
                raise CorruptStreamError(f"{stream}: {decoded} frames decode, the stream announces {total}")
    except CorruptStreamError as error:
        if as_json:
            click.echo(json.dumps({"stream": stream, "intact": False, "error": str(error)}))
        raise
    if as_json:
        click.echo(json.dumps({"stream": stream, "intact": True, "frames": total, "decoded": decode_fully}))
    else:
        show(f"{stream}: intact, {total} frames" + (", all decoded" if decode_fully else ""))


def _plot(
    stream: str, target: str, reference: str | None, model: str | None, overwrite: bool, limits: "Limits"
) -> None:
    require_extra("plotly", "bench")
    from imfcodec.evaluation.inspection import write_inspection

    write_inspection(stream, target, reference=reference, model=model, limits=limits, overwrite=overwrite)


def _show_source(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    rows = report.pop("tracks")
    print_fields(report)
    print_table(rows)


def _decode_line(stats: "DecodeStats") -> str:
    losses = f", {stats.concealed_frames} concealed, {stats.lost_packets} packets lost" if stats.has_losses else ""
    return f"{stats.frames} frames, {stats.duration_seconds:.2f} s, {stats.fps:.1f} fps{losses}"
