"""FFmpeg's filters: those that compare two videos (`psnr`, `ssim`, `xpsnr`), and the deinterlacer `bwdif`."""

import contextlib
from collections.abc import Iterable, Iterator
from fractions import Fraction

import av

from imfcodec.errors import UsageError
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.planes import to_picture

_FILTER_BASE = Fraction(1, 25)


def has_filter(name: str) -> bool:
    """Whether this build of FFmpeg has a filter of that name."""
    return name in av.filter.filters_available


class PairFilter:
    """One filter with two inputs, fed pair by pair in display order; it may look back at earlier pairs.

    Args:
        name: name of the filter.
        video: size and frame rate of both videos.
        options: of the filter.
    Raises:
        UsageError: this build of FFmpeg does not have the filter.
    """

    def __init__(self, name: str, video: VideoFormat, options: str | None = None) -> None:
        if not has_filter(name):
            raise UsageError(f"this build of FFmpeg has no filter '{name}'; install another one")
        self._prefix = f"lavfi.{name}."
        self._count = 0
        graph = av.filter.Graph()
        filter_, self._sink = graph.add(name, options), graph.add("buffersink")
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


class _Graph:
    """One run of bwdif over pictures of one size and format: as many come out as went in."""

    def __init__(self, picture: av.VideoFrame, everything: bool) -> None:
        self.key = _shape(picture)
        self._count = 0
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=_FILTER_BASE
        )
        bwdif = self._graph.add("bwdif", f"mode=send_frame:deint={'all' if everything else 'interlaced'}")
        sink = self._graph.add("buffersink")
        self._graph.link_nodes(source, bwdif, sink).configure()

    def push(self, picture: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Take the next picture, None at the end, and yield those that are ready."""
        if picture is not None:
            picture.pts, picture.time_base = self._count, _FILTER_BASE
            self._count += 1
        self._graph.vpush(picture)
        with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                yield self._graph.vpull()


def deinterlaced(pictures: Iterable[av.VideoFrame], *, everything: bool) -> Iterator[av.VideoFrame]:
    """Deinterlace with bwdif, one picture out for one in.

    Args:
        pictures: decoded pictures in display order; their size may change.
        everything: treat every picture as interlaced, not only those that are marked so.
    """
    graph: _Graph | None = None
    for picture in pictures:
        if graph is None or graph.key != _shape(picture):
            yield from graph.push(None) if graph else ()
            graph = _Graph(picture, everything)
        yield from graph.push(picture)
    yield from graph.push(None) if graph else ()


def _shape(picture: av.VideoFrame) -> tuple[int, int, str]:
    return picture.width, picture.height, picture.format.name
