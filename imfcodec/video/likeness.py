"""How alike a video and its copy are, by FFmpeg's filters: the mean over the frames, of luma."""

import json
import tempfile
from pathlib import Path

from imfcodec.errors import UsageError
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.filters import PairFilter, has_filter

CAP = 100.0  # dB of pictures that are the same

_FIGURES = {"psnr": "psnr.y", "ssim": "Y", "xpsnr": "xpsnr.y"}
_FILTERS = {**{name: name for name in _FIGURES}, "vmaf": "libvmaf"}


def check_measure(name: str) -> None:
    """Raise UsageError where this build of FFmpeg cannot measure "psnr", "ssim", "xpsnr" or "vmaf"."""
    if not has_filter(_FILTERS[name]):
        raise UsageError(f"this build of FFmpeg has no filter '{_FILTERS[name]}', which --target-{name} needs")


class LikenessMeter:
    """Compares frames pair by pair, in display order.

    Args:
        name: "psnr" (of identical frames: 100 dB), "ssim", "xpsnr" or "vmaf".
        video: size and rate of both.
    Raises:
        UsageError: as `check_measure`.
    """

    def __init__(self, name: str, video: VideoFormat) -> None:
        check_measure(name)
        self._figure = _FIGURES.get(name)
        self._sum, self._count = 0.0, 0
        self._log = None if self._figure else tempfile.NamedTemporaryFile(suffix=".json")  # noqa: SIM115  # until `mean`
        arguments = f"log_fmt=json:log_path={self._log.name}" if self._log else None
        self._filter: PairFilter | None = PairFilter(_FILTERS[name], video, arguments)

    def add(self, reference: Frame, copy: Frame) -> None:
        """Take the next pair."""
        assert self._filter is not None, "no pairs come after the mean"
        # libvmaf takes the copy first; the other filters do not mind.
        found = self._filter.compare(copy, reference)
        if self._figure:
            self._sum += min(CAP, float(found[self._figure]))
            self._count += 1

    def mean(self) -> float:
        """The mean over all pairs; ends the measuring."""
        self._filter = None  # libvmaf writes its log when it goes
        if self._log is None:
            return self._sum / self._count
        with self._log:
            return float(json.loads(Path(self._log.name).read_text())["pooled_metrics"]["vmaf"]["mean"])
