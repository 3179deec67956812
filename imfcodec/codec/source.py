"""The frames of a video group by group, as the encoder takes them."""

from collections import deque
from collections.abc import Iterator, Sequence

from imfcodec.frames import Frame
from imfcodec.video.scenes import SceneDetector


class FrameSource:
    """Hands out frames and says where groups end. Reads no frame before it is asked for.

    Args:
        frames: in display order, all of one size.
        scene_cuts: a scene cut ends a group.
        key_interval: frames after which a group ends; None sets no limit.
    """

    def __init__(self, frames: Iterator[Frame], *, scene_cuts: bool, key_interval: int | None) -> None:
        self._frames, self._limit = frames, key_interval
        self._scene_cuts = scene_cuts
        self._detector: SceneDetector | None = None
        self._given_back: deque[Frame] = deque()
        self._taken, self._closed = 0, False

    def open_group(self) -> Frame | None:
        """The first frame of the next group; None at the end of the video."""
        frame = self._next()
        self._taken, self._closed = 1, False
        # A group's end depends on its own frames alone, so that an encode may go on at any group.
        self._detector = SceneDetector() if self._scene_cuts else None
        if frame is not None and self._detector is not None:
            self._detector.is_cut(frame)
        return frame

    def take(self, count: int) -> list[Frame]:
        """The next `count` frames of the group; fewer at its end."""
        frames: list[Frame] = []
        while len(frames) < count and not self._closed and (self._limit is None or self._taken < self._limit):
            frame = self._next()
            if frame is None:
                self._closed = True
            elif self._is_cut(frame):
                self.give_back([frame])
            else:
                frames.append(frame)
                self._taken += 1
        return frames

    def give_back(self, frames: Sequence[Frame]) -> None:
        """End the group before the last `frames` that were taken."""
        self._given_back.extendleft(reversed(frames))
        self._closed = True

    def _next(self) -> Frame | None:
        return self._given_back.popleft() if self._given_back else next(self._frames, None)

    def _is_cut(self, frame: Frame) -> bool:
        """Never right after the first frame of a group, where it is not known yet how much moves."""
        return self._detector is not None and self._detector.is_cut(frame) and self._taken > 1
