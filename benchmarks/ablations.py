"""Ablations of the motion representation: variants of stage align, trained equally long, compared at equal bits.

    python benchmarks/ablations.py --train CLIPS --validation CLIPS --work FOLDER --out OUT/ablations.tsv

Every variant starts fresh, sees the same training clips for the same number of steps, and is measured on the same
frame of every validation clip. OUT is saved after each variant; a second run does only what is missing, and finds
training that was cut short in FOLDER. A Markdown table of all rows goes to standard output.
"""

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from imfcodec.config import ModelConfig
from imfcodec.errors import ImfError, InputError, UsageError
from imfcodec.evaluation.sweep import describe_environment
from imfcodec.files import write_beside
from imfcodec.models.coding import Role
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.models.structure import PAST_LEVEL, Step, interval_level
from imfcodec.nn.picture import Picture
from imfcodec.training.augment import render
from imfcodec.training.checkpoint import load_checkpoint
from imfcodec.training.config import load_stage
from imfcodec.training.dataset import DICE, Batch, StoredClip
from imfcodec.training.objectives import AlignObjective
from imfcodec.training.prepare import open_stores
from imfcodec.training.rollout import TrainedModel
from imfcodec.training.sampling import Sample
from imfcodec.training.session import train
from imfcodec.training.shapes import PairShape
from imfcodec.training.start import load_trained
from imfcodec.training.trainer import CHECKPOINT

SIDE = 256  # luma pixels of a measured frame, each way
SPAN = 8  # frames between the references that are measured; the target lies in the middle

BASE: Mapping[str, Any] = {
    "rate_from": 0.0,
    "rate_until": 0.1,
    "optimizer.warmup_steps": 20,  # a few hundred steps are too short for the stage's
    "data.crop": 128,
    "data.batch": 4,
    "data.workers": 0,
    "data.stills": 0.0,
    "data.zoom": 0.0,
    "data.colour": 0.0,
    "options.references": 2,
    "options.spans": [4, 8, 16],
}

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "base": {},
    # The target of one reference lies at the end of the span: half as long, it is as far away as between two.
    "one reference": {"options.references": 1, "options.spans": [2, 4, 8]},
    "transformer depth 0": {"model.align_depth": 0},
    "transformer depth 3": {"model.align_depth": 3},
    # About the multiply-adds of the base.
    "width 64, depth 4": {"model.align_channels": [64, 64], "model.align_depth": 4},
    "width 128, depth 0": {"model.align_channels": [128, 128], "model.align_depth": 0},
}
"""What each variant changes in the base, as for `load_stage`."""

NOTES = (
    "Stage align from fresh weights; bits (estimated, of a frame of 256x256) and PSNR-Y of one frame of each clip, "
    f"{SPAN // 2} frames after its original reference, averaged weights, mean of the clips. "
    "With two references the token of the second one is not counted: all frames of a chunk share it.",
    "multiply_adds: of predicting a frame of 256x256 from its token and references made ready; parameters: of the "
    "alignment; seconds: wall time of the training steps; copy_psnr_y: of the first reference, unmoved.",
)

FIGURES = ("steps", "seconds", "multiply_adds", "parameters", "copy_psnr_y")


@dataclass(frozen=True)
class Point:
    """Mean bits a frame and mean PSNR-Y, dB."""

    bits: float
    psnr_y: float


@dataclass(frozen=True)
class Result:
    """One variant, trained and measured: a row of the table.

    Attributes:
        figures: values of `FIGURES` as they stand in the table.
        curve: points by quantiser index.
    """

    variant: str
    figures: Mapping[str, str]
    curve: Mapping[int, Point]


def psnr_at(curve: Sequence[Point], bits: float) -> float | None:
    """PSNR-Y at a rate, linear in the logarithm of the bits between points in any order; None outside their range."""
    ordered = sorted((point for point in curve if point.bits > 0), key=lambda point: point.bits)
    if not ordered or not ordered[0].bits <= bits <= ordered[-1].bits:
        return None
    return float(np.interp(math.log(bits), [math.log(p.bits) for p in ordered], [p.psnr_y for p in ordered]))


def middle_group(clip: StoredClip, references: int) -> Batch:
    """The middle of a clip, in time and place, as a batch of one group; 1 and 2 references have the same target."""
    side = min(SIDE, clip.height // 64 * 64, clip.width // 64 * 64)
    first, top, left = (len(clip) - SPAN - 1) // 2, (clip.height - side) // 4 * 2, (clip.width - side) // 4 * 2
    middle = SPAN // 2
    if references == 2:
        target = Step(middle, Role.TOKEN, (0, SPAN), (0, SPAN), interval_level((0, SPAN)), latent=False)
        shape = PairShape((0, middle, SPAN), SPAN, target)
    else:
        target = Step(middle, Role.TOKEN, (0,), (0,), PAST_LEVEL, latent=False)
        shape = PairShape((0, middle), middle, target)
    times = tuple(first + offset for offset in shape.offsets)
    sample = Sample(clip, times, top, left, side, side, mirror=False, colour=None, motion=None)
    return Batch(0, shape, render(sample, clip.data, side)[None], torch.zeros(1, DICE), torch.tensor([-1]))


@torch.inference_mode()
def measure(
    model: TrainedModel, objective: AlignObjective, groups: Sequence[Batch], qindices: Sequence[int]
) -> tuple[dict[int, Point], float]:
    """Code the target of each group at each quantiser index.

    Returns:
        Mean bits and PSNR-Y by quantiser index, and mean PSNR-Y of the unmoved first reference.
    """
    names = ("token/bits_256", "token/psnr_y", "token/copy_psnr_y")
    curve, copy = {}, math.nan
    for qindex in qindices:
        fixed = replace(objective, qindices=(qindex, qindex + 1))
        figures = [fixed(model, group, 1.0).figures for group in groups]
        bits, psnr, copy = (float(np.mean([float(f[name]) for f in figures])) for name in names)
        curve[qindex] = Point(bits, psnr)
    return curve, copy


@torch.inference_mode()
def count_multiply_adds(config: ModelConfig, references: int) -> int:
    """Multiply-adds of `ImfNetwork.predict` for a frame of 256x256, the references made ready before."""
    network = ImfNetwork(config)
    picture = Picture(torch.zeros(1, 1, SIDE, SIDE), torch.zeros(1, 2, SIDE // 2, SIDE // 2))
    token = Token.zeros(1, SIDE, SIDE, config, picture.luma)
    none = network.no_symbols(picture)
    ready = [network.reference(picture, token, none) for _ in range(references)]
    with FlopCounterMode(display=False) as counter:
        network.predict(token, ready, torch.full((1,), 0.5))
    return int(counter.get_total_flops()) // 2


def run_variant(
    name: str, steps: int, data: Sequence[Path], clips: Sequence[StoredClip], qindices: Sequence[int], **options: Any
) -> Result:
    """Train a variant, or go on with it, and measure it; `options` are those of `train`, `run` above all."""
    config = load_stage("align", {**BASE, **VARIANTS[name], "steps": steps})
    objective = AlignObjective(**config.options)
    train(config, data, device="cpu", say=lambda line: click.echo(f"{name}: {line}", err=True), **options)
    checkpoint = options["run"] / CHECKPOINT
    model = load_trained(str(checkpoint)).eval()
    groups = [middle_group(clip, objective.references) for clip in clips]
    curve, copy = measure(model, objective, groups, qindices)
    figures = {
        "steps": str(steps),
        "seconds": f"{load_checkpoint(checkpoint)['seconds']:.0f}",
        "multiply_adds": str(count_multiply_adds(config.model, objective.references)),
        "parameters": str(sum(parameter.numel() for parameter in model.network.alignment.parameters())),
        "copy_psnr_y": f"{copy:.3f}",
    }
    return Result(name, figures, curve)


def write_results(path: Path, comments: Sequence[str], results: Sequence[Result], at: Sequence[float]) -> None:
    """Write the table: figures, bits and PSNR-Y by quantiser index, PSNR-Y at equal bits; replaces it whole."""
    text = io.StringIO()
    text.writelines(f"# {comment}\n" for comment in comments)
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    pairs = [f"{kind}_q{qindex}" for qindex in results[0].curve for kind in ("bits", "psnr_y")]
    writer.writerow(["variant", *FIGURES, *pairs, *(f"psnr_y_at_{bits:g}" for bits in at)])
    for result in results:
        values = [text for point in result.curve.values() for text in (f"{point.bits:.2f}", f"{point.psnr_y:.3f}")]
        writer.writerow([result.variant, *result.figures.values(), *values, *_at(result, at)])
    with write_beside(path) as file:
        file.write(text.getvalue().encode())


def read_results(path: Path, scope: str, qindices: Sequence[int]) -> tuple[list[str], dict[str, Result]]:
    """Comments and results by variant of a table, none where there is no file.

    Raises:
        UsageError: it was measured otherwise than `scope` says, its first comment.
        InputError: it is damaged.
    """
    if not path.exists():
        return [scope], {}
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [line.removeprefix("# ") for line in lines if line.startswith("#")]
    if comments[:1] != [scope]:
        raise UsageError(f"{path} was not made with {scope}; choose another --out")
    rows = list(csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t"))
    try:
        return comments, {row["variant"]: _parse(row, qindices) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged row ({error}); remove it and run again") from None


def summarise(results: Sequence[Result], at: Sequence[float]) -> str:
    """Markdown table of the results."""
    head = ["variant", "multiply-adds, M", "parameters, k", "bits a frame", "PSNR-Y, dB"]
    rows = [[*head, *(f"PSNR-Y at {bits:g} bits" for bits in at)]]
    rows.append(["---"] * len(rows[0]))
    for result in results:
        points = sorted(result.curve.values(), key=lambda point: point.bits)
        cost = [f"{int(result.figures['multiply_adds']) / 1e6:.0f}", f"{int(result.figures['parameters']) / 1e3:.0f}"]
        ends = [f"{points[0].bits:.0f} to {points[-1].bits:.0f}", f"{points[0].psnr_y:.2f} to {points[-1].psnr_y:.2f}"]
        rows.append([result.variant, *cost, *ends, *_at(result, at)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table}\n\nThe unmoved copy has {results[0].figures['copy_psnr_y']} dB."


def _at(result: Result, at: Sequence[float]) -> list[str]:
    values = [psnr_at(list(result.curve.values()), bits) for bits in at]
    return ["-" if value is None else f"{value:.2f}" for value in values]


def _parse(row: Mapping[str, str], qindices: Sequence[int]) -> Result:
    curve = {q: Point(float(row[f"bits_q{q}"]), float(row[f"psnr_y_q{q}"])) for q in qindices}
    return Result(row["variant"], {name: row[name] for name in FIGURES}, curve)


def _long_clips(source: Path, cache: Path) -> list[StoredClip]:
    (store,) = open_stores([source], cache)
    clips = [clip for clip in store if len(clip) > SPAN and min(clip.height, clip.width) >= 64]
    if not clips:
        raise InputError(f"{source}: no clip has {SPAN + 1} frames of at least 64x64; name a folder of longer videos")
    return clips


@click.command(help=__doc__.split("\n\n")[0])
@click.option("--train", "data", type=click.Path(path_type=Path), multiple=True, required=True, help="Videos or store.")
@click.option("--validation", type=click.Path(path_type=Path), required=True, help="Videos or store to measure on.")
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder for the training runs.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Table to write, .tsv.")
@click.option("--steps", type=click.IntRange(1), default=300, show_default=True, help="Of each variant.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--only", type=click.Choice(list(VARIANTS)), multiple=True, help="Variants. [default: all]")
@click.option(
    "--qindex", "qindices", type=click.IntRange(0, 255), multiple=True, default=[0, 40, 80, 120, 160],
    show_default=True, help="Quantiser indices to measure at.",
)  # fmt: skip
@click.option("--at", type=float, multiple=True, default=[60, 120], show_default=True, help="Bits to compare at.")
def main(
    data: tuple[Path, ...],
    validation: Path,
    work: Path,
    out: Path,
    steps: int,
    threads: int,
    only: tuple[str, ...],
    qindices: tuple[int, ...],
    at: tuple[float, ...],
) -> None:
    try:
        clips = _long_clips(validation, work / "store")
        scope = f"{steps} steps; {len(clips)} clips of {validation.name} at qindex {' '.join(map(str, qindices))}"
        comments, done = read_results(out, scope, qindices)
        comments = list(dict.fromkeys([*comments, *NOTES, describe_environment()]))
        for name in only or VARIANTS:
            if name not in done:
                run = work / f"{name.replace(',', '').replace(' ', '-')}-{steps}"
                options = {"run": run, "store": work / "store", "threads": threads}
                done[name] = run_variant(name, steps, data, clips, qindices, **options)
            write_results(out, comments, [done[name] for name in VARIANTS if name in done], at)
        click.echo(summarise([done[name] for name in VARIANTS if name in done], at))
    except ImfError as error:
        click.echo(f"ablations: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
