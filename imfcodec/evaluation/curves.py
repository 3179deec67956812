"""What rate-distortion pictures draw: the metrics there are, and curves over several clips."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imfcodec.evaluation.metrics import LOWER_IS_BETTER
from imfcodec.evaluation.report import (
    CODEC,
    COPY_KEY_FRAME,
    ENVELOPE,
    Curves,
    RatePoint,
    envelope,
    group_curves,
    quality_at,
)


@dataclass(frozen=True)
class Metric:
    """A measure of quality that a RatePoint may hold.

    Attributes:
        name: attribute of RatePoint.
        label: what readers see.
        unit: "dB" or "" where the metric is a bare number.
    """

    name: str
    label: str
    unit: str = ""

    @property
    def axis_title(self) -> str:
        """Label with unit, and with the direction where it is not the usual one."""
        title = f"{self.label}, {self.unit}" if self.unit else self.label
        return f"{title} (lower is better)" if self.name in LOWER_IS_BETTER else title


@dataclass(frozen=True)
class CurvePoint:
    """A point of a drawn curve: rate in kbps, value of the metric, and the setting ("" where it is interpolated)."""

    kbps: float
    value: float
    setting: str = ""


@dataclass(frozen=True)
class Series:
    """Something that has a curve.

    Attributes:
        name: key of the curves.
        family: the codec, whatever size it coded at: "x265" for "x265@1/2" and "x265 (envelope)".
        role: "own"; "peer"; "envelope", the best of a family that coded at several sizes; "part", a series of such a
            family; or "baseline", what sending key frames alone would give.
    """

    name: str
    family: str
    role: str


METRICS = (
    Metric("psnr_y", "PSNR-Y", "dB"),
    Metric("ssim_y", "SSIM-Y"),
    Metric("ms_ssim_y", "MS-SSIM-Y"),
    Metric("xpsnr_y", "XPSNR-Y", "dB"),
    Metric("psnr_611", "PSNR 6:1:1", "dB"),
    Metric("psnr_rgb", "PSNR-RGB", "dB"),
    Metric("psnr_u", "PSNR-U", "dB"),
    Metric("psnr_v", "PSNR-V", "dB"),
    Metric("ssim_y_8x8", "SSIM-Y as FFmpeg defines it"),
    Metric("lpips", "LPIPS"),
    Metric("warping_error", "Warping error"),
    Metric("psnr_y_p5", "PSNR-Y of the worst frames (5th percentile)", "dB"),
    Metric("ssim_y_p5", "SSIM-Y of the worst frames (5th percentile)"),
)


_ROLES = ("own", "peer", "envelope", "part", "baseline")


def known_metrics(points: Iterable[RatePoint]) -> list[Metric]:
    """The metrics that at least one of the points holds."""
    held = list(points)
    return [metric for metric in METRICS if _holding(held, metric)]


def clip_curve(curve: Iterable[RatePoint], metric: Metric) -> list[CurvePoint]:
    """One clip's points that hold the metric, by rising rate."""
    return [CurvePoint(point.kbps, getattr(point, metric.name), point.setting) for point in _holding(curve, metric)]


def mean_at_equal_rate(clips: Mapping[str, Sequence[RatePoint]], metric: Metric) -> list[CurvePoint]:
    """Mean over the clips of one series at the rates that every clip's curve reaches; empty where there are none.

    Each clip is interpolated as by `report.quality_at`: linear in the logarithm of the rate, never extrapolated. The
    mean of such curves bends only where one of them does, so those rates give it exactly.
    """
    curves = [held for curve in clips.values() if (held := _holding(curve, metric))]
    low = max((curve[0].kbps for curve in curves), default=math.inf)
    high = min((curve[-1].kbps for curve in curves), default=-math.inf)
    rates = sorted({point.kbps for curve in curves for point in curve if low <= point.kbps <= high})
    return [CurvePoint(kbps, _mean([quality_at(curve, kbps, metric.name) for curve in curves])) for kbps in rates]


def mean_by_setting(clips: Mapping[str, Sequence[RatePoint]], metric: Metric) -> list[CurvePoint]:
    """Mean over the clips of one series setting by setting, by rising rate: geometric mean rate, mean of the metric.

    Only settings that every clip of the series has a point of.
    """
    curves = [held for curve in clips.values() if (held := _holding(curve, metric))]
    by_setting: dict[str, list[RatePoint]] = defaultdict(list)
    for point in (point for curve in curves for point in curve):
        by_setting[point.setting].append(point)
    means = [
        CurvePoint(
            math.exp(_mean([math.log(point.kbps) for point in held])),
            _mean([getattr(point, metric.name) for point in held]),
            setting,
        )
        for setting, held in by_setting.items()
        if len(held) == len(curves)
    ]
    return sorted(means, key=lambda mean: mean.kbps)


def draw_curves(points: Sequence[RatePoint], metric: Metric) -> Curves:
    """Curves of all series, the envelopes in this metric among them."""
    return group_curves([*points, *envelope(points, metric.name)])


def list_series(points: Sequence[RatePoint]) -> list[Series]:
    """Everything that has a curve: ours, then peers and envelopes, then parts of envelopes and baselines."""
    names = list(draw_curves(points, METRICS[0]))
    enveloped = {_family(name) for name in names if name.endswith(ENVELOPE)}
    series = [Series(name, _family(name), _role(name, _family(name) in enveloped)) for name in names]
    return sorted(series, key=lambda entry: _ROLES.index(entry.role))


def _family(name: str) -> str:
    return name.removesuffix(f" {ENVELOPE}").partition("@")[0]


def _role(name: str, is_enveloped: bool) -> str:
    if name.endswith(ENVELOPE):
        return "envelope"
    if name.startswith((CODEC, COPY_KEY_FRAME)):
        return "own" if name.startswith(CODEC) else "baseline"
    return "part" if is_enveloped else "peer"


def _holding(curve: Iterable[RatePoint], metric: Metric) -> list[RatePoint]:
    return [point for point in curve if getattr(point, metric.name) is not None]


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean(np.array(values, dtype=float)))
