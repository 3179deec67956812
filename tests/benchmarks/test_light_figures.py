"""The script that measures the light decoder."""

from pathlib import Path

import pytest

from benchmarks.light import BEGIN, END, insert, measure

# Works 0.3 s for its first frame and 0.1 s for each of two more.
PROGRAM = """
import time
def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
    return True
frames = (work(seconds) for seconds in (0.3, 0.1, 0.1))
"""


def test_start_up_and_speed_are_told_apart():
    figures = measure(PROGRAM, [], repeats=1)
    assert 0.3 < figures.start_seconds < 0.6
    assert figures.fps == pytest.approx(10, rel=0.1)
    assert 5 < figures.peak_mib < 100


def test_the_table_takes_the_place_of_the_one_before():
    once = insert(f"# Title\n\n{BEGIN}\n\nold\n\n{END}\n\nRest\n", "| new |")
    assert once == f"# Title\n\n{BEGIN}\n\n| new |\n\n{END}\n\nRest\n"
    assert insert(once, "| new |") == once
    page = Path(__file__).parents[2] / "docs" / "light.md"
    assert BEGIN in page.read_text(encoding="utf-8")
