"""Rate-distortion results: the table they are kept in, curves and their envelopes, BD-rate, values at a given rate."""

import csv
import io
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from imfcodec.errors import InputError
from imfcodec.evaluation.metrics import LOWER_IS_BETTER
from imfcodec.files import write_beside

CODEC = "imfcodec"
COPY_KEY_FRAME = "copy key frame"
ENVELOPE = "(envelope)"


@dataclass(frozen=True)
class RatePoint:
    """One clip coded once: a row of the table.

    Attributes:
        clip: file name without folder.
        codec: "imfcodec", "copy key frame" or a peer's name; a peer at a smaller size ends in "@1/2" or "@1/4".
        setting: the rate control's value, e.g. "q50" or "crf32".
        model: start of the id of the model's weights, hexadecimal; "-" for codecs without one.
        frames: number of frames.
        seconds: duration at the nominal frame rate.
        bytes: size of the whole .imf file; for peers, of the coded packets without any container; for "copy key frame",
            of the key frames' payload.
        kbps: bytes * 8 / 1000 / seconds.
        psnr_y, psnr_u, psnr_v, ssim_y: mean of the frames, PSNR in dB; see `metrics.FrameMetrics`, also for the others.
        encode_fps, decode_fps: frames per second, one thread; of imfcodec with all it takes to start: loading the model
            and, for decoding, the process.
        psnr_611, psnr_rgb, ssim_y_8x8, ms_ssim_y, xpsnr_y, lpips, warping_error: mean of the frames; None where not
            measured.
        psnr_y_p5, ssim_y_p5: 5th percentile of the frames; None where not measured.
    """

    clip: str
    codec: str
    setting: str
    model: str
    frames: int
    seconds: float
    bytes: int
    kbps: float
    psnr_y: float
    ssim_y: float
    psnr_u: float
    psnr_v: float
    encode_fps: float
    decode_fps: float
    psnr_611: float | None = None
    psnr_rgb: float | None = None
    ssim_y_8x8: float | None = None
    ms_ssim_y: float | None = None
    xpsnr_y: float | None = None
    lpips: float | None = None
    warping_error: float | None = None
    psnr_y_p5: float | None = None
    ssim_y_p5: float | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a table holds once: clip, codec, setting and model."""
        return (self.clip, self.codec, self.setting, self.model)

    @property
    def series(self) -> str:
        """Name of the rate-distortion curve this point lies on: the codec, and its model if it has one."""
        return self.codec if self.model == "-" else f"{self.codec} {self.model}"


@dataclass(frozen=True)
class ResultTable:
    """Comment lines (without "#") that say how the results were made, and the results."""

    comments: tuple[str, ...] = ()
    points: tuple[RatePoint, ...] = ()


@dataclass(frozen=True)
class BdRate:
    """Mean change of rate at equal quality of a test curve against an anchor curve.

    Attributes:
        percent: negative where the test curve needs less; None when the curves share no range of quality.
        overlap: lowest and highest value of the metric that both curves reach; None when there is none.
    """

    percent: float | None
    overlap: tuple[float, float] | None

    def __str__(self) -> str:
        if self.percent is None or self.overlap is None:
            return "no overlap"
        return f"{self.percent:+.1f} % over {self.overlap[0]:.4g} to {self.overlap[1]:.4g}"


Curves = Mapping[str, Mapping[str, Sequence[RatePoint]]]
"""Series -> clip -> points by rising rate."""

_COLUMNS = tuple(field.name for field in fields(RatePoint))
_OLD_COLUMNS = tuple(field.name for field in fields(RatePoint) if field.default is MISSING)
_WHOLE_NUMBERS = frozenset({"frames", "bytes"})
_DECIMALS = {
    **dict.fromkeys(("encode_fps", "decode_fps"), 1),
    **dict.fromkeys(("seconds", "kbps", "psnr_y", "psnr_u", "psnr_v"), 3),
    **dict.fromkeys(("psnr_611", "psnr_rgb", "xpsnr_y", "psnr_y_p5"), 3),
    **dict.fromkeys(("ssim_y", "ssim_y_8x8", "ms_ssim_y", "ssim_y_p5", "lpips", "warping_error"), 5),
}


def write_table(path: Path, table: ResultTable) -> None:
    """Write a table as tab-separated text with "#" comments, None as nothing; replaces the file in one step."""
    text = io.StringIO()
    for comment in table.comments:
        text.write(f"# {comment}\n")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(_COLUMNS)
    for point in table.points:
        writer.writerow(_format_field(name, value) for name, value in asdict(point).items())
    with write_beside(path) as file:
        file.write(text.getvalue().encode())


def read_table(path: Path) -> ResultTable:
    """Read a table written by `write_table`, now or before it had all columns; an empty one when there is no file.

    Raises:
        InputError: the columns are not those of a RatePoint, or a value is not a number.
    """
    if not path.exists():
        return ResultTable()
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = tuple(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    rows = list(csv.reader((line for line in lines if not line.startswith("#")), delimiter="\t"))
    if not rows or tuple(rows[0]) not in (_COLUMNS, _OLD_COLUMNS):
        raise InputError(f"{path}: the columns are not {' '.join(_COLUMNS)}; move the file away and run again")
    try:
        points = tuple(_parse_row(rows[0], row) for row in rows[1:])
    except ValueError as error:
        raise InputError(f"{path}: damaged row ({error}); remove it and run again") from error
    return ResultTable(comments, points)


def group_curves(points: Iterable[RatePoint]) -> Curves:
    """Sort points into curves: series -> clip -> points by rising rate, in order of first appearance."""
    curves: dict[str, dict[str, list[RatePoint]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        curves[point.series][point.clip].append(point)
    for clips in curves.values():
        for curve in clips.values():
            curve.sort(key=lambda point: point.kbps)
    return curves


def envelope(points: Iterable[RatePoint], metric: str = "psnr_y") -> list[RatePoint]:
    """The best of each codec and its downscaled versions as one series, e.g. "x265 (envelope)".

    A point lies on it where no version gives as much for less, and the curve of none lies above it. Codecs without
    downscaled versions have no envelope. The setting says which version a point is of: "crf45 @1/2".
    """
    families: dict[tuple[str, str, str], dict[str, list[RatePoint]]] = defaultdict(lambda: defaultdict(list))
    for point in sorted(points, key=lambda point: point.kbps):
        if getattr(point, metric) is not None:
            families[point.codec.partition("@")[0], point.model, point.clip][point.codec].append(point)
    scaled = {base for (base, *_), versions in families.items() if set(versions) - {base}}
    return [
        replace(point, codec=f"{base} {ENVELOPE}", setting=f"{point.setting} {point.codec.removeprefix(base)}".strip())
        for (base, *_), versions in sorted(families.items())
        for point in itertools.chain.from_iterable(versions.values())
        if base in scaled and not any(_lies_below(point, curve, metric) for curve in versions.values())
    ]


def bd_rate(anchor: Sequence[RatePoint], test: Sequence[RatePoint], metric: str = "psnr_y") -> BdRate:
    """Bjontegaard delta rate of one clip's curve against another, piecewise cubic (pchip).

    Points that are no better than a point at a lower rate are left out of both curves first.

    Args:
        anchor, test: points of one clip by rising rate.
        metric: name of the quality attribute; points where it is None are left out.
    Source: G. Bjontegaard, VCEG-M33; computed by the package `bjontegaard`.
    """
    import bjontegaard  # here, because it loads Matplotlib and only reports need it

    (anchor_kbps, anchor_quality), (test_kbps, test_quality) = (_rising(curve, metric) for curve in (anchor, test))
    if min(len(anchor_quality), len(test_quality)) < 2:
        return BdRate(None, None)
    low, high = max(anchor_quality[0], test_quality[0]), min(anchor_quality[-1], test_quality[-1])
    if low >= high:
        return BdRate(None, None)
    percent = bjontegaard.bd_rate(
        anchor_kbps,
        anchor_quality,
        test_kbps,
        test_quality,
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    return BdRate(float(percent), (-high, -low) if metric in LOWER_IS_BETTER else (low, high))


def quality_at(curve: Sequence[RatePoint], kbps: float, metric: str = "psnr_y") -> float | None:
    """Quality of one clip's curve at a rate, linear in the logarithm of the rate.

    None outside the curve's rates and where the metric was not measured.
    """
    if not curve or not curve[0].kbps <= kbps <= curve[-1].kbps:
        return None
    qualities = [getattr(point, metric) for point in curve]
    if None in qualities:
        return None
    return float(np.interp(math.log(kbps), [math.log(point.kbps) for point in curve], qualities))


def nearest_in_rate(curve: Sequence[RatePoint], kbps: float) -> RatePoint:
    """The point of a curve whose rate is nearest, as a ratio."""
    return min(curve, key=lambda point: abs(math.log(point.kbps / kbps)))


def rises_with_rate(curve: Sequence[RatePoint], metric: str = "psnr_y") -> bool:
    """Whether quality rises strictly from each point to the next."""
    values = [getattr(point, metric) for point in curve]
    return all(before < after for before, after in itertools.pairwise(values))


def _format_field(name: str, value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.{_DECIMALS[name]}f}" if name in _DECIMALS else str(value)


def _parse_row(names: Sequence[str], row: Sequence[str]) -> RatePoint:
    return RatePoint(**{name: _parse_field(name, text) for name, text in zip(names, row, strict=True)})


def _parse_field(name: str, text: str) -> Any:
    if name in _DECIMALS:
        return float(text) if text or name in _OLD_COLUMNS else None
    return int(text) if name in _WHOLE_NUMBERS else text


def _score(point: RatePoint, metric: str) -> float:
    """The metric, or its negative, so that higher is better."""
    value: float = getattr(point, metric)
    return -value if metric in LOWER_IS_BETTER else value


def _lies_below(point: RatePoint, curve: Sequence[RatePoint], metric: str) -> bool:
    """Whether a curve gives more than a point at the point's rate, or no less at a lower one."""
    score, there = _score(point, metric), quality_at(curve, point.kbps, metric)
    if there is not None and (-there if metric in LOWER_IS_BETTER else there) > score:
        return True
    return any(other.kbps < point.kbps and _score(other, metric) >= score for other in curve)


def _rising(curve: Sequence[RatePoint], metric: str) -> tuple[list[float], list[float]]:
    """Rates and scores of the points that are better than all at lower rates."""
    rates: list[float] = []
    scores: list[float] = []
    for point in curve:
        if getattr(point, metric) is None:
            continue
        score = _score(point, metric)
        if not scores or score > scores[-1]:
            rates.append(point.kbps)
            scores.append(score)
    return rates, scores
