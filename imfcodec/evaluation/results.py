"""What a benchmark found out, and its files for programs."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from imfcodec.evaluation.report import CODEC, COPY_KEY_FRAME, RatePoint, bd_rate
from imfcodec.evaluation.summary import ANCHOR, curves_by_metric
from imfcodec.files import write_beside

FrameFigures = Mapping[str, Mapping[str, Mapping[str, Sequence[float | None]]]]
"""Clip -> name of the video -> metric -> value of every frame, None where not measured."""


@dataclass(frozen=True)
class ClipMedia:
    """What is shown of one clip, at matched rate.

    Attributes:
        clip: file name without folder.
        videos: "original", "imfcodec" and a peer's name -> a video file browsers play, H.264, near lossless.
        captions: the same names -> setting, rate and quality.
        frame_rate: frames per second.
        frames: number of frames of each video.
        spending: our packets in order, see `spending.spending_over_time`.
    """

    clip: str
    videos: Mapping[str, Path]
    captions: Mapping[str, str]
    frame_rate: float
    frames: int
    spending: Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class BenchResult:
    """A benchmark over one set of clips.

    Attributes:
        title: headline.
        environment: how, with what and where the results were made; several lines where there were several runs.
        points: every clip, codec and setting.
        media: the clips to look at.
        frame_figures: metrics of the shown videos, frame by frame.
    """

    title: str
    environment: str
    points: tuple[RatePoint, ...]
    media: tuple[ClipMedia, ...] = ()
    frame_figures: FrameFigures = field(default_factory=dict)


def write_json(path: Path, bench: BenchResult) -> None:
    """Write everything as JSON; videos as paths relative to the file's folder where they lie in it."""
    content = {
        "title": bench.title,
        "environment": bench.environment,
        "points": [{"series": point.series, **asdict(point)} for point in bench.points],
        "bd_rate": list(_bd_rows(bench.points)),
        "media": [_media_entry(media, path.parent) for media in bench.media],
        "frame_figures": bench.frame_figures,
    }
    with write_beside(path) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")


def write_csv(path: Path, points: Sequence[RatePoint]) -> None:
    """Write the points as comma-separated values, None as nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(RatePoint)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, points))
    with write_beside(path) as file:
        file.write(text.getvalue().encode())


def _bd_rows(points: Sequence[RatePoint]) -> Iterator[dict[str, Any]]:
    """BD-rate of every series against ANCHOR and of ours against every series; percent is None without overlap."""
    for metric, curves in curves_by_metric(points).items():
        names = [name for name in curves if not name.startswith(COPY_KEY_FRAME)]
        pairs = [(a, b) for a in names for b in names if a != b and (a == ANCHOR or b.startswith(CODEC))]
        for anchor, test in pairs:
            for clip in (clip for clip in curves[anchor] if clip in curves[test]):
                result = bd_rate(curves[anchor][clip], curves[test][clip], metric)
                yield {"clip": clip, "anchor": anchor, "test": test, "metric": metric, **asdict(result)}


def _media_entry(media: ClipMedia, folder: Path) -> dict[str, Any]:
    videos = {
        name: str(path.relative_to(folder) if path.is_relative_to(folder) else path)
        for name, path in media.videos.items()
    }
    return {**asdict(media), "videos": videos}
