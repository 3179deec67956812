"""The tables of presets and decisions: their figures, and one small run."""

import numpy as np
import pytest

pytest.importorskip("bjontegaard")
pytest.importorskip("cv2")

from benchmarks.presets import Point, bd_rate, joined, main
from imfcodec.evaluation.synthetic import talking_face_format
from imfcodec.frames import Frame


def test_half_the_rate_at_equal_quality_is_minus_fifty_percent():
    base = [Point(rate, psnr, 1.0, 0.1, 1) for rate, psnr in ((4.0, 30.0), (8.0, 32.0), (16.0, 34.0))]
    half = [point._replace(kbps=point.kbps / 2) for point in base]
    assert bd_rate(base, half) == pytest.approx(-50)
    assert bd_rate(base, base) == pytest.approx(0, abs=1e-9)
    assert bd_rate(base, [point._replace(psnr_y=point.psnr_y + 9) for point in base]) is None


def test_clips_are_joined_by_a_cut_or_a_dissolve(face_format):
    dark, light = (
        [Frame(np.full((80, 96), level, np.uint8), *np.full((2, 40, 48), 128, np.uint8), i) for i in range(6)]
        for level in (40, 200)
    )
    other = ([dark[0]], talking_face_format(64, 64, face_format.frame_rate))
    videos = [(dark, face_format), other, (light, face_format)]
    cut, shape = joined(videos, 0)
    assert [int(f.y[0, 0]) for f in cut] == [40] * 6 + [200] * 6 and shape == face_format
    assert [f.pts for f in cut] == list(range(12))
    dissolve, _ = joined(videos, 3)
    assert [int(f.y[0, 0]) for f in dissolve] == [40] * 3 + [80, 120, 160] + [200] * 3


def test_a_table_has_a_row_for_each_variant(face_y4m, tmp_path, capsys):
    options = ["--frames", "4", "--quality", "20", "70", "--crop", "64", "--tables", "effort", "--only", "fast"]
    main([str(face_y4m.parent), *options, "--out", str(tmp_path / "presets.md")])
    text = (tmp_path / "presets.md").read_text()
    assert text == capsys.readouterr().out
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert [row[0] for row in cells] == ["variant", "medium", "fast"] and cells[1][1] == "-"
    assert all(float(row[2]) > 0 and float(row[3]) > 20 and float(row[5]) == 1 for row in cells[1:])
    assert "Model " in text and "middle 64x64, 4 frames, qualities 20 70" in text
