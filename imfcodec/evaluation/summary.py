"""Summary of rate-distortion results in Markdown."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from imfcodec.evaluation.report import (
    CODEC,
    COPY_KEY_FRAME,
    Curves,
    RatePoint,
    bd_rate,
    envelope,
    group_curves,
    nearest_in_rate,
    quality_at,
    rises_with_rate,
)

ANCHOR = "x264"
SUMMARY_KBPS = (3.0, 5.0, 8.0, 12.0, 20.0, 40.0)
CLIP_KBPS = 8.0
BD_METRICS = {
    "psnr_y": "PSNR-Y",
    "ssim_y": "SSIM-Y",
    "ms_ssim_y": "MS-SSIM-Y",
    "xpsnr_y": "XPSNR-Y",
    "psnr_u": "PSNR-U",
    "psnr_v": "PSNR-V",
    "psnr_611": "PSNR 6:1:1",
    "psnr_rgb": "PSNR-RGB",
    "lpips": "LPIPS",
}


def summarise(points: Sequence[RatePoint], anchor: str = ANCHOR) -> str:
    """Markdown summary: quality at given rates, BD-rate, copying the key frame, pairs of nearest rate.

    Args:
        points: measured points, at least one; the envelopes of codecs with downscaled versions are added.
    """
    by_metric = curves_by_metric(points)
    curves = by_metric["psnr_y"]
    parts = [_rate_section(curves)]
    rivals = [series for series in by_metric["psnr_y"] if not series.startswith(COPY_KEY_FRAME)]
    parts += _bd_section(by_metric, f"BD-rate against {anchor}", [(anchor, series) for series in rivals])
    for series in curves:
        if series.startswith(CODEC):
            parts += _gain_section(curves, series, [rival for rival in rivals if rival != series])
            pairs = [(rival, series) for rival in rivals if rival != anchor]
            parts += _bd_section(by_metric, f"BD-rate of {series}", pairs)
            parts.append(_own_section(curves, series))
            if anchor in curves:
                parts.append(_pair_section(curves, series, anchor))
    return "\n\n".join(parts) + "\n"


def curves_by_metric(points: Sequence[RatePoint]) -> dict[str, Curves]:
    """Curves with the envelopes in each metric that was measured."""
    metrics = [metric for metric in BD_METRICS if any(getattr(point, metric) is not None for point in points)]
    return {metric: group_curves([*points, *envelope(points, metric)]) for metric in metrics}


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; cells as they are."""
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
    return f"## Quality at given rates\n\n{note}\n\n{markdown_table(head, rows)}"


def _gain_at(own: Mapping[str, Sequence[RatePoint]], rival: Mapping[str, Sequence[RatePoint]], kbps: float) -> str:
    shared = [(own[clip], rival[clip]) for clip in own if clip in rival]
    gains = []
    for pair in shared:
        (our_psnr, psnr), (our_ssim, ssim) = ([quality_at(c, kbps, m) for c in pair] for m in ("psnr_y", "ssim_y"))
        if our_psnr is not None and psnr is not None and our_ssim is not None and ssim is not None:
            gains.append((our_psnr - psnr, our_ssim - ssim))
    if not gains:
        return "-"
    psnr_gain, ssim_gain = np.mean(np.array(gains), axis=0)
    return f"{psnr_gain:+.2f} / {ssim_gain:+.3f} ({len(gains)} of {len(shared)})"


def _gain_section(curves: Curves, series: str, rivals: Sequence[str]) -> list[str]:
    """One row for each rival; nothing where there is none."""
    if not rivals:
        return []
    head = ["rival", *(f"{kbps:g} kbps" for kbps in SUMMARY_KBPS)]
    rows = [[rival, *(_gain_at(curves[series], curves[rival], kbps) for kbps in SUMMARY_KBPS)] for rival in rivals]
    note = "Our PSNR-Y (dB) / SSIM-Y less the rival's, mean of the clips on which both reach the rate (how many)."
    return [f"## {series} less others at equal rate\n\n{note}\n\n{markdown_table(head, rows)}"]


def _bd_cell(curves: Curves, anchor: str, test: str, metric: str) -> str:
    shared = [clip for clip in curves.get(test, ()) if clip in curves.get(anchor, ())]
    results = [bd_rate(curves[anchor][clip], curves[test][clip], metric) for clip in shared]
    found = [(result.percent, *result.overlap) for result in results if result.overlap is not None]
    if not found:
        return "no overlap"
    percent, low, high = np.mean(np.array(found, dtype=float), axis=0)
    return f"{percent:+.1f} % ({len(found)} of {len(shared)}, {low:.4g} to {high:.4g})"


def _bd_section(by_metric: Mapping[str, Curves], title: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """One row for each pair of anchor and test curve; nothing where a name is missing or no two differ."""
    known = by_metric["psnr_y"]
    pairs = [(anchor, test) for anchor, test in pairs if anchor != test and anchor in known and test in known]
    if not pairs:
        return []
    rows = [
        [anchor, test, *(_bd_cell(curves, anchor, test, metric) for metric, curves in by_metric.items())]
        for anchor, test in pairs
    ]
    note = (
        "Mean over the clips of the change of rate at equal quality; negative where the test codec needs less. In "
        "brackets on how many clips the curves overlap, the others are left out, and the mean range of quality where."
    )
    head = ["anchor", "test", *(BD_METRICS[metric] for metric in by_metric)]
    return [f"## {title}\n\n{note}\n\n{markdown_table(head, rows)}"]


def _own_section(curves: Curves, series: str) -> str:
    copies = curves.get(series.replace(CODEC, COPY_KEY_FRAME, 1), {})
    rows = []
    for clip, curve in curves[series].items():
        copied = {point.setting: point.psnr_y for point in copies.get(clip, ())}
        gains = [point.psnr_y - copied[point.setting] for point in curve if point.setting in copied]
        gain = f"{min(gains):+.2f} to {max(gains):+.2f}" if gains else "-"
        first, last = curve[0], curve[-1]
        kbps, psnr = f"{first.kbps:.2f} to {last.kbps:.2f}", f"{first.psnr_y:.2f} to {last.psnr_y:.2f}"
        at = quality_at(curve, CLIP_KBPS)
        rises = "yes" if rises_with_rate(curve) else "no"
        rows.append([clip, kbps, psnr, "-" if at is None else f"{at:.2f}", gain, rises])
    at_rate = f"at {CLIP_KBPS:g} kbps, dB"
    head = ["clip", "kbps", "PSNR-Y, dB", at_rate, "gain over copying the key frame, dB", "quality rises with rate"]
    return f"## {series}, clip by clip\n\n{markdown_table(head, rows)}"


def _pair_section(curves: Curves, series: str, anchor: str) -> str:
    rows = []
    for clip, curve in curves[series].items():
        for point in curve if clip in curves[anchor] else ():
            peer = nearest_in_rate(curves[anchor][clip], point.kbps)
            cells = [f"{p.setting}: {p.kbps:.2f} kbps, {p.psnr_y:.2f} dB, {p.ssim_y:.3f}" for p in (point, peer)]
            rows.append([clip, *cells, f"{point.psnr_y - peer.psnr_y:+.2f}", f"{point.ssim_y - peer.ssim_y:+.3f}"])
    head = ["clip", series, f"{anchor}, nearest rate", "PSNR-Y, dB", "SSIM-Y"]
    return f"## {series} beside {anchor} at the nearest rate\n\n{markdown_table(head, rows)}"
