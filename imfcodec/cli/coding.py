"""Commands that make, read and check streams: encode, decode, info, verify."""

import json
from typing import TYPE_CHECKING, Any

import click

from imfcodec.cli.exits import EXIT_CONCEALED
from imfcodec.cli.options import (
    as_source,
    as_target,
    dtype_option,
    json_option,
    limit_options,
    model_options,
    overwrite_option,
    parse_rate,
    progress_option,
    raw_options,
    raw_spec,
    reporter,
    require_file,
    source_options,
)
from imfcodec.cli.printing import print_fields, print_table, say, write_text
from imfcodec.errors import CorruptStreamError
from imfcodec.files import check_distinct, check_target

if TYPE_CHECKING:
    from imfcodec.api import DecodeStats, EncodeStats
    from imfcodec.limits import Limits


@click.command()
@click.argument("source")
@click.argument("target")
@click.option(
    "-q", "--quality", type=click.FloatRange(0, 100), default=50, show_default=True, help="0 smallest to 100 best."
)
@click.option(
    "--structure",
    type=click.Choice(["offline", "low-delay"]),
    default="offline",
    show_default=True,
    help="offline looks ahead; low-delay sends each frame on its own.",
)
@click.option("--golden-interval", type=int, help="Frames between references, 1 to 32. [default: by content]")
@click.option("--key-interval", type=int, help="Frames between key frames. [default: start and scene cuts]")
@click.option(
    "--audio",
    default="copy",
    show_default=True,
    metavar="copy|opus[:RATE]|none",
    help="What to do with sound, e.g. opus:12k.",
)
@model_options
@dtype_option
@raw_options
@source_options
@limit_options
@overwrite_option
@click.option("--stats", metavar="FILE", help="Write the figures of the last line to a JSON file.")
@progress_option
def encode(
    source: str,
    target: str,
    quality: float,
    structure: str,
    golden_interval: int | None,
    key_interval: int | None,
    audio: str,
    model: str | None,
    device: str,
    threads: int | None,
    dtype: str,
    size: str | None,
    rate: str | None,
    video_track: int | None,
    audio_track: str | None,
    strict: bool,
    allow_gaps: bool,
    deinterlace: bool | None,
    limits: "Limits",
    overwrite: bool,
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

    raw = raw_spec(size, rate)
    reading = api.SourceOptions(
        parse_rate(None if raw else rate), video_track, audio_track, strict, allow_gaps, deinterlace
    )
    with reporter(progress, "encode") as report:
        result = api.encode(
            as_source(source),
            as_target(target),
            quality=quality,
            structure=structure,
            golden_interval=golden_interval,
            key_interval=key_interval,
            audio=audio,
            model=model,
            device=device,
            threads=threads,
            dtype=dtype,
            raw=raw,
            source_options=reading,
            limits=limits,
            overwrite=overwrite,
            progress=report,
            say=report.say,
        )
    say(_encode_line(result))
    if stats:
        write_text(stats, json.dumps(result.to_dict(), indent=1), overwrite=overwrite)
    return EXIT_CONCEALED if result.cut_off else 0


@click.command()
@click.argument("source")
@click.argument("target")
@model_options
@dtype_option
@click.option(
    "--on-error",
    type=click.Choice(["stop", "conceal"]),
    default="stop",
    show_default=True,
    help="Damage: stop at it, or go on and make up what is lost (exit code 6).",
)
@click.option("--audio", type=click.Choice(["copy", "none"]), default="copy", show_default=True, help="Keep the sound?")
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
    on_error: str,
    audio: str,
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
            on_error=on_error,
            audio=audio,
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
@limit_options
def info(stream: str, as_json: bool, packets: bool, limits: "Limits") -> None:
    """Show what an .imf stream holds, without a model, or the tracks of any media file."""
    from imfcodec.api import probe
    from imfcodec.reports import describe_packets, describe_source, describe_stream, is_stream

    if stream != "-" and not packets and not is_stream(stream):
        _show_source(describe_source(stream), as_json)
        return
    if packets:
        require_file(stream)
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
@json_option
@limit_options
def verify(
    stream: str,
    decode_fully: bool,
    model: str | None,
    device: str,
    threads: int | None,
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
            frames = decode_frames(stream, model=model, device=device, threads=threads, limits=limits)
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
        click.echo(f"{stream}: intact, {total} frames" + (", all decoded" if decode_fully else ""))


def _show_source(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    rows = report.pop("tracks")
    print_fields(report)
    print_table(rows)


def _encode_line(stats: "EncodeStats") -> str:
    parts = ", ".join(f"{kind} {kbps:.2f}" for kind, kbps in stats.kbps_by_kind.items())
    return (
        f"{stats.frames} frames, {stats.duration_seconds:.2f} s, {stats.byte_count} bytes, "
        f"{stats.kbps:.2f} kbps ({parts}), {stats.fps:.1f} fps{_source_state(stats)}"
    )


def _source_state(stats: "EncodeStats") -> str:
    state = f", {stats.damage}" if stats.damage else ""
    return state + (", source cut off" if stats.cut_off else "")


def _decode_line(stats: "DecodeStats") -> str:
    losses = f", {stats.concealed_frames} concealed, {stats.lost_packets} packets lost" if stats.has_losses else ""
    return f"{stats.frames} frames, {stats.duration_seconds:.2f} s, {stats.fps:.1f} fps{losses}"
