"""Commands about what is installed: models, export, doctor, demo, completion."""

import json
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from imfcodec.cli.options import json_option, overwrite_option, progress_option, reporter, require_extra
from imfcodec.cli.printing import print_fields, print_table
from imfcodec.errors import ModelError


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the models that come with the package."""
    from imfcodec.api import list_models

    rows = list_models()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        print_table(rows)


@click.command()
@click.argument("model")
@click.argument("folder", metavar="DIR")
@overwrite_option
def export(model: str, folder: str, overwrite: bool) -> None:
    """Write the decoder of MODEL (name or path) to DIR as ONNX graphs, for `decode --model DIR` without torch."""
    for package in ("onnx", "onnxruntime"):
        require_extra(package, "export")
    from imfcodec.export.writer import export_model

    description = export_model(model, Path(folder), overwrite=overwrite)
    print_fields({"model_id": description.model_id.hex(), "folder": folder, "files": len(description.hashes) + 1})


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check this installation: versions, device, FFmpeg codecs, weights (exit code 5 if they are not in order)."""
    from imfcodec.reports import diagnose

    report = diagnose()
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        print_fields(report)
    if report["problem"]:
        raise ModelError(report["problem"])


@click.command()
@click.argument("folder", default="demo")
@click.option("-q", "--quality", type=click.IntRange(0, 100), default=50, show_default=True, help="As of encode.")
@overwrite_option
@progress_option
def demo(folder: str, quality: int, overwrite: bool, progress: str) -> None:
    """Draw a talking face with sound, encode, decode and measure it; the files go to FOLDER."""
    from imfcodec.evaluation.demo import run_demo

    with reporter(progress, "demo") as report:
        result = run_demo(Path(folder), quality=quality, overwrite=overwrite, progress=report)
    print_fields(result)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands and options in SHELL; put it where the shell looks for such scripts."""
    found = get_completion_class(shell)
    assert found is not None, "click knows all three"
    click.echo(found(context.find_root().command, {}, "imfcodec", "_IMFCODEC_COMPLETE").source())
