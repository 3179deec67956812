"""Reports as lines and tables on standard output, and as files."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from imfcodec.files import write_beside
from imfcodec.progress import fit_lines
from imfcodec.terminal import printable


def say(text: str) -> None:
    """Tell the user something on standard error, in lines that fit where that is a terminal; nobody has to listen."""
    with suppress(OSError):
        click.echo(fit_lines(text, sys.stderr), err=True)


def show(text: str) -> None:
    """Print one line on standard output."""
    click.echo(printable(text))


def write_text(path: str, text: str, *, overwrite: bool) -> None:
    with write_beside(path, overwrite=overwrite) as file:
        file.write(text.rstrip("\n").encode() + b"\n")


def print_fields(report: dict[str, Any]) -> None:
    width = max(map(len, report), default=0)
    for name, value in report.items():
        show(f"{name.replace('_', ' '):{width}}  {_cell(value)}")


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    cells = [[name.replace("_", " ") for name in rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        show("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    return printable(str(value))  # here too, for the widths of columns
