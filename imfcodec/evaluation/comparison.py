"""Two videos on a page: a wipe between them, their difference, and curves of every frame."""

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from html import escape
from pathlib import Path
from typing import Any

from imfcodec.errors import LimitError
from imfcodec.evaluation.curves import METRICS
from imfcodec.evaluation.metrics import ComparisonReport
from imfcodec.evaluation.webpage import embed_video, fill_page
from imfcodec.files import write_beside
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.writer import open_writer

SCRIPTS = ("base.js", "player.js", "comparison.js")
MAX_VIDEO_BYTES = 1 << 28
REFERENCE, DISTORTED = "original", "distorted"
"""Names of the videos; the player knows the first as what differences are taken to."""


class PairRecorder:
    """Writes both videos of a comparison as files that browsers play, as their frames go by.

    Args:
        folder: where to; must exist.
    Attributes:
        format: of the reference, once its first frame has gone by.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.format: VideoFormat | None = None

    def path(self, name: str) -> Path:
        """The file of REFERENCE or DISTORTED."""
        return self._folder / f"{name}.mp4"

    def __call__(self, name: str, frames: Iterator[Frame], video: VideoFormat) -> Iterator[Frame]:
        """The same frames, one written each time one is taken."""
        even = replace(video, time_base=1 / video.frame_rate)  # evenly spaced, so that players keep in step
        self.format = even
        with open_writer(self.path(name), even) as writer:
            for index, frame in enumerate(frames):
                writer.write(replace(frame, pts=index))
                yield frame


def write_comparison(
    target: str | Path, report: ComparisonReport, recorder: PairRecorder, names: tuple[str, str], *, overwrite: bool
) -> None:
    """Write the page.

    Args:
        target: the .html file.
        report: of the comparison.
        recorder: what its frames went through.
        names: of reference and distorted video, for the reader.
        overwrite: replace an existing page.
    Raises:
        UsageError: plotly is not installed, or the target exists.
        LimitError: the videos are too long for a page.
    """
    paths = [recorder.path(name) for name in (REFERENCE, DISTORTED)]
    size = sum(os.path.getsize(path) for path in paths)
    if size > MAX_VIDEO_BYTES:
        raise LimitError(f"{target}: the videos take {size >> 20} MiB, too much for a page; compare a shorter part")
    parts = {"title": escape(f"{names[1]} beside {names[0]}")}
    videos = "\n".join(embed_video(path, path.stem) for path in paths)
    page = fill_page("comparison.html", SCRIPTS, parts, _page_data(report, recorder, names), videos)
    with write_beside(target, overwrite=overwrite) as file:
        file.write(page)


def _page_data(report: ComparisonReport, recorder: PairRecorder, names: tuple[str, str]) -> dict[str, Any]:
    video = recorder.format
    assert video is not None, "a report has frames"
    mean = report.mean
    measured = mean.measured()
    metrics = [metric for metric in METRICS if metric.name in measured]
    captions = {
        REFERENCE: f"{names[0]}: {video.width}x{video.height}, {float(video.frame_rate):.4g} frames per second",
        DISTORTED: f"{names[1]}: {mean.psnr_y:.2f} dB PSNR-Y, {mean.ssim_y:.4f} SSIM-Y",
    }
    media = {
        "clip": names[1],
        "frameRate": float(video.frame_rate),
        "frames": len(report.frames),
        "videos": [{"name": name, "caption": captions[name], "id": name} for name in (REFERENCE, DISTORTED)],
    }
    return {
        "media": media,
        "metrics": [{**asdict(metric), "axisTitle": metric.axis_title} for metric in metrics],
        "curves": {metric.name: [getattr(frame, metric.name) for frame in report.frames] for metric in metrics},
        "mean": {metric.name: measured[metric.name] for metric in metrics},
    }
