"""Synthetic clips for the tests of `imfcodec.video`."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from imfcodec.frames import Colour, Frame, VideoFormat


def make_format(width=64, height=48, rate=Fraction(25), time_base=None, **fields) -> VideoFormat:
    return VideoFormat(width, height, Fraction(rate), time_base or 1 / Fraction(rate), **fields)


def make_frames(video: VideoFormat, count: int, stamps: Iterable[int] | None = None) -> list[Frame]:
    """Noise with a moving bright bar: every plane of every frame differs."""
    rng = np.random.default_rng(7)
    chroma = (-(-video.height // 2), -(-video.width // 2))
    step = round(1 / (video.frame_rate * video.time_base))
    frames = []
    for index, pts in zip(range(count), stamps or range(0, count * step, step), strict=False):
        y = rng.integers(16, 200, (video.height, video.width), dtype=np.uint8)
        y[:, index % video.width] = 235
        u, v = rng.integers(16, 240, (2, *chroma), dtype=np.uint8)
        frames.append(Frame(y, u, v, pts))
    return frames


def same_pixels(first: Frame, second: Frame) -> bool:
    return all(np.array_equal(getattr(first, plane), getattr(second, plane)) for plane in "yuv")


def write_encoded(path: Path, codec: str, pixel_format: str, arrays: list[list[np.ndarray]], **attributes) -> None:
    """Encode planes given as arrays (uint8 or uint16) with any codec, at 25 frames a second."""
    height, width = arrays[0][0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        for name, value in attributes.items():
            setattr(stream.codec_context, name, value)
        for index, planes in enumerate(arrays):
            picture = av.VideoFrame(width, height, pixel_format)
            for plane, array in zip(picture.planes, planes, strict=True):
                rows = np.frombuffer(plane, array.dtype).reshape(plane.height, -1)
                rows[:, : array.reshape(plane.height, -1).shape[1]] = array.reshape(plane.height, -1)
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def write_click(path: Path, codec: str, rate: int, click_seconds: float, video_start: float = 0.0) -> None:
    """Two seconds of video whose sound is silent but for one click, and which is black but for one flash then."""
    layout = "mono"
    samples = np.zeros((1, 2 * rate), np.float32)
    at = round(click_seconds * rate)
    samples[0, at : at + rate // 200] = 0.8
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "10"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=rate)
        sound.layout = layout
        for index in range(50):
            level = 235 if round(click_seconds * 25) == index else 16
            picture = av.VideoFrame.from_ndarray(np.full((72, 64), level, np.uint8), "yuv420p")
            picture.pts, picture.time_base = index + round(video_start * 25), Fraction(1, 25)
            container.mux(video.encode(picture))
        frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        resampler = av.AudioResampler(format=sound.format.name, layout=layout, rate=rate)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(sound.encode(piece))
        container.mux(sound.encode(None))
        container.mux(video.encode(None))


def click_and_flash(path: Path) -> tuple[float, float]:
    """Return when, in seconds, the click sounds and the flash shows."""
    with av.open(str(path)) as container:
        click = _click_time(container)
    with av.open(str(path)) as container:
        flash = next(frame.time for frame in container.decode(video=0) if frame.to_ndarray().mean() > 120)
    return click, flash


def _click_time(container) -> float:
    for frame in container.decode(audio=0):
        level = np.abs(frame.to_ndarray().astype(np.float32).reshape(-1))
        peak = 32768 if frame.format.name.startswith("s16") else 1
        loud = np.flatnonzero(level > 0.3 * peak)
        if loud.size:
            return float(frame.time) + loud[0] / frame.sample_rate
    raise AssertionError("no click")


BT709_FULL = Colour(1, 1, 1, True)
