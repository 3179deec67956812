"""Scene cuts, by FFmpeg's detector (filter scdet)."""

import av
import av.filter
import numpy as np

from imfcodec.frames import Frame

THRESHOLD = 10.0  # percent, FFmpeg's own
_SCORE = "lavfi.scd.score"


class SceneDetector:
    """Tells where the scene changes in a video of one size, frame by frame; looks at nothing that comes later."""

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None
        self._count = 0

    def is_cut(self, frame: Frame) -> bool:
        """Whether the next frame in display order shows another scene than the one before it.

        The change is the mean absolute difference of luma to the frame before, as far as that differs from the change
        one frame earlier: steady motion is no cut.
        """
        height, width = frame.y.shape
        if self._graph is None:
            self._graph = _open_graph(width, height)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.y), format="gray")
        picture.pts = self._count
        self._count += 1
        self._graph.push(picture)
        return float(self._graph.pull().metadata.get(_SCORE, 0)) >= THRESHOLD


def _open_graph(width: int, height: int) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add("buffer", f"video_size={width}x{height}:pix_fmt=gray:time_base=1/25:pixel_aspect=1/1")
    detector, sink = graph.add("scdet", f"threshold={THRESHOLD}"), graph.add("buffersink")
    source.link_to(detector)
    detector.link_to(sink)
    graph.configure()
    return graph
