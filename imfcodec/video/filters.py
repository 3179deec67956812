"""FFmpeg's filters that compare two videos (`psnr`, `ssim`, `xpsnr`): what they find out about each pair of frames."""

import av

from imfcodec.errors import UsageError
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.planes import to_picture


def has_filter(name: str) -> bool:
    """Whether this build of FFmpeg has a filter of that name."""
    return name in av.filter.filters_available


class PairFilter:
    """One filter with two inputs, fed pair by pair in display order; it may look back at earlier pairs.

    Args:
        name: name of the filter.
        video: size and frame rate of both videos.
    Raises:
        UsageError: this build of FFmpeg does not have the filter.
    """

    def __init__(self, name: str, video: VideoFormat) -> None:
        if not has_filter(name):
            raise UsageError(f"this build of FFmpeg has no filter '{name}'; install another one")
        self._prefix = f"lavfi.{name}."
        self._count = 0
        graph = av.filter.Graph()
        filter_, self._sink = graph.add(name), graph.add("buffersink")
        # Not `Graph.add_buffer`, which cannot say the frame rate: xpsnr goes by it.
        arguments = (
            f"video_size={video.width}x{video.height}:pix_fmt=yuv420p:"
            f"time_base={1 / video.frame_rate}:frame_rate={video.frame_rate}"
        )
        self._sources = [graph.add("buffer", arguments) for _ in range(2)]
        for pad, source in enumerate(self._sources):
            source.link_to(filter_, 0, pad)
        filter_.link_to(self._sink)
        graph.configure()
        self._graph = graph

    def compare(self, first: Frame, second: Frame) -> dict[str, str]:
        """What the filter says of this pair, e.g. `{"psnr.y": "31.41", ...}`; time stamps are not looked at."""
        for source, frame in zip(self._sources, (first, second), strict=True):
            source.push(to_picture(frame, self._count))
        self._count += 1
        metadata = self._sink.pull().metadata
        return {name.removeprefix(self._prefix): text for name, text in metadata.items()}
