"""The benchmark of regions of interest, on a few small frames."""

from fractions import Fraction

import pytest

from benchmarks.roi import Point, gain, main
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.writer import open_writer


def test_gains_are_those_at_the_same_rate():
    """Over the logarithm of the rate, and within the rates of plain coding alone."""
    plain = [Point(16, 34, 36), Point(4, 30, 32)]
    assert gain(plain, Point(8, 33, 33)) == pytest.approx((1, -1))
    assert gain(plain, Point(3, 33, 33)) is gain(plain, Point(17, 33, 33)) is None


def test_a_row_for_every_quality(tmp_path, capsys):
    """The drawn face is found."""
    pytest.importorskip("cv2")
    video = talking_face_format(128, 128, Fraction(25))
    with open_writer(tmp_path / "face.y4m", video) as writer:
        for frame in talking_face(video, 2):
            writer.write(frame)
    arguments = ["--frames", "2", "--plain", "5", "80", "--quality", "40", "--out", str(tmp_path / "out" / "roi.md")]
    main([str(tmp_path), *arguments])
    (row,) = (line for line in (tmp_path / "out" / "roi.md").read_text().splitlines() if line.startswith("| face"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1].count(",") == 3 and cells[3] == "40" and float(cells[8]) < 0
    assert capsys.readouterr().out.startswith("face ")
