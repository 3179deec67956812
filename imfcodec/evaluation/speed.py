"""Speed and memory: frames per second, peak memory and the time of each stage, each case in fresh processes.

Clips are drawn by code and lie on disk as Y4M, decoded ones too, so that reading and writing cost little and the same
everywhere. A case runs several times; the first run is checked and, where there are more, not counted.
"""

import hashlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from imfcodec import api
from imfcodec.errors import ImfError
from imfcodec.evaluation.codecs import CODEC, find_codec, run_codec
from imfcodec.evaluation.quality import psnr
from imfcodec.evaluation.stages import timed_stages
from imfcodec.evaluation.sweep import read_clip
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame
from imfcodec.video.writer import open_writer

STAGES = ("read", "network", "entropy", "write")
LOWEST_PSNR = 20.0
"""A clip whose first frame comes back worse than this, dB, is taken for a fault."""


@dataclass(frozen=True)
class SpeedCase:
    """What is timed.

    Attributes:
        codec: name for `find_codec`.
        width, height, frames: of the drawn clip.
        level: the codec's setting.
        threads: CPU threads of imfcodec; general codecs use one.
        device: "cpu" or "cuda".
        repeats: runs.
    """

    codec: str
    width: int
    height: int
    frames: int
    level: int
    threads: int = 1
    device: str = "cpu"
    repeats: int = 4


@dataclass(frozen=True)
class Timing:
    """One direction of a case.

    Attributes:
        fps: frames per second, without start-up; median of the runs counted.
        peak_mib: most memory the process ever held, MiB; None where it did other things too.
        stages: milliseconds a frame of each of STAGES, medians; "network" is all that is none of the others. Empty for
            general codecs.
    """

    fps: float
    peak_mib: float | None
    stages: Mapping[str, float]


@dataclass(frozen=True)
class SpeedRow:
    """A case and its timings."""

    case: SpeedCase
    encode: Timing
    decode: Timing

    def cells(self) -> dict[str, str]:
        """Columns of a table, as text; nothing where there is no figure."""
        cells = {name: str(value) for name, value in asdict(self.case).items()}
        for direction, timing in (("encode", self.encode), ("decode", self.decode)):
            cells[f"{direction}_fps"] = f"{timing.fps:.2f}"
            cells[f"{direction}_peak_mib"] = "" if timing.peak_mib is None else f"{timing.peak_mib:.0f}"
            for stage in STAGES:
                cells[f"{direction}_{stage}_ms"] = f"{timing.stages[stage]:.3f}" if stage in timing.stages else ""
        return cells


def measure_speed(case: SpeedCase) -> SpeedRow:
    """Time one case.

    Raises:
        ImfError: the codec fails, frames are missing, the picture is wrong, or two runs on a CPU differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, stream, decoded = (Path(folder) / name for name in ("source.y4m", "stream.imf", "decoded.y4m"))
        draw_clip(source, case)
        if case.codec != CODEC:
            return SpeedRow(case, *_in_fresh_process(_time_general, case, source))
        encode = _in_fresh_process(_time_encode, case, source, stream)
        decode = _in_fresh_process(_time_decode, case, stream, decoded)
        _check_picture(case, read_clip(source, 1)[0], read_clip(decoded, 1)[0])
        return SpeedRow(case, encode, decode)


def draw_clip(path: Path, case: SpeedCase) -> None:
    """Write the talking face a case is timed with."""
    video = talking_face_format(case.width, case.height)
    with open_writer(path, video) as writer:
        for frame in talking_face(video, case.frames):
            writer.write(frame)


def startup_seconds(repeats: int = 3) -> dict[str, float]:
    """Median wall time of whole commands, seconds: `imfcodec --help`, and decoding a single small frame."""
    with tempfile.TemporaryDirectory() as folder:
        source, stream, target = (Path(folder) / name for name in ("source.y4m", "stream.imf", "decoded.y4m"))
        draw_clip(source, SpeedCase(CODEC, 64, 64, 1, 50))
        api.encode(source, stream, device="cpu")
        decode = ["decode", str(stream), str(target), "-y", "--device", "cpu", "--progress", "none"]
        commands = {"--help": ["--help"], "decode of one 64x64 frame": decode}
        return {
            name: statistics.median(_run_command(arguments) for _ in range(repeats))
            for name, arguments in commands.items()
        }


def peak_memory_mib() -> float:
    """The most memory this process has held, MiB.

    Linux keeps the figure of the program itself; `getrusage` there may give that of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _time_encode(case: SpeedCase, source: Path, stream: Path) -> Timing:
    def run() -> tuple[int, float]:
        options: dict[str, Any] = {"quality": case.level, "device": case.device, "threads": case.threads}
        stats = api.encode(source, stream, audio="none", overwrite=True, **options)
        return stats.frames, stats.elapsed_seconds

    return _time_runs(case, run, stream)


def _time_decode(case: SpeedCase, stream: Path, decoded: Path) -> Timing:
    def run() -> tuple[int, float]:
        stats = api.decode(stream, decoded, device=case.device, threads=case.threads, overwrite=True)
        return stats.frames, stats.elapsed_seconds

    return _time_runs(case, run, decoded)


def _time_runs(case: SpeedCase, run: Callable[[], tuple[int, float]], target: Path) -> Timing:
    """Time `run`, which writes `target` and tells frames and seconds."""
    timings, digests = [], set()
    for _ in range(case.repeats):
        with timed_stages() as stages:
            frames, seconds = run()
        if frames != case.frames:
            raise ImfError(f"{case}: {frames} frames came out")
        timings.append({**stages, "network": seconds - sum(stages.values()), "all": seconds})
        digests.add(_digest(target))
    if case.device == "cpu" and len(digests) > 1:
        raise ImfError(f"{case}: two runs wrote different files")
    counted = timings[1:] or timings
    medians = {name: statistics.median(timing[name] for timing in counted) for name in counted[0]}
    stages = {stage: 1000 * medians[stage] / case.frames for stage in STAGES}
    return Timing(case.frames / medians["all"], peak_memory_mib(), stages)


def _time_general(case: SpeedCase, source: Path) -> tuple[Timing, Timing]:
    frames, video = read_clip(source, case.frames)
    codec = find_codec(case.codec)
    runs = [run_codec(codec, frames, video, case.level) for _ in range(case.repeats)]
    _check_picture(case, frames, runs[0].frames)
    counted = runs[1:] or runs
    seconds = [[run.encode_seconds for run in counted], [run.decode_seconds for run in counted]]
    encode, decode = (Timing(case.frames / statistics.median(times), None, {}) for times in seconds)
    return encode, decode


def _check_picture(case: SpeedCase, original: Sequence[Frame], decoded: Sequence[Frame]) -> None:
    if (found := psnr(original[0].y, decoded[0].y)) < LOWEST_PSNR:
        raise ImfError(f"{case}: the first frame comes back with {found:.1f} dB")


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _run_command(arguments: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "imfcodec", *arguments], check=True, capture_output=True)
    return time.perf_counter() - start
