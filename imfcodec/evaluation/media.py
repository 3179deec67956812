"""What a benchmark has to look at: original, imfcodec and the best peer at the same rate, as videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imfcodec.evaluation.codecs import run_codec, write_clip
from imfcodec.evaluation.metrics import METRIC_NAMES, ComparisonReport, compare_frame_streams
from imfcodec.evaluation.report import CODEC, COPY_KEY_FRAME, RatePoint, group_curves, nearest_in_rate
from imfcodec.evaluation.results import ClipMedia
from imfcodec.evaluation.spending import spending_over_time
from imfcodec.evaluation.sweep import SweepTask, read_clip
from imfcodec.frames import Frame, VideoFormat

Figures = dict[str, list[float | None]]

SAME_RATE = 1.25
"""Rates up to this ratio are called the same."""


@dataclass(frozen=True)
class Shown:
    """One clip made ready to look at: its videos, and metric -> value of every frame for each coded one."""

    media: ClipMedia
    figures: dict[str, Figures]


def choose_pair(points: Sequence[RatePoint]) -> list[RatePoint]:
    """What to show of one clip: our point in the middle of the curve, and the best peer's point at that rate.

    The best is that of highest PSNR-Y among the peers' points of nearest rate, as far as they have the same rate (ratio
    up to SAME_RATE); where none has, the one of nearest rate.

    Args:
        points: of one clip, at least one.
    Returns:
        Our point and the peer's; without either of them the list is shorter.
    """
    curves = [next(iter(clips.values())) for clips in group_curves(points).values()]
    own = [curve for curve in curves if curve[0].codec == CODEC]
    peers = [curve for curve in curves if curve[0].codec not in (CODEC, COPY_KEY_FRAME)]
    if not own or not peers:
        return [curve[len(curve) // 2] for curve in own]
    middle = own[0][len(own[0]) // 2]
    nearest = [nearest_in_rate(curve, middle.kbps) for curve in peers]
    same = [point for point in nearest if 1 / SAME_RATE <= point.kbps / middle.kbps <= SAME_RATE]
    best = max(same, key=lambda point: point.psnr_y) if same else nearest_in_rate(nearest, middle.kbps)
    return [middle, best]


def show_clip(
    tasks: Mapping[tuple[str, str, str, str], SweepTask], points: Sequence[RatePoint], folder: Path
) -> Shown | None:
    """Code a clip again as `choose_pair` says and write the videos.

    Args:
        tasks: by `RatePoint.key`, those of `points` among them.
        points: of one clip.
        folder: where the videos go; must exist.
    Returns:
        None where `points` hold none of ours.
    Raises:
        ImfError: the clip cannot be read or coded.
    """
    chosen = choose_pair(points)
    if not chosen:
        return None
    first = tasks[chosen[0].key]
    original, stored = read_clip(first.clip, first.frame_limit)
    video = replace(stored, time_base=1 / stored.frame_rate)  # evenly spaced, so that players keep in step
    stem = first.clip.stem
    videos = {"original": _write(folder / f"{stem}.original.mp4", original, video)}
    captions = {"original": f"{video.width}x{video.height}, {float(video.frame_rate):.4g} frames per second"}
    figures: dict[str, Figures] = {}
    spending: list[dict[str, float]] = []
    for point in chosen:
        task = tasks[point.key]
        run = run_codec(task.codec, original, stored, task.level)
        name = point.codec
        videos[name] = _write(folder / f"{stem}.{name.replace('/', '-')}.mp4", run.frames, video)
        captions[name] = f"{point.setting}: {point.kbps:.2f} kbps, {point.psnr_y:.2f} dB"
        figures[name] = _figures(compare_frame_streams(original, run.frames, stored))
        if name == CODEC:
            spending = spending_over_time(run.packets[0])
    media = ClipMedia(first.clip.name, videos, captions, float(video.frame_rate), len(original), spending)
    return Shown(media, figures)


def _write(path: Path, frames: Sequence[Frame], video: VideoFormat) -> Path:
    write_clip(path, [replace(frame, pts=index) for index, frame in enumerate(frames)], video)
    return path


def _figures(report: ComparisonReport) -> Figures:
    return {name: [getattr(frame, name) for frame in report.frames] for name in METRIC_NAMES}
