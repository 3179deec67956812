"""Whether the dial rises: the figures of the script, and one small run of it."""

import pytest

from benchmarks.dial import Point, falls, main, row


def test_steps_and_falls():
    points = [Point(0, 2.0, 30.0), Point(5, 3.0, 31.0), Point(10, 3.0, 30.9), Point(15, 9.0, 33.0)]
    assert falls(points, "kbps") == [10] and falls(points, "psnr_y") == [10]
    assert row("face", points) == ["face", "2.00 / 30.00", "9.00 / 33.00", "10", "10", "+0 %, +50 %, +200 %"]
    assert row("face", points[:2])[3:] == ["-", "-", "+50 %, +50 %, +50 %"]


@pytest.mark.parametrize("structure", ["offline", "low-delay"])
def test_the_dial_rises_on_a_drawn_clip(face_y4m, tmp_path, capsys, structure):
    out = tmp_path / "dial.md"
    options = ["--frames", "5", "--step", "40", "--preset", "fast", "--structure", structure, "--out", str(out)]
    main([str(face_y4m), *options])
    text = out.read_text()
    assert capsys.readouterr().out.endswith(text) and f"5 frames, preset fast, {structure}" in text
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    summary = next(line for line in cells if line[0] == face_y4m.stem)
    assert summary[3:5] == ["-", "-"]
    assert [line[0] for line in cells[-4:]] == ["0", "40", "80", "100"]
