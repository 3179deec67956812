"""The benchmark of coded sizes, on a few small frames."""

from fractions import Fraction

import numpy as np

from benchmarks.sizes import drawn, main, on_stage
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.writer import open_writer


def test_rows_with_and_without_a_chosen_size(tmp_path, capsys):
    """A clip stands in the middle of 16:9, unchanged, and every row has its figures."""
    video = talking_face_format(72, 72, Fraction(25))
    (tmp_path / "clips").mkdir()
    source = list(talking_face(video, 2))
    with open_writer(tmp_path / "clips" / "face.y4m", video) as writer:
        for frame in source:
            writer.write(frame)
    stage, frames = on_stage(tmp_path / "clips" / "face.y4m", 72, 2)
    assert (stage.width, stage.height, len(frames)) == (128, 72, 2) and drawn(72, 1)[0].width == 128
    assert np.array_equal(frames[1].y[:, 28:100], source[1].y) and np.array_equal(frames[1].u[:, 14:50], source[1].u)
    arguments = ["--heights", "72", "--frames", "2", "--qualities", "10", "--threads", "1", "--out", str(tmp_path)]
    main([str(tmp_path / "clips"), *arguments])
    lines = (tmp_path / "sizes.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith(("| face 72p", "| drawn 72p"))]
    assert len(rows) == 4 and all("| quality 10 | 128x72 |" in row for row in rows)
    assert len(capsys.readouterr().out.splitlines()) == 4
