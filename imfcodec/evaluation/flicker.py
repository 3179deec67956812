"""Temporal consistency: how much a decoded video flickers where the original only moves.

Optical flow comes from OpenCV's DIS (dense inverse search), package opencv-python-headless, on the original frames: the
same flow and the same occlusions for every codec.
"""

from collections.abc import Callable

import numpy as np
import torch

from imfcodec.codec.flow import FlowFinder, Motion
from imfcodec.frames import Plane


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
        self._flow = FlowFinder("warping error", "bench", torch.get_num_threads())
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
        positions, visible = self._motions.get(self._index, lambda: self._flow.follow(previous[0], reference))
        if not visible.any():
            return None
        now = (distorted, reference)
        before = (self._flow.sample(plane, positions) for plane in (previous[1], previous[0]))
        first, second = (float(np.abs(a - b)[visible].mean()) for a, b in zip(now, before, strict=True))
        return first, second
