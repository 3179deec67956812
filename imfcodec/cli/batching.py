"""The command that codes many files: batch."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imfcodec.cli.encoding import encode_options
from imfcodec.cli.options import dtype_option, limit_options
from imfcodec.cli.printing import say

if TYPE_CHECKING:
    from imfcodec.api import EncodeOptions
    from imfcodec.batch import BatchTotals, FileResult
    from imfcodec.limits import Limits


@click.command()
@click.argument("source", metavar="DIR|MANIFEST")
@click.option("--out", required=True, metavar="DIR", help="Folder for the streams and the journal, batch.ndjson.")
@click.option("--engine", default="local", show_default=True, metavar="local|ray[:ADDRESS]", help="Where workers run.")
@click.option("--jobs", type=click.IntRange(1, 4096), help="Files at a time, one thread each. [default: all CPUs]")
@click.option("--resume", is_flag=True, help="Go on with the batch in --out; what it has done stays.")
@encode_options
@click.option("--model", metavar="NAME|PATH", help="Model to use. [default: the best one]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@dtype_option
@limit_options
@click.option("-y", "--overwrite", is_flag=True, help="Begin anew, and overwrite existing streams.")
@click.option(
    "--progress",
    type=click.Choice(["lines", "json", "none"]),
    default="lines",
    show_default=True,
    help="A line a file on stderr, or an object.",
)
def batch(
    source: str,
    out: str,
    engine: str,
    jobs: int | None,
    resume: bool,
    choices: "EncodeOptions",
    model: str | None,
    device: str,
    dtype: str,
    limits: "Limits",
    overwrite: bool,
    progress: str,
) -> int:
    """Encode the videos of a folder, or those a manifest lists, many at a time.

    A manifest has one video a line; a tab and the name of its stream may follow. What is done is kept in a journal:
    a killed batch goes on with --resume. The exit code is 0, or the lowest one of the files that have one.
    """
    from imfcodec.batch import Settings, list_jobs, name_model, open_engine, run_batch

    work = list_jobs(Path(source), Path(out))
    name, model_id = name_model(model)
    settings = Settings(name, model_id, choices, device, dtype, limits)

    def notify(result: "FileResult") -> None:
        if progress != "none":
            say(json.dumps({"event": "file", **asdict(result)}) if progress == "json" else _file_line(result))

    with open_engine(engine, jobs or os.cpu_count() or 1) as workers:
        totals = run_batch(work, Path(out), settings, workers, resume=resume, overwrite=overwrite, notify=notify)
    say(json.dumps({"event": "batch", **totals.to_dict()}) if progress == "json" else _totals_line(totals))
    return totals.exit_code


def _file_line(result: "FileResult") -> str:
    notes = [f"imfcodec: {note}" for note in result.notes]
    if not result.is_done:
        reason = result.error.removeprefix(f"{result.source}: ")
        return "\n".join([*notes, f"{result.source}: failed (exit code {result.exit_code}): {reason}"])
    kbps = result.byte_count * 8 / 1000 / result.duration_seconds
    fps = result.frames / result.elapsed_seconds
    cut_off = ", source cut off" if result.exit_code else ""
    figures = f"{result.frames} frames, {result.duration_seconds:.2f} s, {result.byte_count} bytes, {kbps:.2f} kbps"
    return "\n".join([*notes, f"{result.target}: {figures}, {fps:.1f} fps{cut_off}"])


def _totals_line(totals: "BatchTotals") -> str:
    earlier = f" ({totals.earlier} of them earlier)" if totals.earlier else ""
    return (
        f"{totals.files} files: {totals.done} done{earlier}, {totals.failed} failed; {totals.frames} frames, "
        f"{totals.duration_seconds:.2f} s, {totals.byte_count} bytes, {totals.kbps:.2f} kbps, "
        f"{totals.elapsed_seconds:.0f} s of work"
    )
