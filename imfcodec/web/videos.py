"""Videos that stand beside a stream on its page: brought into a form that every browser plays, and their rates."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from imfcodec.frames import Frame
from imfcodec.video.reader import ClipReader, open_clip
from imfcodec.video.writer import open_writer

SUFFIX = ".mp4"


def convert_video(source: str | Path, target: Path, until: float | None, say: Callable[[str], None]) -> float:
    """Write a video without sound as H.264, visually lossless, from its first frame on.

    Args:
        source: any video file that FFmpeg reads.
        target: a file that ends in SUFFIX.
        until: seconds the stream beside it lasts; what goes on longer is left out. None takes all of it.
        say: is told, one line each, what is wrong with the source and whether it ends at another time than the stream.
    Returns:
        Rate of the source in kbps: its coded pictures alone, without container and sound.
    Raises:
        InputError, LimitError: the source cannot be read.
    """
    with open_clip(source, audio=False) as clip:
        for line in [*clip.notes, *_ends_elsewhere(clip, until)]:
            say(f"{source}: {line}")
        with open_writer(target, clip.format) as writer:
            writer.last_duration = clip.last_duration
            for frame in _until(clip, until):
                writer.write(frame)
        return 8 * clip.coded_bytes() / 1000 / clip.duration_seconds


def _ends_elsewhere(clip: ClipReader, until: float | None) -> Iterator[str]:
    if until is not None and abs(clip.duration_seconds - until) > 1 / clip.format.frame_rate:
        fate = "the rest is left out" if clip.duration_seconds > until else "its last picture stays"
        yield f"lasts {clip.duration_seconds:.2f} s, the stream {until:.2f} s; {fate}"


def _until(clip: ClipReader, until: float | None) -> Iterator[Frame]:
    """The frames that are shown before a time, the first one at 0 and in any case."""
    first: int | None = None
    for frame in clip.frames():
        first = frame.pts if first is None else first
        ticks = frame.pts - first
        if until is not None and ticks and float(ticks * clip.format.time_base) >= until:
            return
        yield replace(frame, pts=ticks)
