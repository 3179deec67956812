"""The command line."""

from imfcodec.cli.entry import cli, main, run

__all__ = ["cli", "main", "run"]
