"""Temporal consistency: how much a decoded video flickers where the original only moves.

Optical flow comes from OpenCV's DIS (dense inverse search), package opencv-python-headless, on the original frames: the
same flow and the same occlusions for every codec.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from imfcodec.errors import UsageError
from imfcodec.frames import Plane

Flow = npt.NDArray[np.float32]
Motion = tuple[Flow, npt.NDArray[np.bool_]]
"""Where each sample of a frame lies in the frame before, x and y [H, W, 2], and whether it is visible there [H, W]."""

# A point is visible in both frames if going there and back ends within this distance, squared, of where it began:
# share of the two squared lengths, and samples squared. Sundaram et al., "Dense point trajectories", 2010.
_CONSISTENCY_SHARE, _CONSISTENCY_SLACK = 0.01, 0.5


class MotionStore:
    """Keeps the motion between the frames of one video for whoever measures that video again.

    Args:
        limit: bytes of memory; motion that does not fit any more is found anew each time.
    """

    def __init__(self, limit: int = 1 << 28) -> None:
        self._room = limit
        self._motions: dict[int, Motion] = {}

    def get(self, index: int, find: Callable[[], Motion]) -> Motion:
        """The motion up to frame `index`, by `find` the first time."""
        if index in self._motions:
            return self._motions[index]
        motion = find()
        size = sum(part.nbytes for part in motion)
        if size <= self._room:
            self._room -= size
            self._motions[index] = motion
        return motion


class WarpingMeter:
    """Warping error of luma outside occlusions, frame by frame.

    The frame before, moved along the optical flow to where its points are now, should be the frame now; the error is
    the mean absolute difference of the samples visible in both. It is not closeness: the error of a frozen picture
    depends on the movement it leaves out, that of a blurred one is small. Read it beside the original's own error,
    which holds noise, changes of light and faults of the flow.

    Args:
        motions: those of the same reference video from earlier measurements; None starts with none.
    Raises:
        UsageError: OpenCV is not installed.
    Source: Lai et al., "Learning blind video temporal consistency", 2018; Yang et al., "FRESCO", 2024, temporal
        consistency.
    """

    def __init__(self, motions: MotionStore | None = None) -> None:
        try:
            import cv2
        except ImportError:
            raise UsageError("warping error needs OpenCV; install it with: pip install 'imfcodec[bench]'") from None
        self._cv2: Any = cv2  # its type hints lack some of its functions
        self._flow = self._cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._cv2.setNumThreads(torch.get_num_threads())
        self._motions = motions or MotionStore(0)
        self._previous: tuple[Plane, Plane] | None = None
        self._index = 0

    def measure(self, reference: Plane, distorted: Plane) -> tuple[float, float] | None:
        """Warping errors of the next pair in display order against the pair before.

        Args:
            reference, distorted: uint8 [H, W] luma.
        Returns:
            Error of the distorted video and of the reference itself, 8-bit levels 0..255; None for the first pair, and
            where nothing is visible in both frames, as across a cut.
        """
        previous, self._previous = self._previous, (reference, distorted)
        if previous is None:
            return None
        self._index += 1
        positions, visible = self._motions.get(self._index, lambda: self._follow(previous[0], reference))
        if not visible.any():
            return None
        now = (distorted, reference)
        before = (self._sample(plane, positions) for plane in (previous[1], previous[0]))
        first, second = (float(np.abs(a - b)[visible].mean()) for a, b in zip(now, before, strict=True))
        return first, second

    def _follow(self, before: Plane, now: Plane) -> Motion:
        height, width = now.shape
        back = self._flow.calc(now, before, None)
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        positions = grid + back
        forth = self._sample(self._flow.calc(before, now, None), positions)
        lengths = (back**2).sum(-1) + (forth**2).sum(-1)
        returns = ((back + forth) ** 2).sum(-1) < _CONSISTENCY_SHARE * lengths + _CONSISTENCY_SLACK
        inside = ((positions >= 0) & (positions <= (width - 1, height - 1))).all(-1)
        return positions, returns & inside

    def _sample(self, values: npt.NDArray[Any], positions: Flow) -> Flow:
        """Bilinear samples of [H, W] or [H, W, C] at the positions, as float32."""
        cv2 = self._cv2
        return cv2.remap(values.astype(np.float32), positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
