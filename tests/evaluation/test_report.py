"""Result tables, BD-rate, envelopes and interpolation, on curves whose answers are known."""

from dataclasses import replace
from pathlib import Path

import pytest

from imfcodec.errors import InputError
from imfcodec.evaluation.report import (
    CODEC,
    COPY_KEY_FRAME,
    RatePoint,
    ResultTable,
    bd_rate,
    envelope,
    group_curves,
    nearest_in_rate,
    quality_at,
    read_table,
    rises_with_rate,
    write_table,
)


def point(kbps=10.0, psnr_y=30.0, ssim_y=0.9, clip="a.mp4", codec="x264", setting="crf30", model="-"):
    return RatePoint(
        clip=clip,
        codec=codec,
        setting=setting,
        model=model,
        frames=250,
        seconds=10.0,
        bytes=round(kbps * 1250),
        kbps=kbps,
        psnr_y=psnr_y,
        ssim_y=ssim_y,
        psnr_u=40.0,
        psnr_v=41.0,
        encode_fps=20.0,
        decode_fps=100.0,
    )


def curve(rates, qualities, **fields):
    """Points with SSIM rising alongside PSNR."""
    return [
        point(kbps, psnr, round(0.5 + psnr / 100, 5), setting=f"s{index}", **fields)
        for index, (kbps, psnr) in enumerate(zip(rates, qualities, strict=True))
    ]


X264 = curve([8, 16, 32], [28, 31, 34])


def test_table_is_read_back(tmp_path):
    """Comments, order, types and all values within the decimals kept."""
    points = (*X264, point(5.125, clip="b clip.mp4", codec=COPY_KEY_FRAME, model="0123abcd"))
    table = ResultTable(("first 250 frames", "imfcodec 0.1.0"), points)
    write_table(tmp_path / "rd.tsv", table)
    assert read_table(tmp_path / "rd.tsv") == table
    lines = (tmp_path / "rd.tsv").read_text().splitlines()
    assert lines[0] == "# first 250 frames"
    assert lines[2].split("\t")[:8] == ["clip", "codec", "setting", "model", "frames", "seconds", "bytes", "kbps"]
    assert [path.name for path in tmp_path.iterdir()] == ["rd.tsv"]


def test_what_was_not_measured_is_an_empty_field(tmp_path):
    """None comes back as None, a number as a number."""
    table = ResultTable(points=(replace(point(), lpips=0.125, psnr_y_p5=27.5),))
    write_table(tmp_path / "rd.tsv", table)
    assert read_table(tmp_path / "rd.tsv") == table
    head, row = (line.split("\t") for line in (tmp_path / "rd.tsv").read_text().splitlines())
    fields = dict(zip(head, row, strict=True))
    assert (fields["lpips"], fields["xpsnr_y"], fields["psnr_y_p5"]) == ("0.12500", "", "27.500")


def test_tables_of_before_are_read():
    """The results of version 0.1 have 14 columns; what they lack is None."""
    table = read_table(Path(__file__).parents[2] / "benchmarks" / "results" / "v0.1" / "rd_talk.tsv")
    assert len(table.points) == 315 and table.comments[0] == "first 250 frames of each clip"
    assert {(p.lpips, p.psnr_y_p5) for p in table.points} == {(None, None)}
    assert all(isinstance(p.bytes, int) and isinstance(p.kbps, float) for p in table.points)


def test_missing_table_is_empty(tmp_path):
    """The first run starts from nothing."""
    assert read_table(tmp_path / "rd.tsv") == ResultTable()


@pytest.mark.parametrize("text", ["clip\tcodec\n", "", "# only a comment\n"])
def test_table_with_other_columns_is_refused(tmp_path, text):
    """Such a file is not overwritten by mistake."""
    path = tmp_path / "rd.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match="columns"):
        read_table(path)


@pytest.mark.parametrize("damage", [lambda row: row.replace("250", "many", 1), lambda row: row.rsplit("\t", 1)[0]])
def test_damaged_row_is_refused(tmp_path, damage):
    """A value that is no number, a value too few."""
    path = tmp_path / "rd.tsv"
    write_table(path, ResultTable(points=(point(),)))
    head, row = path.read_text().splitlines()
    path.write_text(f"{head}\n{damage(row)}\n")
    with pytest.raises(InputError, match="damaged row"):
        read_table(path)


def test_curves_are_sorted_and_models_kept_apart():
    """Two models of one codec are two curves."""
    points = [*reversed(X264), point(codec=CODEC, model="aa"), point(codec=CODEC, model="bb")]
    curves = group_curves(points)
    assert list(curves) == ["x264", "imfcodec aa", "imfcodec bb"]
    assert [p.kbps for p in curves["x264"]["a.mp4"]] == [8, 16, 32]


@pytest.mark.parametrize(("factor", "percent"), [(0.5, -50), (1, 0), (1.25, 25)])
@pytest.mark.parametrize("metric", ["psnr_y", "ssim_y"])
def test_bd_rate_of_a_scaled_curve(factor, percent, metric):
    """The same qualities at a constant multiple of the rate."""
    test = [replace(p, kbps=p.kbps * factor) for p in X264]
    result = bd_rate(X264, test, metric)
    assert result.percent == pytest.approx(percent, abs=1e-6)
    assert result.overlap == (getattr(X264[0], metric), getattr(X264[-1], metric))


def test_bd_rate_states_the_overlap():
    """Only the shared range of quality counts."""
    result = bd_rate(X264, curve([4, 8, 16], [29, 32, 36]))
    assert result.overlap == (29, 34) and result.percent < 0
    assert str(result) == f"{result.percent:+.1f} % over 29 to 34"


@pytest.mark.parametrize(
    "test",
    [
        curve([1, 2, 4], [20, 22, 24]),
        curve([1, 2, 4], [24, 26, 28]),
        curve([16], [31]),
        curve([8, 16], [30, 29]),
        [],
    ],
    ids=["below", "touching", "one point", "one point left", "no points"],
)
def test_bd_rate_without_overlap_is_no_number(test):
    """Nothing is extrapolated."""
    result = bd_rate(X264, test)
    assert (result.percent, result.overlap, str(result)) == (None, None, "no overlap")


def test_bd_rate_leaves_out_points_that_are_no_better():
    """A dearer point of lower quality belongs to no curve."""
    bumped = sorted([*X264, point(20, 30.5)], key=lambda p: p.kbps)
    assert not rises_with_rate(bumped) and rises_with_rate(X264)
    assert bd_rate(X264, bumped).percent == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("kbps", "expected"), [(8, 28), (8 * 2**0.5, 29.5), (16, 31), (32, 34), (7.9, None), (32.1, None)]
)
def test_quality_at_a_rate(kbps, expected):
    """Linear in the logarithm of the rate, None outside."""
    assert quality_at(X264, kbps) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("kbps", "nearest"), [(1, 8), (11, 8), (11.6, 16), (23, 32), (500, 32)])
def test_nearest_rate_is_nearest_as_a_ratio(kbps, nearest):
    """11.3 lies half-way between 8 and 16."""
    assert nearest_in_rate(X264, kbps).kbps == nearest


@pytest.mark.parametrize("metric", ["lpips", "ms_ssim_y"])
def test_quality_that_was_not_measured_has_no_value(metric):
    """Neither a guess nor a crash."""
    assert quality_at(X264, 16, metric) is None
    assert bd_rate(X264, X264, metric).percent is None


def test_bd_rate_where_lower_is_better():
    """The same LPIPS at half the rate; the overlap is in LPIPS."""
    anchor = [replace(p, lpips=0.5 - p.psnr_y / 100) for p in X264]
    result = bd_rate(anchor, [replace(p, kbps=p.kbps / 2) for p in anchor], "lpips")
    assert result.percent == pytest.approx(-50, abs=1e-6) and result.overlap == pytest.approx((0.16, 0.22))


def test_envelope_is_the_best_version_at_each_rate():
    """Small pictures win at low rates, whole ones above; a point below another version's curve is left out."""
    whole = curve([8, 16, 32], [26, 31, 35], codec="x265")
    half = curve([4, 9, 20], [25, 29, 30], codec="x265@1/2")
    best = envelope([*whole, *half, *X264])
    assert {(p.codec, p.clip) for p in best} == {("x265 (envelope)", "a.mp4")}
    found = sorted((p.kbps, p.psnr_y, p.setting) for p in best)
    assert found == [(4, 25, "s0 @1/2"), (9, 29, "s1 @1/2"), (16, 31, "s1"), (32, 35, "s2")]


def test_envelope_goes_by_its_metric_and_keeps_clips_apart():
    """What is best in PSNR need not be in LPIPS; points without the metric do not take part."""
    whole = [replace(p, lpips=0.1) for p in curve([8, 16], [26, 31], codec="x265")]
    half = [replace(p, lpips=0.3) for p in curve([8, 16], [28, 33], codec="x265@1/2")]
    other = curve([8], [20], codec="x265", clip="b.mp4")
    assert [p.setting for p in envelope([*whole, *half, *other])] == ["s0 @1/2", "s1 @1/2", "s0"]
    assert [(p.setting, p.lpips) for p in envelope([*whole, *half, *other], "lpips")] == [("s0", 0.1)]


def test_codecs_of_one_size_have_no_envelope():
    """There is nothing to choose from."""
    assert envelope([*X264, *curve([4, 8], [25, 26], codec=CODEC, model="aa")]) == []
