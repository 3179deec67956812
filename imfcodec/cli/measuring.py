"""Commands that measure and make models: compare, bench, train."""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imfcodec import __version__
from imfcodec.cli.exits import EXIT_FAILURE
from imfcodec.cli.options import (
    as_source,
    limit_options,
    overwrite_option,
    parse_rate,
    raw_options,
    raw_spec,
    require_extra,
)
from imfcodec.cli.printing import print_table, say, show, write_text
from imfcodec.errors import UsageError
from imfcodec.files import check_distinct, check_target

if TYPE_CHECKING:
    from imfcodec.limits import Limits


@click.command()
@click.argument("reference")
@click.argument("distorted")
@raw_options
@click.option("--csv", "csv_path", metavar="FILE", help="Write figures per frame to a CSV file.")
@click.option("--json", "json_path", metavar="FILE", help="Write everything to a JSON file.")
@click.option("--page", metavar="OUT.html", help="Write a page: both videos with a wipe, difference, curves.")
@click.option("--per-frame", is_flag=True, help="Print figures of every frame too.")
@click.option("--all-metrics", is_flag=True, help="Also measure XPSNR and the warping error (flicker).")
@click.option("--lpips", "alexnet", metavar="FILE", help="Also measure LPIPS; FILE is torchvision's AlexNet.")
@limit_options
@overwrite_option
def compare(
    reference: str,
    distorted: str,
    size: str | None,
    rate: str | None,
    csv_path: str | None,
    json_path: str | None,
    page: str | None,
    per_frame: bool,
    all_metrics: bool,
    alexnet: str | None,
    limits: "Limits",
    overwrite: bool,
) -> None:
    """Measure how close DISTORTED is to REFERENCE: PSNR, SSIM, MS-SSIM.

    The last line shows how bad the worst frames are: the 5th percentile; of LPIPS and warping error the 95th.
    """
    check_distinct([as_source(reference), as_source(distorted), alexnet], [csv_path, json_path, page])
    for path in filter(None, (csv_path, json_path, page)):
        check_target(path, overwrite=overwrite)
    if page:
        require_extra("plotly", "bench")
    from imfcodec.evaluation.comparison import PairRecorder, write_comparison
    from imfcodec.evaluation.metrics import compare_files
    from imfcodec.evaluation.perceptual import Lpips
    from imfcodec.video.reader import SourceOptions

    raw = raw_spec(size, rate)
    with tempfile.TemporaryDirectory(prefix="imfcodec-") as folder:
        recorder = PairRecorder(Path(folder)) if page else None
        report = compare_files(
            as_source(reference),
            as_source(distorted),
            raw=raw,
            options=SourceOptions(rate=None if raw else parse_rate(rate)),
            all_metrics=all_metrics,
            lpips=Lpips(Path(alexnet)) if alexnet else None,
            limits=limits,
            say=lambda line: say(f"imfcodec: {line}"),
            record=recorder,
        )
        if page and recorder:
            titles = (Path(reference).name, Path(distorted).name)
            write_comparison(page, report, recorder, titles, overwrite=overwrite)
    if csv_path:
        write_text(csv_path, report.to_csv(), overwrite=overwrite)
    if json_path:
        write_text(json_path, report.to_json(), overwrite=overwrite)
    lines = [(str(index), frame) for index, frame in enumerate(report.frames)] if per_frame else []
    lines += [("mean", report.mean), ("5th percentile", report.percentile_5)]
    names = report.mean.measured()
    print_table([{"frame": title, **{name: getattr(line, name) for name in names}} for title, line in lines])


@click.command()
@click.argument("inputs", nargs=-1, metavar="[DIR|FILES]...")
@click.option("--out", default="bench", show_default=True, metavar="DIR", help="Folder for the results.")
@click.option(
    "--codecs",
    metavar="LIST",
    help="imfcodec, x264, x265, vp9, svt-av1-p4, svt-av1-p2, any of them with @1/2 or @1/4 for a smaller size, or "
    "MODULE:CLASS for one of your own. [default: all, the best peers at smaller sizes too]",
)
@click.option(
    "--qualities", metavar="LIST", help="Qualities of imfcodec, separated by commas. [default: 5,20,35,45,60]"
)
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
        require_extra(module, "bench")
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
    succeeded = run_bench([Path(item) for item in inputs], Path(out), options, say)
    return 0 if succeeded else EXIT_FAILURE


@click.command()
@click.argument("stage", required=False)
@click.option("--data", multiple=True, metavar="DIR|FILE", help="Videos and photos to train on; may be repeated.")
@click.option("--output", "output", required=True, metavar="DIR", help="Folder for checkpoint, model and log.")
@click.option("--val", multiple=True, metavar="DIR|FILE", help="Videos to measure the model on; may be repeated.")
@click.option("--from", "start", metavar="NAME|FILE", help="Model or checkpoint whose weights to start from.")
@click.option("--store", metavar="DIR", help="Folder for decoded frames. [default: store in the run's folder]")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a value of the stage's file.")
@click.option("--stop-after", type=float, metavar="MINUTES", help="Stop early; the same command goes on later.")
@click.option("--overfit", metavar="CLIP", help="Fit the default model to one clip, as a smoke test.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="What to train on."
)
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
    """Train a stage: latent, align, joint, joint-full, perceptual, paper, overfit, or your own .toml file.

    A run that has a checkpoint goes on from it. Under torchrun, all its processes train one model.
    """
    if overfit:
        from imfcodec.zoo import DEFAULT_MODEL

        stage, data, val = stage or "overfit", (overfit, *data), (overfit, *val)
        start = start or DEFAULT_MODEL
    if stage is None or not data:
        raise UsageError("train needs a STAGE and --data, or --overfit CLIP")
    require_extra("lightning_fabric", "train")
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
        say=say,
    )
    show(str(model))


def _list(text: str | None) -> list[str]:
    return [] if text is None else [item.strip() for item in text.split(",")]


def _quality(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text) or int(text) > 100:
        raise UsageError(f"--qualities: {text!r} is not a whole number from 0 to 100")
    return int(text)
