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

    Attributes:
        position: number of the next frame, from 0.
    """

    def __init__(self, frames: Iterator[Frame], *, scene_cuts: bool, key_interval: int | None) -> None:
        self._frames, self._limit = frames, key_interval
        self._scene_cuts = scene_cuts
        self._detector: SceneDetector | None = None
        self._given_back: deque[Frame] = deque()
        self._taken, self._closed = 0, False
        self.position = 0

    def is_at_end(self) -> bool:
        """Whether there is no frame left; reads the next one, where none was given back."""
        frame = self._next()
        if frame is not None:
            self.give_back([frame])
        return frame is None

    def pass_over(self, position: int) -> None:
        """Go on at the frame of this number, or at the end where there is none."""
        while self.position < position and self._next() is not None:
            pass

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
        self.position -= len(frames)
        self._closed = True

    def _next(self) -> Frame | None:
        frame = self._given_back.popleft() if self._given_back else next(self._frames, None)
        self.position += frame is not None
        return frame

    def _is_cut(self, frame: Frame) -> bool:
        """Never right after the first frame of a group, where it is not known yet how much moves."""
        return self._detector is not None and self._detector.is_cut(frame) and self._taken > 1


class GroupForecast:
    """Foretells where groups end, as far as pictures alone say; an encoder may end one earlier, by trial.

    Args:
        frames: as for `FrameSource`, the first of them number `start`; read as far as they are needed.
        scene_cuts, key_interval: as for `FrameSource`.

    Attributes:
        position: number of the first frame that is not read.
    """

    def __init__(self, frames: Iterator[Frame], start: int, *, scene_cuts: bool, key_interval: int) -> None:
        self._frames, self.position = frames, start
        self._detector = SceneDetector() if scene_cuts else None
        self._interval = key_interval
        self._cuts: set[int] = set()

    def end_of(self, start: int) -> int | None:
        """Where the group ends that begins with this frame: number of the next one's first; None is the last group."""
        for position in range(start + 1, start + self._interval + 1):
            while self.position <= position:
                if not self._read():
                    return None
            if position in self._cuts and position > start + 1:  # see `FrameSource`
                return position
        return start + self._interval

    def read_all(self) -> None:
        """Read to the end."""
        while self._read():
            pass

    def _read(self) -> bool:
        frame = next(self._frames, None)
        if frame is None:
            return False
        if self._detector is not None and self._detector.is_cut(frame):
            self._cuts.add(self.position)
        self.position += 1
        return True
