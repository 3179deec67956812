"""Rate-distortion sweeps: codecs over clips and settings, resumable, one process per worker."""

import functools
import io
import itertools
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from imfcodec import api
from imfcodec.errors import ImfError, UsageError
from imfcodec.evaluation.codecs import Codec, CodecRun, run_codec
from imfcodec.evaluation.environment import describe_environment
from imfcodec.evaluation.flicker import MotionStore
from imfcodec.evaluation.metrics import METRIC_NAMES, ComparisonReport, compare_frame_streams
from imfcodec.evaluation.perceptual import Lpips
from imfcodec.evaluation.report import CODEC, COPY_KEY_FRAME, RatePoint, ResultTable, read_table, write_table
from imfcodec.files import list_folder, write_beside
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer

CLIP_SUFFIXES = frozenset({".mp4", ".mkv", ".webm", ".mov", ".y4m"})
MEAN_METRICS = frozenset(METRIC_NAMES) & {field.name for field in fields(RatePoint)}


@dataclass(frozen=True)
class SweepTask:
    """One clip to be coded once.

    Attributes:
        clip: video file.
        codec: what codes it.
        level: the codec's setting.
        frame_limit: only so many frames from the start of the clip are used.
        all_metrics: also measure XPSNR and the warping error, which take their time.
        alexnet: also measure LPIPS, with torchvision's weights of AlexNet in this file.
    """

    clip: Path
    codec: Codec
    level: int
    frame_limit: int
    all_metrics: bool = False
    alexnet: Path | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """`RatePoint.key` of the row this task makes."""
        return (self.clip.name, self.codec.name, self.codec.setting(self.level), self.codec.model)


@dataclass(frozen=True)
class TaskResult:
    """What a task found out.

    Attributes:
        points: one row; for our codec a second one for repeating its decoded first frame.
        report: the codec's metrics frame by frame.
    """

    points: tuple[RatePoint, ...]
    report: ComparisonReport


def find_clips(folder: Path) -> list[Path]:
    """Video files of a folder by name; UsageError when there is none."""
    clips = [path for path in list_folder(folder) if path.suffix.lower() in CLIP_SUFFIXES]
    if not clips:
        raise UsageError(f"{folder} holds no video file ({' '.join(sorted(CLIP_SUFFIXES))})")
    return clips


def cut_clip(clip: Path, target: Path, frame_limit: int) -> Fraction:
    """Write the first frames of a clip to a Y4M file, without loss; returns the frames per second."""
    with open_clip(clip, audio=False) as source, open_writer(target, source.format) as writer:
        for frame in itertools.islice(source.frames(), frame_limit):
            writer.write(frame)
        return source.format.frame_rate


def read_clip(clip: Path, frame_limit: int) -> tuple[list[Frame], VideoFormat]:
    """The first frames of a clip, and their format."""
    with open_clip(clip, audio=False) as source:
        return list(itertools.islice(source.frames(), frame_limit)), source.format


def plan_sweep(
    clips: Sequence[Path],
    codecs: Sequence[Codec],
    frame_limit: int,
    *,
    all_metrics: bool = False,
    alexnet: Path | None = None,
) -> list[SweepTask]:
    """Every clip with every codec at each of its levels; arguments as in `SweepTask`."""
    return [
        SweepTask(clip, codec, level, frame_limit, all_metrics, alexnet)
        for clip, codec in itertools.product(clips, codecs)
        for level in codec.levels
    ]


def run_task(task: SweepTask) -> TaskResult:
    """Code one clip once and measure it.

    Raises:
        ImfError: the clip cannot be read or coded.
    """
    frames, video = read_clip(task.clip, task.frame_limit)
    run = run_codec(task.codec, frames, video, task.level)
    report = _compare(task, frames, run.frames, video)
    point = _rate_point(task, run, report, video)
    if task.codec.name != CODEC:
        return TaskResult((point,), report)
    # What sending the key frames alone would give.
    copies = _compare(task, frames, run.frames[:1] * len(frames), video)
    key_bytes = api.probe(io.BytesIO(run.packets[0])).bytes_by_kind["keys"]
    copy = replace(point, codec=COPY_KEY_FRAME, **_rate(key_bytes, point.seconds), **_quality(copies))
    return TaskResult((point, copy), report)


def run_sweep(
    tasks: Sequence[SweepTask],
    path: Path,
    *,
    workers: int = 1,
    frame_folder: Path | None = None,
    report: Callable[[str], None] = print,
) -> bool:
    """Run the tasks whose rows a table does not hold yet; the table is saved after each.

    Args:
        tasks: what to code; all with one frame limit.
        path: the table, made when missing.
        workers: processes, one thread each.
        frame_folder: where to write the metrics of every frame, a CSV file a task; it must exist.
        report: is told of each task done or failed, one line each.
    Returns:
        Whether every task succeeded.
    Raises:
        UsageError: the table was made with another frame limit.
    """
    table = _open_table(path, tasks)
    rows = {point.key: point for point in table.points}
    waiting = [task for task in tasks if task.key not in rows]
    if not waiting:
        return True
    failures = 0
    with get_context("spawn").Pool(workers, initializer=_prepare_worker) as pool:
        for count, (task, result) in enumerate(pool.imap_unordered(_attempt, waiting), start=1):
            if isinstance(result, TaskResult):
                rows.update({point.key: point for point in result.points})
                write_table(path, replace(table, points=tuple(sorted(rows.values(), key=_row_order))))
                if frame_folder:
                    _write_frames(frame_folder / frame_file(result.points[0]), result.report)
            failures += isinstance(result, str)
            line = f"failed, {result}" if isinstance(result, str) else _one_line(result.points[0])
            report(f"{count}/{len(waiting)} {' '.join(task.key)}: {line}")
    return failures == 0


def frame_file(point: RatePoint) -> str:
    """Name of the CSV file with the metrics of a row's frames."""
    return f"{point.clip} {point.series} {point.setting}.csv".replace("/", "-").replace(" ", "_")


def _compare(
    task: SweepTask, frames: Sequence[Frame], decoded: Sequence[Frame], video: VideoFormat
) -> ComparisonReport:
    lpips = Lpips(task.alexnet) if task.alexnet else None
    motions = _motions_of(task.clip, task.frame_limit)
    return compare_frame_streams(frames, decoded, video, all_metrics=task.all_metrics, lpips=lpips, motions=motions)


@functools.lru_cache(maxsize=1)
def _motions_of(clip: Path, frame_limit: int) -> MotionStore:
    """The motion of the clip at hand: tasks come clip by clip."""
    del clip, frame_limit
    return MotionStore()


def _rate_point(task: SweepTask, run: CodecRun, report: ComparisonReport, video: VideoFormat) -> RatePoint:
    clip, codec, setting, model = task.key
    count = len(run.frames)
    seconds = float(count / video.frame_rate)
    return RatePoint(
        clip=clip,
        codec=codec,
        setting=setting,
        model=model,
        frames=count,
        seconds=seconds,
        **_rate(run.byte_count, seconds),
        encode_fps=count / run.encode_seconds,
        decode_fps=count / run.decode_seconds,
        **_quality(report),
    )


def _rate(byte_count: int, seconds: float) -> dict[str, Any]:
    return {"bytes": byte_count, "kbps": byte_count * 8 / 1000 / seconds}


def _quality(report: ComparisonReport) -> dict[str, Any]:
    mean, worst = report.mean, report.percentile_5
    means = {name: getattr(mean, name) for name in MEAN_METRICS}
    return {**means, "psnr_y_p5": worst.psnr_y, "ssim_y_p5": worst.ssim_y}


def _write_frames(path: Path, report: ComparisonReport) -> None:
    with write_beside(path) as file:
        file.write(report.to_csv().encode())


def _prepare_worker() -> None:
    torch.set_num_threads(1)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # as the command line does: what libraries tell their developers


def _attempt(task: SweepTask) -> tuple[SweepTask, TaskResult | str]:
    try:
        return task, run_task(task)
    except ImfError as error:
        return task, str(error)


def _open_table(path: Path, tasks: Sequence[SweepTask]) -> ResultTable:
    limits = {f"first {task.frame_limit} frames of each clip" for task in tasks}
    if len(limits) != 1:
        raise UsageError("a sweep needs tasks, all with one frame limit")
    table = read_table(path)
    scope = limits.pop()
    if table.comments and table.comments[0] != scope:
        raise UsageError(f"{path} holds results of the {table.comments[0]}, not {scope}; choose another file")
    return replace(table, comments=tuple(dict.fromkeys([scope, *table.comments, describe_environment()])))


def _row_order(point: RatePoint) -> tuple[str, str, str, float]:
    return (point.codec, point.model, point.clip, point.kbps)


def _one_line(point: RatePoint) -> str:
    return f"{point.kbps:.2f} kbps, {point.psnr_y:.2f} dB, SSIM {point.ssim_y:.4f}"
