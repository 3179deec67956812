"""Manual pages of all commands, made from the commands: python docs/man.py FOLDER."""

import sys
from pathlib import Path

from click_man.core import write_man_pages

from imfcodec import __version__
from imfcodec.cli import cli


def main(folder: Path) -> None:
    """Write imfcodec.1, imfcodec-encode.1 and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    write_man_pages("imfcodec", cli, version=__version__, target_dir=str(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
