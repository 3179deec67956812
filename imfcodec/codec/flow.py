"""Optical flow between two frames, and what of them is visible in both; by OpenCV's DIS (dense inverse search)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from imfcodec.errors import UsageError
from imfcodec.frames import Plane

Flow = npt.NDArray[np.float32]
Motion = tuple[Flow, npt.NDArray[np.bool_]]
"""Where each sample of a frame lies in another frame, x and y [H, W, 2], and whether it is visible there [H, W]."""

# A point is visible in both frames if going there and back ends within this distance, squared, of where it began:
# share of the two squared lengths, and samples squared. Sundaram et al., "Dense point trajectories", 2010.
_CONSISTENCY_SHARE, _CONSISTENCY_SLACK = 0.01, 0.5


class FlowFinder:
    """Finds motion between frames.

    Args:
        purpose: what needs it, for the error.
        extra: of imfcodec that brings OpenCV.
        threads: of OpenCV.
    Raises:
        UsageError: OpenCV is not installed.
    """

    def __init__(self, purpose: str, extra: str, threads: int) -> None:
        try:
            import cv2
        except ImportError:
            raise UsageError(f"{purpose} needs OpenCV; install it with: pip install 'imfcodec[{extra}]'") from None
        self._cv2: Any = cv2  # its type hints lack some of its functions
        self._flow = self._cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._cv2.setNumThreads(threads)

    def follow(self, other: Plane, now: Plane) -> Motion:
        """Motion from a frame to another one, luma uint8 [H, W] both."""
        height, width = now.shape
        back = self._flow.calc(now, other, None)
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        positions = grid + back
        forth = self.sample(self._flow.calc(other, now, None), positions)
        lengths = (back**2).sum(-1) + (forth**2).sum(-1)
        returns = ((back + forth) ** 2).sum(-1) < _CONSISTENCY_SHARE * lengths + _CONSISTENCY_SLACK
        inside = ((positions >= 0) & (positions <= (width - 1, height - 1))).all(-1)
        return positions, returns & inside

    def sample(self, values: npt.NDArray[Any], positions: Flow) -> Flow:
        """Bilinear samples of [H, W] or [H, W, C] at the positions, as float32."""
        cv2 = self._cv2
        return cv2.remap(values.astype(np.float32), positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
