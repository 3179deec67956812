"""Rate-distortion sweeps: our codec and general ones over clips and settings, resumable, one process per worker.

Our codec is measured as a user meets it: whole files, decoded by the command line in a fresh process that sees nothing
but the file.
"""

import itertools
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import torch

from imfcodec import __version__, api
from imfcodec.errors import ImfError, UsageError
from imfcodec.evaluation.metrics import ComparisonReport, compare_files, compare_frame_streams, compare_frames
from imfcodec.evaluation.peers import run_peer
from imfcodec.evaluation.report import CODEC, COPY_KEY_FRAME, RatePoint, ResultTable, read_table, write_table
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer

CLIP_SUFFIXES = frozenset({".mp4", ".mkv", ".webm", ".mov", ".y4m"})
LIBRARIES = ("torch", "numpy", "av", "compressai", "constriction", "pytorch-msssim")

PEER_CRFS: Mapping[str, tuple[int, ...]] = {
    "x264": (31, 36, 41, 46, 51),
    "x265": (31, 36, 41, 46, 51),
    "svt-av1": (40, 46, 52, 58, 63),
}
"""Constant rate factors that span about 8 to 50 kbps on talking heads at 256x256."""


@dataclass(frozen=True)
class SweepTask:
    """One clip to be coded once.

    Attributes:
        clip: video file.
        codec: "imfcodec" or a peer's name.
        level: quality 0..100 of imfcodec, crf of a peer.
        frame_limit: only so many frames from the start of the clip are used.
        model: start of the model's id, "-" for peers.
    """

    clip: Path
    codec: str
    level: int
    frame_limit: int
    model: str = "-"

    @property
    def setting(self) -> str:
        """The level as it stands in the table."""
        return f"q{self.level}" if self.codec == CODEC else f"crf{self.level}"

    @property
    def key(self) -> tuple[str, str, str, str]:
        """`RatePoint.key` of the row this task makes."""
        return (self.clip.name, self.codec, self.setting, self.model)


def find_clips(folder: Path) -> list[Path]:
    """Video files of a folder by name; UsageError when there is none."""
    clips = sorted(path for path in folder.glob("*") if path.suffix.lower() in CLIP_SUFFIXES)
    if not clips:
        raise UsageError(f"{folder} holds no video file ({' '.join(sorted(CLIP_SUFFIXES))})")
    return clips


def plan_peers(clips: Sequence[Path], names: Sequence[str], frame_limit: int) -> list[SweepTask]:
    """Every clip with every named peer at its PEER_CRFS."""
    return [
        SweepTask(clip, name, crf, frame_limit)
        for clip, name in itertools.product(clips, names)
        for crf in PEER_CRFS[name]
    ]


def plan_own(clips: Sequence[Path], qualities: Sequence[int], frame_limit: int) -> list[SweepTask]:
    """Every clip with our codec and its default model at every quality."""
    model = default_model_id()
    return [
        SweepTask(clip, CODEC, quality, frame_limit, model) for clip, quality in itertools.product(clips, qualities)
    ]


def run_task(task: SweepTask) -> list[RatePoint]:
    """Code one clip once and measure it.

    Returns:
        One row; for our codec a second one for repeating its decoded first frame.
    Raises:
        ImfError: the clip cannot be read or coded.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.y4m"
        frame_rate = cut_clip(task.clip, source, task.frame_limit)
        run = _run_own if task.codec == CODEC else _run_peer
        return run(task, source, frame_rate)


def run_sweep(
    tasks: Sequence[SweepTask],
    path: Path,
    *,
    workers: int = 1,
    redo: bool = False,
    report: Callable[[str], None] = print,
) -> bool:
    """Run the tasks whose rows a table does not hold yet; the table is saved after each.

    Args:
        tasks: what to code; all with one frame limit.
        path: the table, made when missing.
        workers: processes, one thread each.
        redo: run all tasks and replace the rows that stand, as after a change to the encoder.
        report: is told of each task done or failed, one line each.
    Returns:
        Whether every task succeeded.
    Raises:
        UsageError: the table was made with another frame limit.
    """
    table = _open_table(path, tasks)
    rows = {point.key: point for point in table.points}
    waiting = [task for task in tasks if redo or task.key not in rows]
    if not waiting:
        return True
    failures = 0
    with get_context("spawn").Pool(workers, initializer=_prepare_worker) as pool:
        for count, (task, points, problem) in enumerate(pool.imap_unordered(_attempt, waiting), start=1):
            rows.update({point.key: point for point in points})
            write_table(path, replace(table, points=tuple(sorted(rows.values(), key=_row_order))))
            failures += problem is not None
            report(f"{count}/{len(waiting)} {' '.join(task.key)}: {problem or _one_line(points[0])}")
    return failures == 0


def cut_clip(clip: Path, target: Path, frame_limit: int) -> Fraction:
    """Write the first frames of a clip to a Y4M file, without loss; returns the frames per second."""
    with open_clip(clip, audio=False) as source, open_writer(target, source.format) as writer:
        for frame in itertools.islice(source.frames(), frame_limit):
            writer.write(frame)
        return source.format.frame_rate


def default_model_id() -> str:
    """First 8 hexadecimal digits of the default model's id."""
    return next(str(model["model_id"]) for model in api.list_models() if model["default"])[:8]


def describe_environment() -> str:
    """Versions, commit and processor in one line; names neither the machine nor its folders."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"imfcodec {__version__} commit {_commit()}; {libraries}; Python {platform.python_version()}; "
        f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} CPUs"
    )


def _run_own(task: SweepTask, source: Path, frame_rate: Fraction) -> list[RatePoint]:
    stream, decoded = source.with_name("stream.imf"), source.with_name("decoded.y4m")
    encoded = api.encode(source, stream, quality=task.level, audio="none", device="cpu", threads=1)
    start = time.perf_counter()
    decode_in_fresh_process(stream, decoded)
    decode_seconds = time.perf_counter() - start
    point = _rate_point(
        task,
        frame_rate,
        byte_count=stream.stat().st_size,
        report=compare_files(source, decoded),
        encode_fps=encoded.fps,
        decode_seconds=decode_seconds,
    )
    key_bytes = encoded.bytes_by_kind["keys"]
    return [point, _copy_point(point, key_bytes, _compare_first_frame(source, decoded))]


def decode_in_fresh_process(stream: Path, target: Path) -> None:
    """Decode a stream with the command line in its own process, one thread; ImfError with its message if it fails."""
    command = [sys.executable, "-m", "imfcodec", "decode", str(stream), str(target)]
    command += ["--device", "cpu", "--threads", "1", "--progress", "none"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise ImfError(f"decode failed with exit code {result.returncode}: {result.stderr.strip()}")


def _run_peer(task: SweepTask, source: Path, frame_rate: Fraction) -> list[RatePoint]:
    with open_clip(source, audio=False) as clip:
        frames = list(clip.frames())
    run = run_peer(task.codec, frames, frame_rate, task.level)
    point = _rate_point(
        task,
        frame_rate,
        byte_count=run.byte_count,
        report=compare_frame_streams(frames, run.frames),
        encode_fps=len(frames) / run.encode_seconds,
        decode_seconds=run.decode_seconds,
    )
    return [point]


def _rate_point(
    task: SweepTask,
    frame_rate: Fraction,
    *,
    byte_count: int,
    report: ComparisonReport,
    encode_fps: float,
    decode_seconds: float,
) -> RatePoint:
    frames, mean = len(report.frames), report.mean
    seconds = float(frames / frame_rate)
    return RatePoint(
        clip=task.clip.name,
        codec=task.codec,
        setting=task.setting,
        model=task.model,
        frames=frames,
        seconds=seconds,
        bytes=byte_count,
        kbps=byte_count * 8 / 1000 / seconds,
        psnr_y=mean.psnr_y,
        ssim_y=mean.ssim_y,
        psnr_u=mean.psnr_u,
        psnr_v=mean.psnr_v,
        encode_fps=encode_fps,
        decode_fps=frames / decode_seconds,
    )


def _copy_point(point: RatePoint, byte_count: int, report: ComparisonReport) -> RatePoint:
    mean = report.mean
    return replace(
        point,
        codec=COPY_KEY_FRAME,
        bytes=byte_count,
        kbps=byte_count * 8 / 1000 / point.seconds,
        psnr_y=mean.psnr_y,
        ssim_y=mean.ssim_y,
        psnr_u=mean.psnr_u,
        psnr_v=mean.psnr_v,
    )


def _compare_first_frame(source: Path, decoded: Path) -> ComparisonReport:
    """Every frame of the source against the first decoded one: what sending the key frame alone gives."""
    with open_clip(source, audio=False) as reference, open_clip(decoded, audio=False) as distorted:
        first = next(iter(distorted.frames()))
        return ComparisonReport(tuple(compare_frames(frame, first) for frame in reference.frames()))


def _prepare_worker() -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings on stderr otherwise


def _attempt(task: SweepTask) -> tuple[SweepTask, list[RatePoint], str | None]:
    try:
        return task, run_task(task), None
    except ImfError as error:
        return task, [], f"failed, {error}"


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


def _commit() -> str:
    package = Path(__file__).parent.parent
    git = ["git", "-C", str(package)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + (" with changes" if changes.stdout else "")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names: Iterator[str] = (line for line in cpuinfo.read_text().splitlines() if line.startswith("model name"))
        return next(names, "processor : unknown").split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"
