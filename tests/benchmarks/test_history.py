"""The history of speeds."""

import csv
import importlib.util
from pathlib import Path

from imfcodec.evaluation.speed import SpeedCase, SpeedRow, Timing

ROOT = Path(__file__).parent.parent.parent


def load(name):
    """A script of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_rows_are_added_and_earlier_ones_stay(tmp_path):
    speed, path = load("speed"), tmp_path / "history.tsv"
    for version, fps in (("0.2.0", 20.0), ("0.3.0", 25.5)):
        row = SpeedRow(SpeedCase("imfcodec", 256, 256, 97, 20, 2), Timing(fps, 700.0, {}), Timing(2 * fps, None, {}))
        origin = {"date": "2026-01-02", "version": version, "commit": "abc", "machine": "Linux, 2 CPUs"}
        speed.add_to_history(path, origin, row.cells())
    rows = read(path)
    assert [(row["version"], row["encode_fps"], row["decode_fps"]) for row in rows] == [
        ("0.2.0", "20.00", "40.00"),
        ("0.3.0", "25.50", "51.00"),
    ]
    assert rows[0]["machine"] == "Linux, 2 CPUs" and rows[0]["decode_peak_mib"] == ""


def test_the_history_there_is_has_these_columns():
    speed = load("speed")
    rows = read(speed.HISTORY)
    assert rows and tuple(rows[0]) == speed.HISTORY_COLUMNS
    assert all(row["machine"] and float(row["decode_fps"]) > 0 for row in rows)
