"""Speed and memory of imfcodec, and speed of general codecs, on clips drawn by code.

    python benchmarks/speed.py --out benchmarks/results/vX.Y [--parts sizes lengths peers cuda] [--history]

Writes OUT/speed.tsv, saved after each case, and OUT/speed.md. Rows of cases that run again are replaced, others stay.
With --history, those of imfcodec are also added to benchmarks/history.tsv, which keeps what every version did on every
machine: figures compare on one machine only.
"""

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import date
from pathlib import Path

import torch

from imfcodec.errors import ImfError
from imfcodec.evaluation.codecs import CODEC, PEER_LEVELS
from imfcodec.evaluation.environment import describe_environment, describe_origin
from imfcodec.evaluation.speed import STAGES, SpeedCase, SpeedRow, measure_speed, startup_seconds
from imfcodec.evaluation.summary import markdown_table
from imfcodec.files import write_beside
from imfcodec.video.peercodecs import available_peer_codecs

SIZES = {(256, 256): 97, (512, 512): 49, (1280, 720): 25, (1920, 1080): 17}  # pixels: frames timed
LENGTHS = (250, 1000, 4000)  # frames at 256x256
PARTS = ("sizes", "lengths", "peers", "cuda")
KEY = tuple(field.name for field in fields(SpeedCase))
HISTORY = Path(__file__).with_name("history.tsv")
ORIGIN = ("date", "version", "commit", "machine")
HISTORY_COLUMNS = (*ORIGIN, *(name for name in KEY if name not in ("codec", "repeats")))
HISTORY_COLUMNS += tuple(
    f"{direction}_{figure}" for direction in ("encode", "decode") for figure in ("fps", "peak_mib")
)

Row = Mapping[str, str]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for speed.tsv and speed.md")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to time (all there is)")
    parser.add_argument("--quality", type=int, default=20, help="of imfcodec, 0 to 100 (20)")
    parser.add_argument(
        "--repeats", type=int, default=4, help="runs of a case, the first not counted; lengths run once (4)"
    )
    parser.add_argument("--history", action="store_true", help=f"also add the rows of imfcodec to {HISTORY.name}")
    return parser.parse_args()


def plan(parts: Sequence[str], quality: int, repeats: int) -> Iterator[SpeedCase]:
    """The cases of the parts asked for; "cuda" has none where there is no such device."""
    for (width, height), frames in SIZES.items():
        if "sizes" in parts:
            for threads in (1, 2):
                yield SpeedCase(CODEC, width, height, frames, quality, threads, repeats=repeats)
        if "cuda" in parts and torch.cuda.is_available():
            yield SpeedCase(CODEC, width, height, frames, quality, device="cuda", repeats=repeats)
        for name in available_peer_codecs() if "peers" in parts else ():
            level = PEER_LEVELS[name][len(PEER_LEVELS[name]) // 2]
            yield SpeedCase(name, width, height, frames, level, repeats=repeats)
    if "lengths" in parts:
        for frames in LENGTHS:
            yield SpeedCase(CODEC, 256, 256, frames, quality, 2, repeats=1)


def read_table(path: Path) -> tuple[list[str], dict[tuple[str, ...], Row]]:
    """Comments and rows by KEY of a table that `write_table` wrote; nothing where there is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t")
    comments = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return comments, {tuple(row[name] for name in KEY): row for row in rows}


def write_table(path: Path, comments: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows as tab-separated text below comments."""
    text = io.StringIO()
    text.writelines(f"# {comment}\n" for comment in comments)
    writer = csv.DictWriter(text, list(rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with write_beside(path) as file:
        file.write(text.getvalue().encode())


def add_to_history(path: Path, origin: Mapping[str, str], row: Row) -> None:
    """Add a row of imfcodec to the history, which begins with the names of its columns.

    Args:
        origin: ORIGIN, what and where the row was made by.
        row: a row of the table.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else "\t".join(HISTORY_COLUMNS) + "\n"
    line = "\t".join({**row, **origin}[name] for name in HISTORY_COLUMNS)
    with write_beside(path) as file:
        file.write(f"{before}{line}\n".encode())


def to_markdown(comments: Sequence[str], rows: Sequence[Row]) -> str:
    """Frames per second and memory, and the stages of imfcodec, as two tables."""
    case = {
        "codec": lambda row: row["codec"],
        "size": lambda row: f"{row['width']}x{row['height']}",
        "frames": lambda row: row["frames"],
        "setting": lambda row: row["level"],
        "on": lambda row: row["device"] if row["device"] != "cpu" else f"{row['threads']} threads",
    }
    shared = list(case.values())
    speeds = [name for name in rows[0] if name.endswith(("_fps", "_mib"))]
    stages = [f"{direction}_{stage}_ms" for direction in ("encode", "decode") for stage in STAGES]
    parts = ["# Speed and memory", "  \n".join(comments)]
    for title, names in (("Frames per second, peak memory in MiB", speeds), ("Milliseconds a frame by stage", stages)):
        chosen = [row for row in rows if any(row[name] for name in names)]
        cells = [[*(show(row) for show in shared), *(row[name] or "-" for name in names)] for row in chosen]
        head = [*case, *(name.replace("_", " ") for name in names)]
        parts.append(f"## {title}\n\n{markdown_table(head, cells)}")
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Time case after case; 1 if one failed."""
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = arguments.out / "speed.tsv"
    earlier, rows = read_table(table)
    starts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in startup_seconds().items())
    comments = list(dict.fromkeys([*earlier, describe_environment(), f"start-up: {starts}"]))
    version, commit, machine = describe_origin()
    origin = dict(zip(ORIGIN, (date.today().isoformat(), version, commit, machine), strict=True))
    failures = 0
    for case in plan(arguments.parts, arguments.quality, arguments.repeats):
        try:
            row: SpeedRow = measure_speed(case)
        except ImfError as error:
            print(f"speed: {error}", file=sys.stderr)
            failures += 1
            continue
        cells = row.cells()
        if arguments.history and case.codec == CODEC:
            add_to_history(HISTORY, origin, cells)
        rows[tuple(cells[name] for name in KEY)] = cells
        write_table(table, comments, list(rows.values()))
        with write_beside(arguments.out / "speed.md") as file:
            file.write(to_markdown(comments, list(rows.values())).encode())
        print(f"{case}: encode {row.encode.fps:.1f} fps, decode {row.decode.fps:.1f} fps")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
