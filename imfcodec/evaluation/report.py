"""Rate-distortion results: the table they are kept in, BD-rate, values at a given rate, and a summary in Markdown."""

import csv
import io
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from imfcodec.errors import InputError
from imfcodec.files import write_beside

CODEC = "imfcodec"
COPY_KEY_FRAME = "copy key frame"
SUMMARY_KBPS = (3.0, 5.0, 8.0, 12.0, 20.0, 40.0)


@dataclass(frozen=True)
class RatePoint:
    """One clip coded once: a row of the table.

    Attributes:
        clip: file name without folder.
        codec: "imfcodec", "copy key frame" or a peer's name.
        setting: the rate control's value, e.g. "q50" or "crf32".
        model: start of the id of the model's weights, hexadecimal; "-" for codecs without one.
        frames: number of frames.
        seconds: duration at the nominal frame rate.
        bytes: size of the whole .imf file; for peers, of the coded packets without any container; for "copy key frame",
            of the key frames' payload.
        kbps: bytes * 8 / 1000 / seconds.
        psnr_y, psnr_u, psnr_v: mean of the frames, dB.
        ssim_y: mean of the frames.
        encode_fps, decode_fps: frames per second, one thread; decode_fps of imfcodec is that of the whole command,
            start-up included.
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
_DECIMALS = {
    "seconds": 3,
    "kbps": 3,
    "psnr_y": 3,
    "ssim_y": 5,
    "psnr_u": 3,
    "psnr_v": 3,
    "encode_fps": 1,
    "decode_fps": 1,
}


def write_table(path: Path, table: ResultTable) -> None:
    """Write a table as tab-separated text with "#" comments; replaces the file in one step."""
    text = io.StringIO()
    for comment in table.comments:
        text.write(f"# {comment}\n")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(_COLUMNS)
    for point in table.points:
        values = asdict(point)
        writer.writerow(f"{values[name]:.{_DECIMALS[name]}f}" if name in _DECIMALS else values[name] for name in values)
    with write_beside(path) as file:
        file.write(text.getvalue().encode())


def read_table(path: Path) -> ResultTable:
    """Read a table written by `write_table`; an empty one when there is no file.

    Raises:
        InputError: the columns are not those of a RatePoint, or a value is not a number.
    """
    if not path.exists():
        return ResultTable()
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = tuple(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    rows = list(csv.reader((line for line in lines if not line.startswith("#")), delimiter="\t"))
    if not rows or tuple(rows[0]) != _COLUMNS:
        raise InputError(f"{path}: the columns are not {' '.join(_COLUMNS)}; move the file away and run again")
    try:
        points = tuple(_parse_row(row) for row in rows[1:])
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


def bd_rate(anchor: Sequence[RatePoint], test: Sequence[RatePoint], metric: str = "psnr_y") -> BdRate:
    """Bjontegaard delta rate of one clip's curve against another, piecewise cubic (pchip).

    Points that are no better than a point at a lower rate are left out of both curves first.

    Args:
        anchor, test: points of one clip by rising rate.
        metric: name of the quality attribute, higher is better.
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
    return BdRate(float(percent), (low, high))


def quality_at(curve: Sequence[RatePoint], kbps: float, metric: str = "psnr_y") -> float | None:
    """Quality of one clip's curve at a rate, linear in the logarithm of the rate; None outside the curve's rates."""
    if not curve or not curve[0].kbps <= kbps <= curve[-1].kbps:
        return None
    log_rates = [math.log(point.kbps) for point in curve]
    return float(np.interp(math.log(kbps), log_rates, [getattr(point, metric) for point in curve]))


def nearest_in_rate(curve: Sequence[RatePoint], kbps: float) -> RatePoint:
    """The point of a curve whose rate is nearest, as a ratio."""
    return min(curve, key=lambda point: abs(math.log(point.kbps / kbps)))


def rises_with_rate(curve: Sequence[RatePoint], metric: str = "psnr_y") -> bool:
    """Whether quality rises strictly from each point to the next."""
    values = [getattr(point, metric) for point in curve]
    return all(before < after for before, after in itertools.pairwise(values))


def summarise(points: Sequence[RatePoint], anchor: str = "x264") -> str:
    """Markdown summary: quality at given rates, BD-rate, copying the key frame, pairs of nearest rate."""
    curves = group_curves(points)
    parts = [_rate_section(curves)]
    compared = [series for series in curves if series != anchor and not series.startswith(COPY_KEY_FRAME)]
    if anchor in curves and compared:
        parts.append(_bd_section(curves, anchor, compared))
    for series in curves:
        if series.startswith(CODEC):
            parts.append(_own_section(curves, series))
            if anchor in curves:
                parts.append(_pair_section(curves, series, anchor))
    return "\n\n".join(parts) + "\n"


def _parse_row(row: Sequence[str]) -> RatePoint:
    values = (field.type(text) for field, text in zip(fields(RatePoint), row, strict=True))  # type: ignore[operator]
    return RatePoint(*values)


def _rising(curve: Sequence[RatePoint], metric: str) -> tuple[list[float], list[float]]:
    rates: list[float] = []
    qualities: list[float] = []
    for point in curve:
        quality = getattr(point, metric)
        if not qualities or quality > qualities[-1]:
            rates.append(point.kbps)
            qualities.append(quality)
    return rates, qualities


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean_at(clips: Mapping[str, Sequence[RatePoint]], kbps: float) -> str:
    pairs = [(quality_at(curve, kbps), quality_at(curve, kbps, "ssim_y")) for curve in clips.values()]
    reached = [pair for pair in pairs if None not in pair]
    if not reached:
        return "-"
    psnr, ssim = np.mean(np.array(reached, dtype=float), axis=0)
    share = "" if len(reached) == len(pairs) else f" ({len(reached)} of {len(pairs)})"
    return f"{psnr:.2f} / {ssim:.3f}{share}"


def _rate_section(curves: Curves) -> str:
    head = ["codec", *(f"{kbps:g} kbps" for kbps in SUMMARY_KBPS), "lowest mean rate, kbps"]
    rows = []
    for series, clips in curves.items():
        lowest = float(np.mean([curve[0].kbps for curve in clips.values()]))
        rows.append([series, *(_mean_at(clips, kbps) for kbps in SUMMARY_KBPS), f"{lowest:.2f}"])
    note = (
        "Mean PSNR-Y (dB) / SSIM-Y of the clips whose curve reaches the rate (how many, where not all); each clip "
        "interpolated in the logarithm of the rate, never extrapolated."
    )
    return f"## Quality at given rates\n\n{note}\n\n{_markdown_table(head, rows)}"


def _bd_cell(curves: Curves, anchor: str, series: str, metric: str) -> str:
    shared = [clip for clip in curves[series] if clip in curves[anchor]]
    results = [bd_rate(curves[anchor][clip], curves[series][clip], metric) for clip in shared]
    found = [(result.percent, *result.overlap) for result in results if result.overlap is not None]
    if not found:
        return "no overlap"
    percent, low, high = np.mean(np.array(found, dtype=float), axis=0)
    return f"{percent:+.1f} % ({len(found)} of {len(shared)} clips, overlap {low:.4g} to {high:.4g} on average)"


def _bd_section(curves: Curves, anchor: str, compared: Sequence[str]) -> str:
    rows = [
        [series, _bd_cell(curves, anchor, series, "psnr_y"), _bd_cell(curves, anchor, series, "ssim_y")]
        for series in compared
    ]
    note = (
        f"Mean over the clips of the BD-rate against {anchor}; negative is better. Clips without overlap are left out."
    )
    return f"## BD-rate\n\n{note}\n\n{_markdown_table(['codec', 'PSNR-Y', 'SSIM-Y'], rows)}"


def _own_section(curves: Curves, series: str) -> str:
    copies = curves.get(series.replace(CODEC, COPY_KEY_FRAME, 1), {})
    rows = []
    for clip, curve in curves[series].items():
        copied = {point.setting: point.psnr_y for point in copies.get(clip, ())}
        gains = [point.psnr_y - copied[point.setting] for point in curve if point.setting in copied]
        gain = f"{min(gains):+.2f} to {max(gains):+.2f}" if gains else "-"
        first, last = curve[0], curve[-1]
        kbps, psnr = f"{first.kbps:.2f} to {last.kbps:.2f}", f"{first.psnr_y:.2f} to {last.psnr_y:.2f}"
        rows.append([clip, kbps, psnr, gain, "yes" if rises_with_rate(curve) else "no"])
    head = ["clip", "kbps", "PSNR-Y, dB", "gain over copying the key frame, dB", "quality rises with rate"]
    return f"## {series}, clip by clip\n\n{_markdown_table(head, rows)}"


def _pair_section(curves: Curves, series: str, anchor: str) -> str:
    rows = []
    for clip, curve in curves[series].items():
        for point in curve if clip in curves[anchor] else ():
            peer = nearest_in_rate(curves[anchor][clip], point.kbps)
            cells = [f"{p.setting}: {p.kbps:.2f} kbps, {p.psnr_y:.2f} dB, {p.ssim_y:.3f}" for p in (point, peer)]
            rows.append([clip, *cells, f"{point.psnr_y - peer.psnr_y:+.2f}", f"{point.ssim_y - peer.ssim_y:+.3f}"])
    head = ["clip", series, f"{anchor}, nearest rate", "PSNR-Y, dB", "SSIM-Y"]
    return f"## {series} beside {anchor} at the nearest rate\n\n{_markdown_table(head, rows)}"
