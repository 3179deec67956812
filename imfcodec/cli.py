"""The command line: parses options, calls the API, prints. A command imports heavy modules when it runs."""

import importlib.util
import json
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from imfcodec import __version__
from imfcodec.errors import CorruptStreamError, ImfError, ModelError, UsageError
from imfcodec.files import check_target, write_beside
from imfcodec.progress import ProgressReporter

if TYPE_CHECKING:
    from imfcodec.api import DecodeStats, EncodeStats
    from imfcodec.video.reader import RawSpec

EXIT_FAILURE = 1
EXIT_CONCEALED = 6
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

EXIT_CODES = """\b
Exit codes: 0 done, 1 the system failed (disk full, pipe closed), 2 usage,
3 corrupt or unreadable input, 4 a limit exceeded, 5 model missing or different,
6 decoded with concealed losses, 130 interrupted."""

Command = Callable[..., Any]


def _options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several click options as one decorator, shown in the order given."""

    def apply(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


overwrite_option = click.option("-y", "--overwrite", is_flag=True, help="Overwrite existing output.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "lines", "json", "none"]),
    default="auto",
    show_default=True,
    help="How to show progress on stderr; auto is a bar on a terminal, else lines.",
)
raw_options = _options(
    click.option("--size", metavar="WxH", help="Frame size of headerless .yuv input (8-bit 4:2:0)."),
    click.option("--rate", metavar="R", help="Frame rate of headerless .yuv input, e.g. 25 or 30000/1001."),
)
model_options = _options(
    click.option(
        "--model", metavar="NAME|PATH", help="Model to use. [default: encode: the best one; decode: by stream]"
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--threads", type=click.IntRange(1, 256), help="CPU threads. [default: all]"),
)
dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Arithmetic of the networks.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="imfcodec")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Neural video codec for a person talking on screen at a few kilobits per second.

    Files named "-" are standard input and output: Y4M for frames, .imf for streams.
    """


@cli.command()
@click.argument("source")
@click.argument("target")
@click.option(
    "-q", "--quality", type=click.IntRange(0, 100), default=50, show_default=True, help="0 smallest to 100 best."
)
@click.option(
    "--structure",
    type=click.Choice(["offline", "low-delay"]),
    default="offline",
    show_default=True,
    help="offline looks ahead; low-delay sends each frame on its own.",
)
@click.option("--golden-interval", type=int, help="Frames between references, 2 to 64. [default: by quality]")
@click.option("--key-interval", type=int, help="Frames between key frames. [default: start and scene cuts]")
@click.option(
    "--audio",
    default="copy",
    show_default=True,
    metavar="copy|opus:RATE|none",
    help="What to do with sound, e.g. opus:12k.",
)
@model_options
@raw_options
@overwrite_option
@click.option("--stats", metavar="FILE", help="Write the figures of the last line to a JSON file.")
@progress_option
def encode(
    source: str,
    target: str,
    quality: int,
    structure: str,
    golden_interval: int | None,
    key_interval: int | None,
    audio: str,
    model: str | None,
    device: str,
    threads: int | None,
    size: str | None,
    rate: str | None,
    overwrite: bool,
    stats: str | None,
    progress: str,
) -> None:
    """Encode a video file, or Y4M from "-", into an .imf stream."""
    if stats:
        check_target(stats, overwrite=overwrite)
    from imfcodec import api

    with _reporter(progress, "encode") as report:
        result = api.encode(
            _input(source),
            _output(target),
            quality=quality,
            structure=structure,
            golden_interval=golden_interval,
            key_interval=key_interval,
            audio=audio,
            model=model,
            device=device,
            threads=threads,
            raw=_raw_spec(size, rate),
            overwrite=overwrite,
            progress=report,
        )
    click.echo(_encode_line(result), err=True)
    if stats:
        _write_text(stats, json.dumps(result.to_dict(), indent=1))


@cli.command()
@click.argument("source")
@click.argument("target")
@model_options
@dtype_option
@click.option("--conceal", is_flag=True, help="Decode past damage, covering what is lost (exit code 6).")
@overwrite_option
@progress_option
def decode(
    source: str,
    target: str,
    model: str | None,
    device: str,
    threads: int | None,
    dtype: str,
    conceal: bool,
    overwrite: bool,
    progress: str,
) -> int:
    """Decode an .imf stream into .mp4, .mkv (FFV1), .y4m, a folder or %05d.png pattern, or Y4M to "-".

    .mp4 is H.264, visually lossless; .mkv and .y4m hold exactly the decoded frames. Y4M and pictures hold no sound.
    """
    from imfcodec import api

    with _reporter(progress, "decode") as report:
        result = api.decode(
            _input(source),
            _output(target),
            model=model,
            device=device,
            threads=threads,
            dtype=dtype,
            conceal=conceal,
            overwrite=overwrite,
            progress=report,
        )
    click.echo(_decode_line(result), err=True)
    return EXIT_CONCEALED if result.has_losses else 0


@cli.command()
@click.argument("stream")
@json_option
@click.option("--packets", is_flag=True, help="List every packet.")
def info(stream: str, as_json: bool, packets: bool) -> None:
    """Show what an .imf stream holds, without a model."""
    from imfcodec.api import probe
    from imfcodec.reports import describe_packets, describe_stream

    if packets:
        _require_file(stream)
    report = describe_stream(probe(_input(stream)))
    rows = describe_packets(stream) if packets else []
    if as_json:
        click.echo(json.dumps({**report, "packet_list": rows} if packets else report, indent=1))
    else:
        _print_fields(report)
        _print_table(rows)


@cli.command()
@click.argument("stream")
@click.option("--decode", "decode_fully", is_flag=True, help="Also decode every frame (needs the model).")
@model_options
@json_option
def verify(stream: str, decode_fully: bool, model: str | None, device: str, threads: int | None, as_json: bool) -> None:
    """Check structure and checksums of an .imf stream; exit code 3 if it is damaged."""
    from imfcodec.api import decode_frames, probe

    if decode_fully:
        _require_file(stream)
    total = probe(_input(stream)).total_frames
    if decode_fully:
        decoded = sum(1 for _ in decode_frames(stream, model=model, device=device, threads=threads))
        if decoded != total:
            raise CorruptStreamError(f"{stream}: {decoded} frames decode, the stream announces {total}")
    click.echo(f"{stream}: intact, {total} frames" + (", all decoded" if decode_fully else ""))


@cli.command()
@click.argument("reference")
@click.argument("distorted")
@raw_options
@click.option("--csv", "csv_path", metavar="FILE", help="Write figures per frame to a CSV file.")
@click.option("--json", "json_path", metavar="FILE", help="Write everything to a JSON file.")
@click.option("--per-frame", is_flag=True, help="Print figures of every frame too.")
@click.option("--all-metrics", is_flag=True, help="Also measure XPSNR and the warping error (flicker).")
@click.option("--lpips", "alexnet", metavar="FILE", help="Also measure LPIPS; FILE is torchvision's AlexNet.")
@overwrite_option
def compare(
    reference: str,
    distorted: str,
    size: str | None,
    rate: str | None,
    csv_path: str | None,
    json_path: str | None,
    per_frame: bool,
    all_metrics: bool,
    alexnet: str | None,
    overwrite: bool,
) -> None:
    """Measure how close DISTORTED is to REFERENCE: PSNR, SSIM, MS-SSIM.

    The last line shows how bad the worst frames are: the 5th percentile; of LPIPS and warping error the 95th.
    """
    for path in filter(None, (csv_path, json_path)):
        check_target(path, overwrite=overwrite)
    from imfcodec.evaluation.metrics import compare_files
    from imfcodec.evaluation.perceptual import Lpips

    report = compare_files(
        _input(reference),
        _input(distorted),
        raw=_raw_spec(size, rate),
        all_metrics=all_metrics,
        lpips=Lpips(Path(alexnet)) if alexnet else None,
    )
    if csv_path:
        _write_text(csv_path, report.to_csv())
    if json_path:
        _write_text(json_path, report.to_json())
    lines = [(str(index), frame) for index, frame in enumerate(report.frames)] if per_frame else []
    lines += [("mean", report.mean), ("5th percentile", report.percentile_5)]
    names = report.mean.measured()
    _print_table([{"frame": title, **{name: getattr(line, name) for name in names}} for title, line in lines])


@cli.command()
@json_option
def models(as_json: bool) -> None:
    """List the models that come with the package."""
    from imfcodec.api import list_models

    rows = list_models()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        _print_table(rows)


@cli.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check this installation: versions, device, FFmpeg codecs, weights (exit code 5 if they are not in order)."""
    from imfcodec.reports import diagnose

    report = diagnose()
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        _print_fields(report)
    if report["problem"]:
        raise ModelError(report["problem"])


@cli.command()
@click.argument("folder", default="demo")
@click.option("-q", "--quality", type=click.IntRange(0, 100), default=50, show_default=True)
@overwrite_option
@progress_option
def demo(folder: str, quality: int, overwrite: bool, progress: str) -> None:
    """Draw a talking face with sound, encode, decode and measure it; the files go to FOLDER."""
    from imfcodec.evaluation.demo import run_demo

    with _reporter(progress, "demo") as report:
        result = run_demo(Path(folder), quality=quality, overwrite=overwrite, progress=report)
    _print_fields(result)


@cli.command()
@click.argument("inputs", nargs=-1, metavar="[DIR|FILES]...")
@click.option("--out", default="bench", show_default=True, metavar="DIR", help="Folder for the results.")
@click.option(
    "--codecs",
    metavar="LIST",
    help="imfcodec, x264, x265, vp9, svt-av1-p4, svt-av1-p2, any of them with @1/2 or @1/4 for a smaller size, or "
    "MODULE:CLASS for one of your own. [default: all, the best peers at smaller sizes too]",
)
@click.option("--qualities", metavar="LIST", help="Qualities of imfcodec, e.g. 5,20,35,50,70.")
@click.option("--frames", type=click.IntRange(2), help="Frames from the start of each clip. [default: 250]")
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes, one thread each. [default: 1; --quick: 2]")
@click.option("--quick", is_flag=True, help="One clip, 33 frames, imfcodec and x264; draws a clip if none is given.")
@click.option("--title", help="Headline of the results.")
@click.option("--lpips", "alexnet", metavar="FILE", help="Also measure LPIPS; FILE is torchvision's AlexNet.")
def bench(
    inputs: tuple[str, ...],
    out: str,
    codecs: str | None,
    qualities: str | None,
    frames: int | None,
    jobs: int | None,
    quick: bool,
    title: str | None,
    alexnet: str | None,
) -> int:
    """Compare imfcodec with other codecs on videos: rate, quality and a page to look at.

    Each folder of videos has a table of its own. A second run with the same --out does only what is missing.
    """
    for module in ("bjontegaard", "cv2", "markdown", "matplotlib", "plotly"):
        _require_extra(module, "bench")
    from imfcodec.evaluation.bench import BenchOptions, run_bench

    options = BenchOptions(
        codecs=_list(codecs),
        qualities=[_quality(text) for text in _list(qualities)],
        frames=frames,
        jobs=jobs,
        quick=quick,
        title=title or f"imfcodec {__version__}",
        alexnet=Path(alexnet) if alexnet else None,
    )
    succeeded = run_bench([Path(item) for item in inputs], Path(out), options, lambda line: click.echo(line, err=True))
    return 0 if succeeded else EXIT_FAILURE


@cli.command()
@click.argument("stage", required=False)
@click.option("--data", multiple=True, metavar="DIR|FILE", help="Videos and photos to train on; may be repeated.")
@click.option("--output", "output", required=True, metavar="DIR", help="Folder for checkpoint, model and log.")
@click.option("--val", multiple=True, metavar="DIR|FILE", help="Videos to measure the model on; may be repeated.")
@click.option("--from", "start", metavar="NAME|FILE", help="Model or checkpoint whose weights to start from.")
@click.option("--store", metavar="DIR", help="Folder for decoded frames. [default: store in the run's folder]")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a value of the stage's file.")
@click.option("--stop-after", type=float, metavar="MINUTES", help="Stop early; the same command goes on later.")
@click.option("--overfit", metavar="CLIP", help="Fit the default model to one clip, as a smoke test.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads. [default: all]")
def train(
    stage: str | None,
    data: tuple[str, ...],
    output: str,
    val: tuple[str, ...],
    start: str | None,
    store: str | None,
    changes: tuple[str, ...],
    stop_after: float | None,
    overfit: str | None,
    device: str,
    threads: int | None,
) -> None:
    """Train a stage: key, align, joint, joint-full, perceptual, paper, overfit, or your own .toml file.

    A run that has a checkpoint goes on from it. Under torchrun, all its processes train one model.
    """
    if overfit:
        stage, data, val = stage or "overfit", (overfit, *data), (overfit, *val)
        start = start or "talk"
    if stage is None or not data:
        raise UsageError("train needs a STAGE and --data, or --overfit CLIP")
    _require_extra("lightning_fabric", "train")
    from imfcodec.evaluation.validation import make_validator
    from imfcodec.training.config import load_stage, parse_changes
    from imfcodec.training.session import train as train_stage

    model = train_stage(
        load_stage(stage, parse_changes(changes)),
        [Path(item) for item in data],
        Path(output),
        start=start,
        store=Path(store) if store else None,
        device=device,
        threads=threads,
        stop_after=stop_after,
        validate=make_validator([Path(item) for item in val]) if val else None,
        say=lambda line: click.echo(line, err=True),
    )
    click.echo(model)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors become one line on stderr."""
    try:
        result = cli.main(args=list(arguments), prog_name="imfcodec", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        click.echo(_usage_message(error), err=True)
        return UsageError.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("imfcodec: interrupted", err=True)
        return EXIT_INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            raise
        return _explain(error)


def main() -> None:
    """Entry point of the `imfcodec` command: never returns."""
    # A terminated run cleans up as an interrupted one does: no half-written file stays behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(EXIT_TERMINATED))
    # What libraries tell their developers is no message for a user; python -W shows it.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    sys.exit(run(sys.argv[1:]))


def _usage_message(error: click.ClickException) -> str:
    message = error.format_message()
    if "\n" in message:  # the help page, given when there are no arguments
        return message
    context = getattr(error, "ctx", None)
    return f"imfcodec: {message} See '{context.command_path if context else 'imfcodec'} --help'."


def _explain(error: Exception) -> int:
    """Print an error in one line and return its exit code."""
    if isinstance(error, ImfError | OSError):
        message = str(error)
    else:
        message = f"internal error, {type(error).__name__}: {error} (imfcodec --debug ... shows where)"
    click.echo(f"imfcodec: {' '.join(message.split())}", err=True)
    return error.exit_code if isinstance(error, ImfError) else EXIT_FAILURE


def _input(name: str) -> str | BinaryIO:
    return sys.stdin.buffer if name == "-" else name


def _require_file(name: str) -> None:
    if name == "-":
        raise UsageError("this reads the stream twice; give a file, not -")


def _output(name: str) -> str | BinaryIO:
    return sys.stdout.buffer if name == "-" else name


def _require_extra(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UsageError(f"this needs more packages; install them with: pip install 'imfcodec[{extra}]'")


def _list(text: str | None) -> list[str]:
    return [item.strip() for item in text.split(",")] if text else []


def _quality(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text) or int(text) > 100:
        raise UsageError(f"--qualities: {text!r} is not a whole number from 0 to 100")
    return int(text)


def _raw_spec(size: str | None, rate: str | None) -> "RawSpec | None":
    if size is None and rate is None:
        return None
    if size is None or rate is None:
        raise UsageError("headerless .yuv input needs both --size WxH and --rate R")
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", size)
    if not match:
        raise UsageError(f"--size {size} is not WIDTHxHEIGHT, e.g. 352x288")
    try:
        frame_rate = Fraction(rate)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--rate {rate} is not a number or fraction, e.g. 25 or 30000/1001") from None
    if frame_rate <= 0:
        raise UsageError(f"--rate {rate} must be above 0")
    from imfcodec.video.reader import RawSpec

    return RawSpec(int(match[1]), int(match[2]), frame_rate)


@contextmanager
def _reporter(style: str, verb: str) -> Iterator[ProgressReporter]:
    if style == "auto":
        style = "bar" if sys.stderr.isatty() else "lines"
    reporter = ProgressReporter(style, verb, sys.stderr)
    try:
        yield reporter
    finally:
        reporter.close()


def _encode_line(stats: "EncodeStats") -> str:
    parts = ", ".join(f"{kind} {kbps:.2f}" for kind, kbps in stats.kbps_by_kind.items())
    return (
        f"{stats.frames} frames, {stats.duration_seconds:.2f} s, {stats.byte_count} bytes, "
        f"{stats.kbps:.2f} kbps ({parts}), {stats.fps:.1f} fps"
    )


def _decode_line(stats: "DecodeStats") -> str:
    losses = f", {stats.concealed_frames} concealed, {stats.lost_packets} packets lost" if stats.has_losses else ""
    return f"{stats.frames} frames, {stats.duration_seconds:.2f} s, {stats.fps:.1f} fps{losses}"


def _write_text(path: str, text: str) -> None:
    with write_beside(path) as file:
        file.write(text.rstrip("\n").encode() + b"\n")


def _print_fields(report: dict[str, Any]) -> None:
    width = max(map(len, report), default=0)
    for name, value in report.items():
        click.echo(f"{name.replace('_', ' '):{width}}  {_cell(value)}")


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    cells = [[name.replace("_", " ") for name in rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        click.echo("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    return str(value)
