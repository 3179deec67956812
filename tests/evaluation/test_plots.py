"""Curves over several clips, and the pictures of them."""

from dataclasses import replace

import pytest
from bench_samples import curve

from imfcodec.evaluation.curves import (
    METRICS,
    CurvePoint,
    Series,
    clip_curve,
    known_metrics,
    list_series,
    mean_at_equal_rate,
    mean_by_setting,
)
from imfcodec.evaluation.plots import write_curves
from imfcodec.evaluation.report import CODEC, COPY_KEY_FRAME, group_curves

PSNR_Y, SSIM_Y, MS_SSIM_Y = METRICS[:3]


TWO_CLIPS = [*curve("x264", [4, 8, 16], [30, 32, 36]), *curve("x264", [8, 16, 64], [20, 21, 23], "b.mp4")]


def clips_of(points, series="x264"):
    """Curves of one series, clip by clip."""
    return group_curves(points)[series]


def test_mean_at_equal_rate_runs_where_all_clips_do():
    """Clip a at 8 and 16 kbps, clip b at 8 and 16: nothing before or after."""
    assert mean_at_equal_rate(clips_of(TWO_CLIPS), PSNR_Y) == [CurvePoint(8, 26), CurvePoint(16, 28.5)]


def test_mean_at_equal_rate_interpolates_in_log_rate():
    """Half-way in the logarithm between 8 and 32 is 16."""
    points = [*curve("x264", [8, 32], [30, 34]), *curve("x264", [8, 16, 32], [20, 20, 20], "b.mp4")]
    assert [point.value for point in mean_at_equal_rate(clips_of(points), PSNR_Y)] == pytest.approx([25, 26, 27])


def test_clips_without_common_rate_have_no_mean_there():
    """They do have one setting by setting."""
    points = [*curve("x264", [1, 2], [30, 31]), *curve("x264", [4, 8], [20, 21], "b.mp4")]
    assert mean_at_equal_rate(clips_of(points), PSNR_Y) == []
    means = mean_by_setting(clips_of(points), PSNR_Y)
    assert [(mean.kbps, mean.value, mean.setting) for mean in means] == [
        (pytest.approx(2), 25, "s0"),
        (pytest.approx(4), 26, "s1"),
    ]


def test_settings_of_some_clips_only_have_no_mean():
    """Else easy clips would bend the curve."""
    points = [*TWO_CLIPS, *curve("x264", [1, 2, 3, 100], [20, 21, 22, 40], "c.mp4")]
    assert [mean.setting for mean in mean_by_setting(clips_of(points), PSNR_Y)] == ["s0", "s1", "s2"]


def test_unmeasured_points_are_left_out():
    """Of one clip's curve, of means and of the metrics on offer."""
    points = [replace(point, ms_ssim_y=0.9) if point.setting != "s0" else point for point in TWO_CLIPS]
    assert clip_curve(clips_of(points)["a.mp4"], MS_SSIM_Y) == [CurvePoint(8, 0.9, "s1"), CurvePoint(16, 0.9, "s2")]
    assert [point.kbps for point in mean_at_equal_rate(clips_of(points), MS_SSIM_Y)] == [16]
    assert MS_SSIM_Y in known_metrics(points) and MS_SSIM_Y not in known_metrics(TWO_CLIPS)
    assert mean_at_equal_rate(clips_of(TWO_CLIPS), MS_SSIM_Y) == []


def test_lower_is_better_is_said():
    """The axis would be misread otherwise."""
    titles = {metric.name: metric.axis_title for metric in METRICS}
    assert titles["psnr_y"] == "PSNR-Y, dB" and titles["lpips"] == "LPIPS (lower is better)"


def test_series_have_roles():
    """Ours first; the sizes of one codec are parts of its envelope."""
    points = [*curve(COPY_KEY_FRAME, [1], [20], model="ab"), *curve("x265@1/2", [4, 8], [29, 30]), *TWO_CLIPS]
    points += [*curve("x265", [9, 18], [31, 33]), *curve(CODEC, [4, 8], [30, 31], model="ab")]
    assert list_series(points) == [
        Series("imfcodec ab", "imfcodec ab", "own"),
        Series("x264", "x264", "peer"),
        Series("x265 (envelope)", "x265", "envelope"),
        Series("x265@1/2", "x265", "part"),
        Series("x265", "x265", "part"),
        Series("copy key frame ab", "copy key frame ab", "baseline"),
    ]


def test_pictures_are_written(tmp_path):
    """One PNG a metric, replacing what is there; ranges of rates far apart do no harm."""
    pytest.importorskip("matplotlib")
    (tmp_path / "psnr_y.png").write_text("old")
    points = [*TWO_CLIPS, *curve(CODEC, [0.1, 1000], [20, 50], model="ab")]
    written = write_curves(tmp_path, points)
    assert [path.name for path in written] == ["psnr_y.png", "ssim_y.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_no_points_make_no_picture(tmp_path):
    """Rather than an empty one."""
    pytest.importorskip("matplotlib")
    assert write_curves(tmp_path, []) == []
