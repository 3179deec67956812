"""How close two pictures are: PSNR and SSIM in the definitions people compare numbers of.

PSNR agrees with FFmpeg's `psnr` filter, plane by plane. There are two kinds of SSIM, and they do not agree:

- `ssim_8x8` is FFmpeg's: uniform windows of 8x8 samples on every 4th row and column, in step with the block grid of the
  codecs; the same figures as its `ssim` filter.
- `ssim_gaussian` and `ms_ssim_gaussian` are those of the papers, by pytorch-msssim: Gaussian window of 11 samples and
  sigma 1.5, K = (0.01, 0.03), every position inside the picture.

FFmpeg's less the Gaussian one, mean of the frames, two talking heads coded by x264 at 256x256: +.001 to +.002 at SSIM
.98 to .99, 0 to +.003 near .96, -.014 to -.001 near .91 and -.033 to -.018 near .86. Compare numbers of one definition
only.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pytorch_msssim import ms_ssim, ssim
from torch import Tensor

from imfcodec.frames import Frame, Plane, VideoFormat
from imfcodec.video.filters import PairFilter, has_filter

PSNR_CAP = 100.0
"""PSNR and XPSNR of identical pictures, dB; also the upper limit of every one given."""

MS_SSIM_MIN_SIDE = 161
"""MS-SSIM halves the picture four times and needs 11 samples after that."""

XPSNR_MIN_SAMPLES = 2025
"""Pictures with less luma leave no block to FFmpeg's xpsnr, which divides by zero."""

_WINDOW, _STEP = 8, 4
_SAMPLES = _WINDOW**2
# FFmpeg's constants, in its scale: sums over the window instead of means.
_C1 = 0.01**2 * 255**2 * _SAMPLES
_C2 = 0.03**2 * 255**2 * _SAMPLES * (_SAMPLES - 1)


def psnr(reference: npt.NDArray[np.uint8], distorted: npt.NDArray[np.uint8]) -> float:
    """PSNR of two uint8 arrays of one shape (planes, or RGB with one mean of the three), dB, at most PSNR_CAP."""
    error = reference.astype(np.float64) - distorted.astype(np.float64)
    mean_square = float(np.mean(error * error))
    if mean_square == 0:
        return PSNR_CAP
    return min(PSNR_CAP, 10 * math.log10(255**2 / mean_square))


def ssim_8x8(reference: Plane, distorted: Plane) -> float:
    """SSIM of two planes as FFmpeg's `ssim` filter has it, at most 1.

    Args:
        reference, distorted: uint8 [H, W], both sides at least 8; what lies past a multiple of 4 is not seen.
    Source: libavfilter/vf_ssim.c, from Wang et al., "Image quality assessment: from error visibility to structural
        similarity", 2004.
    """
    x, y = (torch.from_numpy(plane.astype(np.float64)) for plane in (reference, distorted))
    maps = torch.stack([x, y, x * x + y * y, x * y])[None]
    sum_x, sum_y, squares, products = F.avg_pool2d(maps, _WINDOW, _STEP, divisor_override=1)[0]
    variances = _SAMPLES * squares - sum_x**2 - sum_y**2
    covariance = _SAMPLES * products - sum_x * sum_y
    likeness = (2 * sum_x * sum_y + _C1) * (2 * covariance + _C2)
    return float((likeness / ((sum_x**2 + sum_y**2 + _C1) * (variances + _C2))).mean())


def ssim_gaussian(reference: Plane, distorted: Plane) -> float:
    """SSIM of two uint8 planes [H, W], at most 1."""
    with _quick_convolutions():
        return float(ssim(_to_tensor(reference), _to_tensor(distorted), data_range=255))


def ms_ssim_gaussian(reference: Plane, distorted: Plane) -> float | None:
    """MS-SSIM of two uint8 planes [H, W], 0..1; None when a side is below MS_SSIM_MIN_SIDE."""
    if min(reference.shape) < MS_SSIM_MIN_SIDE:
        return None
    with _quick_convolutions():
        return float(ms_ssim(_to_tensor(reference), _to_tensor(distorted), data_range=255))


class XpsnrMeter:
    """XPSNR of luma, by FFmpeg's `xpsnr` filter: PSNR weighted by how well the eye sees errors in each block.

    Errors in busy and in moving blocks count less. The filter takes the first frame for a change from black, and so as
    moving everywhere: its figure is some 10 dB higher and lifts the mean of a short clip, of every codec alike.

    Args:
        video: size and frame rate; above 32 frames per second the filter measures movement over three frames.
    Source: Helmrich et al., "XPSNR: a low-complexity extension of the perceptually weighted peak signal-to-noise
        ratio for high-resolution video quality assessment", 2020.
    """

    def __init__(self, video: VideoFormat) -> None:
        is_possible = has_filter("xpsnr") and video.width * video.height >= XPSNR_MIN_SAMPLES
        self._filter = PairFilter("xpsnr", video) if is_possible else None

    def measure(self, reference: Frame, distorted: Frame) -> float | None:
        """XPSNR of the next pair in display order, dB, at most PSNR_CAP.

        Returns:
            None where this build of FFmpeg has no such filter, or the picture has less luma than XPSNR_MIN_SAMPLES.
        """
        if self._filter is None:
            return None
        return min(PSNR_CAP, float(self._filter.compare(reference, distorted)["xpsnr.y"]))


@contextmanager
def _quick_convolutions() -> Iterator[None]:
    # oneDNN takes up to twice as long as torch's own code for the one channel there is here.
    backend: Any = torch.backends.mkldnn  # whose type hints take the flag for constant
    was_enabled, backend.enabled = backend.enabled, False
    try:
        with torch.inference_mode():
            yield
    finally:
        backend.enabled = was_enabled


def _to_tensor(plane: Plane) -> Tensor:
    return torch.from_numpy(plane.astype(np.float32))[None, None]
