"""The benchmark behind `imfcodec bench`: sweeps over folders of clips, and everything that shows their results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imfcodec import __version__
from imfcodec.errors import ImfError, InputError, UsageError
from imfcodec.evaluation.codecs import CODEC, Codec, ImfCodec, default_codecs, find_codec, write_clip
from imfcodec.evaluation.media import Shown, show_clip
from imfcodec.evaluation.report import RatePoint, read_table
from imfcodec.evaluation.results import BenchResult, write_csv, write_json
from imfcodec.evaluation.summary import summarise
from imfcodec.evaluation.sweep import CLIP_SUFFIXES, SweepTask, find_clips, plan_sweep, run_sweep
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.files import list_folder, make_folder, write_beside

SHOWN_CLIPS = 3
FRAMES = 250
QUICK_FRAMES = 33
QUICK_CODECS = (CODEC, "x264")

Report = Callable[[str], None]


@dataclass(frozen=True)
class BenchOptions:
    """How to benchmark.

    Attributes:
        codecs: names for `find_codec`; empty for `default_codecs`.
        qualities: 0..100, of imfcodec; empty for its own.
        frames: only so many frames from the start of each clip are used; None for FRAMES.
        jobs: processes, one thread each; None for one, or two where `quick`.
        quick: one clip, QUICK_FRAMES frames, QUICK_CODECS at every other level, unless said otherwise.
        title: headline.
        alexnet: file with torchvision's weights of AlexNet, to measure LPIPS too.
    """

    codecs: Sequence[str] = ()
    qualities: Sequence[int] = ()
    frames: int | None = None
    jobs: int | None = None
    quick: bool = False
    title: str = f"imfcodec {__version__}"
    alexnet: Path | None = None

    @property
    def frame_limit(self) -> int:
        """Frames of each clip."""
        return self.frames or (QUICK_FRAMES if self.quick else FRAMES)

    @property
    def workers(self) -> int:
        """Number of processes."""
        return self.jobs or (2 if self.quick else 1)

    def find_codecs(self) -> list[Codec]:
        """The codecs, ready to use; UsageError for an unknown name."""
        names = self.codecs or (QUICK_CODECS if self.quick else default_codecs())
        found = [find_codec(name) for name in names]
        if self.qualities:
            found = [ImfCodec(self.qualities) if isinstance(codec, ImfCodec) else codec for codec in found]
        if self.quick:
            for codec in found:
                codec.levels = codec.levels[::2]
        return found


def run_bench(inputs: Sequence[Path], out: Path, options: BenchOptions, report: Report = print) -> bool:
    """Compare codecs on clips; a second run does only what is missing.

    Every input folder, and the files together as "clips", gets a folder of its own under `out`: results.tsv (what a
    second run goes on with), results.csv, results.json, summary.md, page.html, curves as PNG, media/ with videos of the
    first clips, frames/ with the metrics of every frame.

    Args:
        inputs: video files and folders; a folder without video stands for those of its folders that hold some. With
            `options.quick` there may be none: a clip is drawn.
        out: made when missing.
        report: is told what is done, line by line.
    Returns:
        Whether every clip could be coded with every codec.
    Raises:
        ImfError: there is no clip, an option does not fit, or nothing could be coded.
    """
    codecs = options.find_codecs()
    if not inputs and not options.quick:
        raise UsageError("bench needs video files or folders of them; --quick does without and draws a clip")
    groups = group_clips(inputs)
    make_folder(out)
    groups = groups or group_clips([_draw_clip(out, options)])
    if options.quick:
        groups = {name: clips[:1] for name, clips in list(groups.items())[:1]}
    succeeded = [_bench_group(name, clips, codecs, out, options, report) for name, clips in groups.items()]
    return all(succeeded)


def group_clips(inputs: Sequence[Path]) -> dict[str, list[Path]]:
    """Clips by the name of their folder; files given one by one as "clips".

    Raises:
        UsageError: a folder holds no video, two folders have one name, or two clips of a group do.
        InputError: there is no such file.
    """
    folders = [folder for path in inputs if path.is_dir() for folder in _clip_folders(path)]
    groups = {folder.resolve().name: find_clips(folder) for folder in folders}
    if len(groups) != len(folders):
        raise UsageError("two folders of clips have one name; rename one, it names a table")
    files = [path for path in inputs if not path.is_dir()]
    if missing := [path for path in files if not path.exists()]:
        raise InputError(f"{missing[0]}: no such file")
    if files:
        groups["clips"] = groups.get("clips", []) + files
    for clips in groups.values():
        if len({clip.name for clip in clips}) != len(clips):
            raise UsageError("two clips have one name; rename one, it names rows of a table")
    return groups


def _clip_folders(folder: Path) -> list[Path]:
    if _holds_clips(folder):
        return [folder]
    inner = [path for path in list_folder(folder) if path.is_dir() and _holds_clips(path)]
    return inner or [folder]  # which find_clips will complain about


def _holds_clips(folder: Path) -> bool:
    return any(path.suffix.lower() in CLIP_SUFFIXES for path in list_folder(folder))


def _draw_clip(out: Path, options: BenchOptions) -> Path:
    path, video = out / "talking_face.mkv", talking_face_format()
    write_clip(path, list(talking_face(video, options.frame_limit)), video)
    return path


def _bench_group(
    name: str, clips: Sequence[Path], codecs: Sequence[Codec], out: Path, options: BenchOptions, report: Report
) -> bool:
    folder = out / name
    make_folder(folder / "frames")
    tasks = plan_sweep(clips, codecs, options.frame_limit, all_metrics=True, alexnet=options.alexnet)
    table = folder / "results.tsv"
    succeeded = run_sweep(tasks, table, workers=options.workers, frame_folder=folder / "frames", report=report)
    found = read_table(table)
    if not found.points:
        raise ImfError(f"{name}: no clip could be coded with any codec; see the lines above")
    shown = _show_clips(tasks, found.points, folder / "media")
    bench = BenchResult(
        f"{options.title}: {name}",
        "\n".join(found.comments),
        found.points,
        tuple(clip.media for clip in shown),
        {clip.media.clip: clip.figures for clip in shown},
    )
    _write_results(folder, bench)
    report(f"{name}: {folder / 'page.html'}")
    return succeeded


def _show_clips(tasks: Sequence[SweepTask], points: Sequence[RatePoint], folder: Path) -> list[Shown]:
    make_folder(folder)
    by_key = {task.key: task for task in tasks}
    known = [point for point in points if point.key in by_key]
    names = list(dict.fromkeys(task.clip.name for task in tasks))[:SHOWN_CLIPS]
    shown = (show_clip(by_key, [point for point in known if point.clip == name], folder) for name in names)
    return [clip for clip in shown if clip]


def _write_results(folder: Path, bench: BenchResult) -> None:
    from imfcodec.evaluation.page import write_page
    from imfcodec.evaluation.plots import write_curves

    write_csv(folder / "results.csv", bench.points)
    write_json(folder / "results.json", bench)
    with write_beside(folder / "summary.md") as file:
        made = "\n".join(f"- {line}" for line in bench.environment.splitlines())
        file.write(f"# {bench.title}\n\n{made}\n\n{summarise(bench.points)}".encode())
    write_curves(folder, bench.points)
    write_page(folder / "page.html", bench)
