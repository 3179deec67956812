"""The search for operating points: its grid, its envelope, and one run of it."""

from benchmarks.tune_quality import Result, envelope, grid, main, parse_arguments
from imfcodec.bitstream.packet import Quantisers
from imfcodec.codec.encoder import OperatingPoint

POINT = OperatingPoint(130, Quantisers(100, 10, 25), 32, True)


def test_the_grid_has_every_combination_within_range_once():
    arguments = [
        "x",
        "--golden",
        "20",
        "250",
        "--key-offset",
        "10",
        "40",
        "--deeper",
        "0",
        "20",
        "--token-offset",
        "-60",
    ]
    points = list(grid(parse_arguments(arguments)))
    assert len(points) == (2 + 1) * 2 and all(point.split and point.interval == 32 for point in points)
    assert {point.key for point in points} == {30, 60, 255}
    assert {point.quantisers.token for point in points} == {0, 190}
    assert {point.quantisers.deeper for point in points} == {0, 20}
    assert not any(p.split for p in grid(parse_arguments(["x", "--no-split"])))
    assert not any(p.split for p in grid(parse_arguments(["x", "--structure", "low-delay"])))


def test_the_envelope_marks_what_nothing_cheaper_reaches():
    rates = [(5.0, 30.0), (3.0, 28.0), (4.0, 27.5), (6.0, 30.0), (5.0, 29.0)]
    marked = envelope([Result(kbps, psnr, (1.0, 1.0, 1.0), POINT) for kbps, psnr in rates])
    assert [(r.kbps, r.psnr_y, mark) for r, mark in marked] == [
        (3.0, 28.0, True),
        (4.0, 27.5, False),
        (5.0, 30.0, True),
        (5.0, 29.0, False),
        (6.0, 30.0, False),
    ]


def test_points_are_printed_with_their_parts(face_y4m, capsys):
    """Parts add up to the payload but for flags and ends; a finer point costs more and is better."""
    options = ["--frames", "6", "--golden", "40", "180", "--interval", "5", "--no-split", "--threads", "1"]
    main([str(face_y4m.parent), *options])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    found = sorted((float(line[0]), float(line[2]), *(float(line[i]) for i in (5, 7, 9))) for line in lines[:2])
    assert len(lines) == 4 and [line[0] for line in lines[2:]] == ["*", "*"]
    for kbps, psnr, *shares in found:
        assert psnr > 20 and 0 <= kbps - sum(shares) < 2 and min(shares) >= 0
    assert found[0][1] < found[1][1]
