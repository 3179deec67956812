"""Rate-distortion curves as PNG pictures."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imfcodec.errors import UsageError
from imfcodec.evaluation.curves import (
    METRICS,
    CurvePoint,
    Metric,
    draw_curves,
    known_metrics,
    list_series,
    mean_at_equal_rate,
    mean_by_setting,
)
from imfcodec.evaluation.report import RatePoint
from imfcodec.files import write_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURES = ("psnr_y", "ssim_y")
TICKS_KBPS = (1, 2, 3, 5, 8, 12, 20, 40, 80, 160, 320, 640, 1280)
LEFT_OUT = ("part", "baseline")  # envelopes stand for their parts; copying the key frame lies 10 dB below the rest
STYLES: Mapping[str, Mapping[str, Any]] = {
    "own": {"color": "#c2410c", "linewidth": 3, "zorder": 5},
}
# Wong's colours, told apart by colour-blind readers too, less the one that is like ours.
PEER_COLOURS = ("#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#b08900", "#5b5f97")


def write_curves(folder: Path, points: Sequence[RatePoint]) -> list[Path]:
    """Write `psnr_y.png` and `ssim_y.png`, quality against rate, mean over the clips.

    The lines run where every clip of a codec has a curve: each clip is interpolated linearly in the logarithm of the
    rate. The dots are means over the clips setting by setting. Codecs that also coded at smaller sizes are drawn as
    their envelope, and copying the key frame is left out. The caption of the picture says so.

    Args:
        folder: where to write; must exist. Pictures that are there are replaced.
        points: results of one run; metrics they do not hold get no picture.
    Returns:
        The files written.
    Raises:
        UsageError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("curves need the package matplotlib; run pip install 'imfcodec[bench]'") from error
    written = []
    for metric in (metric for metric in METRICS if metric.name in PICTURES and metric in known_metrics(points)):
        figure = Figure(figsize=(8, 5.2), dpi=150, layout="constrained")
        _draw(figure, points, metric)
        written.append(folder / f"{metric.name}.png")
        with write_beside(written[-1]) as file:
            figure.savefig(file, format="png", facecolor="white")
    return written


def _draw(figure: "Figure", points: Sequence[RatePoint], metric: Metric) -> None:
    axes = figure.subplots()
    curves = draw_curves(points, metric)
    peer_colours = itertools.cycle(PEER_COLOURS)
    for series in list_series(points):
        if series.role in LEFT_OUT or series.name not in curves:
            continue
        clips = curves[series.name]
        style = STYLES.get(series.role) or {"color": next(peer_colours)}
        # The settings on an envelope differ from clip to clip.
        dots = [] if series.role == "envelope" else mean_by_setting(clips, metric)
        _draw_series(axes, series.name, mean_at_equal_rate(clips, metric), dots, style)
    _dress(axes, metric)
    figure.supxlabel(_caption(len({point.clip for point in points})), fontsize=8, color="#555555")


def _draw_series(
    axes: "Axes", name: str, line: Sequence[CurvePoint], dots: Sequence[CurvePoint], style: Mapping[str, Any]
) -> None:
    axes.plot([p.kbps for p in line], [p.value for p in line], label=name, **{"linewidth": 1.8, **style})
    faint = {**style, "linestyle": ":", "linewidth": 1, "marker": "o", "markersize": 4, "alpha": 0.6}
    axes.plot([p.kbps for p in dots], [p.value for p in dots], **faint)


def _dress(axes: "Axes", metric: Metric) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [tick for tick in TICKS_KBPS if low <= tick <= high]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("rate, kbps (logarithmic)")
    axes.set_ylabel(metric.axis_title)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def _caption(clip_count: int) -> str:
    if clip_count == 1:
        return "One clip; lines are linear in the logarithm of the rate."
    return (
        f"Mean of {clip_count} clips. Lines: at equal rate, where all clips of a codec have a curve, each interpolated "
        "in the logarithm of the rate.\nDots: setting by setting, geometric mean rate."
    )
