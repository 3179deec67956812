"""What a batch has to code: the videos of a folder, or those a manifest lists."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from imfcodec.errors import InputError, UsageError
from imfcodec.files import check_name, open_input

VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
    | {".3gp", ".y4m"}
)
_MAX_MANIFEST_BYTES = 1 << 28


@dataclass(frozen=True)
class Job:
    """One file to code: both names are absolute."""

    source: str
    target: str


def list_jobs(source: Path, out: Path) -> list[Job]:
    """The jobs of a folder, with the folders in it, or of a manifest.

    A manifest is a text file with one video a line, relative to its own folder; a tab and the name of the stream below
    `out` may follow. Empty lines and lines that begin with "#" do not count. Otherwise a stream is called as its
    video, with .imf for a suffix, in the same folder below `out`.

    Raises:
        UsageError: there is nothing to code, two videos would become the same stream, or no file can have its name.
        InputError: folder or manifest cannot be read.
    """
    folder, entries = (source, _walk(source)) if source.is_dir() else (source.parent, _read_manifest(source))
    jobs = [Job(os.path.abspath(folder / name), os.path.abspath(_below(out, name, target))) for name, target in entries]
    if not jobs:
        raise UsageError(f"{source} names no video; a folder must hold some ({' '.join(sorted(VIDEO_SUFFIXES))})")
    _check_distinct(jobs)
    return jobs


def _walk(folder: Path) -> list[tuple[str, str]]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read: {error.strerror}")

    found = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        videos = [name for name in names if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".")]
        found += [(os.path.relpath(os.path.join(place, name), folder), "") for name in sorted(videos)]
    return found


def _read_manifest(path: Path) -> list[tuple[str, str]]:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise UsageError(f"{path} is a video; give a folder or a list of videos, or use encode")
    with open_input(path) as file:
        content = file.read(_MAX_MANIFEST_BYTES)
    if b"\0" in content:
        raise UsageError(f"{path} is no text; give a folder, or a file with one video a line")
    lines = os.fsdecode(content).split("\n")
    kept = [line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#")]
    return [(name, target) for name, _, target in (line.partition("\t") for line in kept)]


def _below(out: Path, name: str, target: str) -> Path:
    """Where the stream of a video goes; names from outside the folder keep their last part alone."""
    if not Path(name).name:
        raise UsageError(f"{name!r} is no name of a video")
    if not target:
        inside = not os.path.isabs(name) and ".." not in Path(name).parts
        target = str(Path(name if inside else Path(name).name).with_suffix(".imf"))
    place = Path(os.path.normpath(out / target))
    if not place.is_relative_to(os.path.normpath(out)):
        raise UsageError(f"{target}: lies outside {out}; name streams below it")
    for part in Path(target).parts:  # each alone: of folders that are still to be made the system knows no limits
        check_name(part)
    return place


def _check_distinct(jobs: Iterable[Job]) -> None:
    sources: dict[str, str] = {}
    for job in jobs:
        other = sources.setdefault(job.target, job.source)
        if other is not job.source:
            raise UsageError(
                f"{other} and {job.source} would both become {job.target}; list them in a manifest, with other names"
            )
