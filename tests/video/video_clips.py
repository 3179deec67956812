"""Synthetic clips for the tests of `imfcodec.video`."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import Flags
from av.stream import Disposition

from imfcodec.frames import Colour, Frame, VideoFormat
from imfcodec.video.planes import to_picture

BITEXACT = int(Flags.bitexact.value)


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


def write_video(
    path: Path,
    frames: list[Frame],
    codec: str,
    *,
    rate: int = 25,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    start: int = 0,
    spoil: Iterable[int] = (),
) -> Path:
    """Encode frames, stamped in frames of `rate`, into whatever the name says; packets in `spoil` become zeros."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        container.flags |= BITEXACT
        stream = container.add_stream(codec, rate=rate, options=options or {})
        height, width = frames[0].y.shape
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if stream.codec_context.codec.name.startswith("libx26"):
            stream.codec_context.gop_size = 5
        packets = []
        for frame in frames:
            picture = to_picture(frame, frame.pts + start)
            picture.time_base = Fraction(1, rate)
            packets += stream.encode(picture.reformat(format=pixel_format))
        for index, packet in enumerate([*packets, *stream.encode(None)]):
            container.mux(_spoiled(packet) if index in set(spoil) else packet)
    return path


def _spoiled(packet: av.Packet) -> av.Packet:
    spoiled = av.Packet(bytes(packet.size))
    spoiled.pts, spoiled.dts, spoiled.duration = packet.pts, packet.dts, packet.duration
    spoiled.time_base, spoiled.stream = packet.time_base, packet.stream
    return spoiled


def write_tracks(path: Path) -> Path:
    """A file with two videos (96x96, 64x48) and two sounds (German flac, English opus), the second ones marked."""
    with av.open(str(path), "w") as container:
        videos = [container.add_stream("mpeg4", rate=25) for _ in range(2)]
        for stream, (width, height) in zip(videos, ((96, 96), (64, 48)), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        sounds = [container.add_stream(codec, rate=48000) for codec in ("flac", "libopus")]
        for stream, language in zip(sounds, ("deu", "eng"), strict=True):
            stream.layout = "mono"
            stream.metadata["language"] = language
        for first, second in (videos, sounds):
            first.disposition, second.disposition = Disposition(0), Disposition.default
        for stream in videos:
            for frame in make_frames(make_format(stream.width, stream.height), 5):
                picture = to_picture(frame, frame.pts)
                picture.time_base = Fraction(1, 25)
                container.mux(stream.encode(picture))
        for stream in sounds:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            container.mux(stream.encode(frame))
        for stream in (*videos, *sounds):
            container.mux(stream.encode(None))
    return path


def write_sound(path: Path, codec: str) -> bytes:
    """A transport stream of one second, black, with a hum in this codec; returns its bytes."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=48000)
        sound.layout = "mono"
        kind = sound.codec_context.codec.audio_formats[0].name
        hum = 0.3 * np.sin(np.arange(1920) * 2 * np.pi * 200 / 48000)[None]
        samples = hum.astype(np.float32) if kind == "fltp" else (hum * 32767).astype(np.int16)
        for index in range(25):
            picture = av.VideoFrame.from_ndarray(np.full((72, 64), 128, np.uint8), "yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(video.encode(picture))
            piece = av.AudioFrame.from_ndarray(samples, kind, "mono")
            piece.sample_rate, piece.pts, piece.time_base = 48000, index * 1920, Fraction(1, 48000)
            container.mux(sound.encode(piece))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    return path.read_bytes()


def write_click(
    path: Path,
    codec: str,
    rate: int,
    click_seconds: float,
    video_start: float = 0.0,
    sound_start: float = 0.0,
    gap: tuple[float, float] = (0.0, 0.0),
    jitter: int = 0,
) -> None:
    """Two seconds of video whose sound is silent but for one click, and which is black but for one flash then.

    The sound has no samples before `sound_start` and within `gap`; its stamps are off by up to `jitter` samples.
    """
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
        shifts = np.random.default_rng(3).integers(-jitter, jitter + 1, 50)
        parts = [(n * rate // 25, (n + 1) * rate // 25) for n in range(50)]
        for (start, end), shift in zip(parts, shifts, strict=True):
            if start >= sound_start * rate and not gap[0] <= start / rate < gap[1]:
                _encode_sound(container, sound, samples[:, start:end], start + int(shift))
        container.mux(sound.encode(None))
        container.mux(video.encode(None))


def _encode_sound(container, sound, samples: np.ndarray, start: int) -> None:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = sound.rate, start, Fraction(1, sound.rate)
    resampler = av.AudioResampler(format=sound.format.name, layout="mono", rate=sound.rate)
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(sound.encode(piece))


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
