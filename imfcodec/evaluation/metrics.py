"""How close two videos are: PSNR, SSIM and MS-SSIM per frame, their means and 5th percentiles.

PSNR is computed per plane from 8-bit samples (peak 255) and agrees with FFmpeg's `psnr` filter frame by frame; the mean
of a video is the mean of its frames' PSNR, not the PSNR of the mean error. Identical planes have no finite PSNR and
count as `PSNR_CAP`.

SSIM and MS-SSIM come from pytorch-msssim with the parameters of the papers: Gaussian window of 11 samples and sigma
1.5, K = (0.01, 0.03), every position inside the picture. FFmpeg's `ssim` filter has another definition (uniform windows
of 8x8 samples on every 4th row and column, in step with the block grid of the codecs), and the two do not agree. FFmpeg
minus this module, mean of the frames, two talking heads coded by x264 at 256x256: +.001 to +.002 at SSIM .98 to .99, 0
to +.003 near .96, -.014 to -.001 near .91 and -.033 to -.018 near .86. Compare numbers of one definition only.
"""

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from pytorch_msssim import ms_ssim, ssim

from imfcodec.errors import UsageError
from imfcodec.frames import Frame, Plane
from imfcodec.video.reader import RawSpec, is_headerless, open_clip

PSNR_CAP = 100.0
"""PSNR of identical planes, dB; also the upper limit of every PSNR given."""

MS_SSIM_MIN_SIDE = 161
"""MS-SSIM halves the picture four times and needs 11 samples after that."""


@dataclass(frozen=True)
class FrameMetrics:
    """Closeness of one frame (or of a video, as mean or percentile of its frames); higher is better.

    Attributes:
        psnr_y, psnr_u, psnr_v: PSNR of each plane, dB, 0..PSNR_CAP.
        psnr_611: (6 psnr_y + psnr_u + psnr_v) / 8, dB.
        ssim_y: SSIM of luma, at most 1.
        ms_ssim_y: MS-SSIM of luma, 0..1; None when a side is below MS_SSIM_MIN_SIDE.
    """

    psnr_y: float
    psnr_u: float
    psnr_v: float
    psnr_611: float
    ssim_y: float
    ms_ssim_y: float | None


METRIC_NAMES = tuple(field.name for field in fields(FrameMetrics))


@dataclass(frozen=True)
class ComparisonReport:
    """Metrics of every frame of a video, in display order; at least one."""

    frames: tuple[FrameMetrics, ...]

    @property
    def mean(self) -> FrameMetrics:
        """Mean over the frames."""
        return self._reduce(lambda values: float(np.mean(values)))

    @property
    def percentile_5(self) -> FrameMetrics:
        """5th percentile over the frames (linear interpolation): how bad the worst frames are."""
        return self._reduce(lambda values: float(np.percentile(values, 5)))

    def to_json(self) -> str:
        """JSON object with `frame_count`, `mean`, `percentile_5` and `frames`."""
        report = {
            "frame_count": len(self.frames),
            "mean": asdict(self.mean),
            "percentile_5": asdict(self.percentile_5),
            "frames": [asdict(frame) for frame in self.frames],
        }
        return json.dumps(report, indent=1)

    def to_csv(self) -> str:
        """CSV with a header line and one line per frame; an empty field where a metric is not defined."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("frame", *METRIC_NAMES))
        for index, frame in enumerate(self.frames):
            values = (getattr(frame, name) for name in METRIC_NAMES)
            writer.writerow((index, *("" if value is None else f"{value:.6f}" for value in values)))
        return text.getvalue()

    def _reduce(self, reduction: Callable[[list[float]], float]) -> FrameMetrics:
        columns = {name: [getattr(frame, name) for frame in self.frames] for name in METRIC_NAMES}
        reduced: dict[str, Any] = {
            name: None if None in column else reduction(column) for name, column in columns.items()
        }
        return FrameMetrics(**reduced)


def psnr(reference: Plane, distorted: Plane) -> float:
    """PSNR of two uint8 planes of one shape, dB, at most PSNR_CAP."""
    error = reference.astype(np.float64) - distorted.astype(np.float64)
    mean_square = float(np.mean(error * error))
    if mean_square == 0:
        return PSNR_CAP
    return min(PSNR_CAP, 10 * float(np.log10(255**2 / mean_square)))


def compare_frames(reference: Frame, distorted: Frame) -> FrameMetrics:
    """Compare two pictures of one size; time stamps are not looked at.

    Raises:
        UsageError: the sizes differ.
    """
    if reference.y.shape != distorted.y.shape:
        raise UsageError(f"reference is {_size(reference)}, distorted {_size(distorted)}; bring them to one size first")
    y, u, v = (psnr(getattr(reference, plane), getattr(distorted, plane)) for plane in "yuv")
    luma_pair = (_to_tensor(reference.y), _to_tensor(distorted.y))
    has_ms_ssim = min(reference.y.shape) >= MS_SSIM_MIN_SIDE
    with torch.inference_mode():
        return FrameMetrics(
            psnr_y=y,
            psnr_u=u,
            psnr_v=v,
            psnr_611=(6 * y + u + v) / 8,
            ssim_y=float(ssim(*luma_pair, data_range=255)),
            ms_ssim_y=float(ms_ssim(*luma_pair, data_range=255)) if has_ms_ssim else None,
        )


def compare_frame_streams(reference: Iterable[Frame], distorted: Iterable[Frame]) -> ComparisonReport:
    """Compare two videos frame by frame in order; holds one pair of frames at a time.

    Raises:
        UsageError: the sizes or the numbers of frames differ, or there are no frames.
    """
    metrics = tuple(compare_frames(*pair) for pair in _pairs(reference, distorted))
    if not metrics:
        raise UsageError("nothing to compare: neither video has a frame")
    return ComparisonReport(metrics)


def compare_files(
    reference: str | Path | BinaryIO, distorted: str | Path | BinaryIO, *, raw: RawSpec | None = None
) -> ComparisonReport:
    """Compare two video files frame by frame; both are streamed.

    Args:
        reference, distorted: anything `open_clip` reads.
        raw: format of headerless files (.yuv), for whichever of the two is one; a stream holds Y4M.
    Raises:
        UsageError: the sizes or the numbers of frames differ, or there are no frames.
        InputError: a file cannot be read.
    """
    with (
        open_clip(reference, raw=raw if is_headerless(reference) else None, audio=False) as reference_clip,
        open_clip(distorted, raw=raw if is_headerless(distorted) else None, audio=False) as distorted_clip,
    ):
        return compare_frame_streams(reference_clip.frames(), distorted_clip.frames())


def _pairs(reference: Iterable[Frame], distorted: Iterable[Frame]) -> Iterator[tuple[Frame, Frame]]:
    for index, pair in enumerate(itertools.zip_longest(reference, distorted)):
        for name, frame in zip(("reference", "distorted"), pair, strict=True):
            if frame is None:
                raise UsageError(
                    f"the {name} video ends after {index} frames, before the other; compare videos of equal length"
                )
        yield pair


def _to_tensor(plane: Plane) -> torch.Tensor:
    return torch.from_numpy(plane.astype(np.float32))[None, None]


def _size(frame: Frame) -> str:
    height, width = frame.y.shape
    return f"{width}x{height}"
