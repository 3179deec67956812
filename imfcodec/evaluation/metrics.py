"""How close two videos are, frame by frame, with means and 5th percentiles; `quality` says how each figure is defined.

The mean of a video is the mean of its frames' figures: its PSNR is not that of the mean error. The quick metrics are
always measured; XPSNR, LPIPS and the warping error take several times as long and are measured when asked for.
"""

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from imfcodec.errors import UsageError
from imfcodec.evaluation.flicker import MotionStore, WarpingMeter
from imfcodec.evaluation.perceptual import Lpips
from imfcodec.evaluation.quality import XpsnrMeter, ms_ssim_gaussian, psnr, ssim_8x8, ssim_gaussian
from imfcodec.frames import Frame, VideoFormat
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.notes import Notes, Say
from imfcodec.video.pipes import read_once, until_end
from imfcodec.video.reader import ClipReader, RawSpec, SourceOptions, is_headerless, open_clip
from imfcodec.video.scaling import crop, limit_range
from imfcodec.video.writer import UNSPECIFIED, described_matrix, rgb_pixels

Record = Callable[[str, Iterator[Frame], VideoFormat], Iterator[Frame]]
"""Name of a video, its frames and their format -> the same frames, which it may look at as they go by."""


@dataclass(frozen=True)
class FrameMetrics:
    """Closeness of one frame (or of a video, as mean or percentile of its frames); None where not measured.

    Attributes:
        psnr_y, psnr_u, psnr_v: PSNR of each plane, dB, 0..PSNR_CAP.
        psnr_611: (6 psnr_y + psnr_u + psnr_v) / 8, dB.
        psnr_rgb: PSNR of 8-bit RGB over the three channels together, dB.
        ssim_y: SSIM of luma in Gaussian windows, at most 1.
        ssim_y_8x8: SSIM of luma as FFmpeg defines it, at most 1.
        ms_ssim_y: MS-SSIM of luma, 0..1; None when a side is below MS_SSIM_MIN_SIDE.
        xpsnr_y: XPSNR of luma, dB, at most PSNR_CAP; None where FFmpeg lacks the filter, or for tiny pictures.
        lpips: LPIPS with AlexNet, from 0, lower is better; None when a side is below LPIPS_MIN_SIDE.
        warping_error: flicker, see `WarpingMeter`, 0..255, lower is better; None for the first frame and after a cut.
        reference_warping_error: the same of the reference video.
    """

    psnr_y: float
    psnr_u: float
    psnr_v: float
    psnr_611: float
    psnr_rgb: float
    ssim_y: float
    ssim_y_8x8: float
    ms_ssim_y: float | None = None
    xpsnr_y: float | None = None
    lpips: float | None = None
    warping_error: float | None = None
    reference_warping_error: float | None = None

    def measured(self) -> dict[str, float]:
        """Name and value of the metrics that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


METRIC_NAMES = tuple(field.name for field in fields(FrameMetrics))
LOWER_IS_BETTER = frozenset({"lpips", "warping_error", "reference_warping_error"})


@dataclass(frozen=True)
class ComparisonReport:
    """Metrics of every frame of a video, in display order; at least one."""

    frames: tuple[FrameMetrics, ...]

    @property
    def mean(self) -> FrameMetrics:
        """Mean over the frames that have the metric."""
        return self._reduce(lambda name, values: float(np.mean(values)))

    @property
    def percentile_5(self) -> FrameMetrics:
        """How bad the worst frames are: 5th percentile (linear interpolation), and the 95th of LOWER_IS_BETTER."""
        return self._reduce(lambda name, values: float(np.percentile(values, 95 if name in LOWER_IS_BETTER else 5)))

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

    def _reduce(self, reduction: Callable[[str, list[float]], float]) -> FrameMetrics:
        columns = {name: [getattr(frame, name) for frame in self.frames] for name in METRIC_NAMES}
        found = {name: [value for value in column if value is not None] for name, column in columns.items()}
        reduced: dict[str, Any] = {name: reduction(name, column) for name, column in found.items() if column}
        return FrameMetrics(**reduced)


def compare_frames(reference: Frame, distorted: Frame, video: VideoFormat | None = None) -> FrameMetrics:
    """Compare two pictures of one size by the quick metrics; time stamps are not looked at.

    Args:
        video: format of the pictures, whose colour makes RGB of them; unspecified colour if not given.
    Raises:
        UsageError: the sizes differ.
    """
    if reference.y.shape != distorted.y.shape:
        raise UsageError(f"reference is {_size(reference)}, distorted {_size(distorted)}; bring them to one size first")
    video = video or _plain_format(reference)
    y, u, v = (psnr(getattr(reference, plane), getattr(distorted, plane)) for plane in "yuv")
    return FrameMetrics(
        psnr_y=y,
        psnr_u=u,
        psnr_v=v,
        psnr_611=(6 * y + u + v) / 8,
        psnr_rgb=psnr(rgb_pixels(reference, video), rgb_pixels(distorted, video)),
        ssim_y=ssim_gaussian(reference.y, distorted.y),
        ssim_y_8x8=ssim_8x8(reference.y, distorted.y),
        ms_ssim_y=ms_ssim_gaussian(reference.y, distorted.y),
    )


def compare_frame_streams(
    reference: Iterable[Frame],
    distorted: Iterable[Frame],
    video: VideoFormat | None = None,
    *,
    all_metrics: bool = False,
    lpips: Lpips | None = None,
    motions: MotionStore | None = None,
) -> ComparisonReport:
    """Compare two videos frame by frame in order; holds two pairs of frames at a time.

    Args:
        video: format of both, for colour and frame rate; unspecified colour and 25 frames per second if not given.
        all_metrics: also measure XPSNR and the warping error.
        lpips: also measure LPIPS with this network.
        motions: what earlier comparisons with the same reference found out about its motion.
    Raises:
        UsageError: the sizes or the numbers of frames differ, there are no frames, or a package is missing.
    """
    pairs = _pairs(reference, distorted)
    first = next(pairs, None)
    if first is None:
        raise UsageError("nothing to compare: neither video has a frame")
    video = video or _plain_format(first[0])
    measure_slow = _SlowMetrics(video, all_metrics, lpips, motions)
    return ComparisonReport(
        tuple(replace(compare_frames(*pair, video), **measure_slow(*pair)) for pair in itertools.chain([first], pairs))
    )


def _say_nothing(line: str) -> None:
    """Take a line nobody wants."""


def compare_files(
    reference: str | Path | BinaryIO,
    distorted: str | Path | BinaryIO,
    *,
    raw: RawSpec | None = None,
    options: SourceOptions | None = None,
    all_metrics: bool = False,
    lpips: Lpips | None = None,
    limits: Limits = DEFAULT_LIMITS,
    say: Say = _say_nothing,
    record: Record | None = None,
) -> ComparisonReport:
    """Compare two video files frame by frame; both are streamed.

    What samples mean is looked at: videos of different range are compared in limited range, and the row and
    column that an odd size gets in .mp4 are taken off again.

    Args:
        reference, distorted: anything `open_clip` reads.
        raw: format of headerless files (.yuv), for whichever of the two is one; a stream holds Y4M.
        options: how both are to be read.
        limits: what either may ask for at most.
        all_metrics, lpips: as in `compare_frame_streams`. Colour and frame rate are those of the reference.
        say: called with one line for what was converted, differs or is damaged.
        record: called for each of the videos, "original" and "distorted", and returns its frames as they are compared.
    Raises:
        UsageError: the sizes, the colour matrices or the numbers of frames differ, there are no frames, or a package
            is missing.
        InputError: a file cannot be read.
    """
    with (
        _opened(reference, raw, options, limits) as (reference_clip, frames),
        _opened(distorted, raw, options, limits) as (distorted_clip, others),
    ):
        clips = ((Notes(reference, say), reference_clip), (Notes(distorted, say), distorted_clip))
        _tell(clips)
        video, other = reference_clip.format, distorted_clip.format
        others = _alike(others, other, video, say)
        if video.colour.full_range != other.colour.full_range:
            say("one video has full range, the other limited: both are compared in limited range")
            frames, others = _to_limited(frames, video), _to_limited(others, other)
            video = replace(video, colour=replace(video.colour, full_range=False))
        if record:
            frames, others = record("original", frames, video), record("distorted", others, video)
        report = compare_frame_streams(frames, others, video, all_metrics=all_metrics, lpips=lpips)
        _tell(clips)  # what is known at the end only
    return report


def _tell(clips: Iterable[tuple[Notes, ClipReader]]) -> None:
    for notes, clip in clips:
        notes(clip.notes)


@contextmanager
def _opened(
    source: str | Path | BinaryIO, raw: RawSpec | None, options: SourceOptions | None, limits: Limits
) -> Iterator[tuple[ClipReader, Iterator[Frame]]]:
    raw = raw if is_headerless(source) else None
    with (
        read_once(source, is_raw=raw is not None) as place,
        open_clip(place, raw=raw, audio=False, options=options, limits=limits) as clip,
    ):
        yield clip, until_end(clip.frames(), place)


def _alike(frames: Iterator[Frame], video: VideoFormat, reference: VideoFormat, say: Say) -> Iterator[Frame]:
    """Bring frames of a distorted video to the size of the reference, as far as nothing is lost by it."""
    colour, wanted = video.colour, reference.colour
    if described_matrix(video) != described_matrix(reference) and UNSPECIFIED not in (colour.matrix, wanted.matrix):
        raise UsageError(
            f"the colour matrices differ (H.273: reference {wanted.matrix}, distorted {colour.matrix}); "
            "convert one to the other first"
        )
    if video.frame_rate != reference.frame_rate:
        rates = f"reference {reference.frame_rate}, distorted {video.frame_rate}"
        say(f"the frame rates differ ({rates}): frames are compared by number")
    size, odd = (video.width, video.height), (reference.width, reference.height)
    if size != odd and size == tuple(side + side % 2 for side in odd):
        say(f"the distorted video is padded to {size[0]}x{size[1]}: compared without the padding")
        frames = crop(frames, *odd)
    return frames


def _to_limited(frames: Iterator[Frame], video: VideoFormat) -> Iterator[Frame]:
    return limit_range(frames) if video.colour.full_range else frames


class _SlowMetrics:
    """The metrics that are measured when asked for; called with each pair in display order."""

    def __init__(self, video: VideoFormat, all_metrics: bool, lpips: Lpips | None, motions: MotionStore | None) -> None:
        self._video = video
        self._xpsnr = XpsnrMeter(video) if all_metrics else None
        self._warping = WarpingMeter(motions) if all_metrics else None
        self._lpips = lpips

    def __call__(self, reference: Frame, distorted: Frame) -> dict[str, Any]:
        found: dict[str, float | None] = {}
        if self._xpsnr:
            found["xpsnr_y"] = self._xpsnr.measure(reference, distorted)
        if self._lpips:
            found["lpips"] = self._lpips.measure(*(rgb_pixels(frame, self._video) for frame in (reference, distorted)))
        errors = self._warping.measure(reference.y, distorted.y) if self._warping else None
        if errors:
            found["warping_error"], found["reference_warping_error"] = errors
        return found


def _pairs(reference: Iterable[Frame], distorted: Iterable[Frame]) -> Iterator[tuple[Frame, Frame]]:
    for index, pair in enumerate(itertools.zip_longest(reference, distorted)):
        for name, frame in zip(("reference", "distorted"), pair, strict=True):
            if frame is None:
                raise UsageError(
                    f"the {name} video ends after {index} frames, before the other; compare videos of equal length"
                )
        yield pair


def _plain_format(frame: Frame) -> VideoFormat:
    """Size of the frame, unspecified colour, 25 frames per second."""
    height, width = frame.y.shape
    return VideoFormat(width, height, Fraction(25), Fraction(1, 25))


def _size(frame: Frame) -> str:
    height, width = frame.y.shape
    return f"{width}x{height}"
