"""The demo: draw a talking face with sound, encode, decode, measure, and show both side by side."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from imfcodec import api
from imfcodec.evaluation.metrics import compare_files
from imfcodec.evaluation.synthetic import SAMPLE_RATE, talking_face, talking_face_format, voice
from imfcodec.files import check_distinct, check_target, make_folder
from imfcodec.frames import AudioPacket, AudioTrack, Frame, VideoFormat
from imfcodec.progress import Progress
from imfcodec.video.audio import transcode_opus
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer, write_picture

SECONDS = 4
AUDIO_BITRATE = 12000
SOURCE_AUDIO_BITRATE = 64000
SAMPLES_PER_PACKET = 960
FILES = {
    "original": "original.mkv",
    "stream": "talk.imf",
    "decoded": "decoded.mkv",
    "picture": "side_by_side.png",
}


def run_demo(
    folder: Path,
    *,
    quality: int = 50,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Make the demo's files in `folder`: the original and the decoded video without loss, the stream, a picture.

    Returns:
        Figures to print: size of the stream in bytes and kbps, mean PSNR (dB) and SSIM against the original, speed in
        frames per second, and the paths of the files.
    Raises:
        UsageError: a file exists and `overwrite` is False.
    """
    make_folder(folder)
    paths = {name: folder / file for name, file in FILES.items()}
    check_distinct([], paths.values())
    for path in paths.values():
        check_target(path, overwrite=overwrite)
    video = talking_face_format()
    write_talking_face(paths["original"], video, frame_count=round(SECONDS * video.frame_rate))
    encoded = api.encode(
        paths["original"],
        paths["stream"],
        quality=quality,
        audio=f"opus:{AUDIO_BITRATE}",
        overwrite=True,
        progress=progress,
    )
    decoded = api.decode(paths["stream"], paths["decoded"], overwrite=True, progress=progress)
    write_side_by_side(paths["original"], paths["decoded"], paths["picture"], index=encoded.frames // 2)
    report = compare_files(paths["original"], paths["decoded"])
    return {
        "clip": f"{video.width}x{video.height}, {encoded.frames} frames, {encoded.duration_seconds:.2f} s, with sound",
        "bytes": encoded.byte_count,
        "kbps": encoded.kbps,
        "kbps_by_kind": encoded.kbps_by_kind,
        **report.mean.measured(),
        "encode_fps": encoded.fps,
        "decode_fps": decoded.fps,
        **{name: str(path) for name, path in paths.items()},
    }


def write_talking_face(path: Path, video: VideoFormat, frame_count: int, seed: int = 0) -> None:
    """Write a drawn talking face with its voice (Opus) to a video file."""
    sound = voice(float(frame_count / video.frame_rate), seed)
    pcm = AudioTrack("pcm_s16le", SAMPLE_RATE, 1, Fraction(1, SAMPLE_RATE))
    track, packets = transcode_opus(_pcm_packets(sound), pcm, SOURCE_AUDIO_BITRATE)
    with open_writer(path, video, audio=track, overwrite=True) as writer:
        for packet in packets:
            writer.write_audio(packet)
        for frame in talking_face(video, frame_count, seed):
            writer.write(frame)


def write_side_by_side(original: Path, decoded: Path, picture: Path, index: int) -> None:
    """Write frame number `index` of both videos, original on the left, into one PNG file."""
    with open_clip(original, audio=False) as left, open_clip(decoded, audio=False) as right:
        pair = [next(islice(clip.frames(), index, None)) for clip in (left, right)]
        video = left.format
    y, u, v = (np.hstack([getattr(frame, plane) for frame in pair]) for plane in "yuv")
    wide = VideoFormat(2 * video.width, video.height, video.frame_rate, video.time_base, colour=video.colour)
    write_picture(picture, Frame(y, u, v, pts=0), wide)


def _pcm_packets(samples: np.ndarray) -> Iterator[AudioPacket]:
    for start in range(0, len(samples), SAMPLES_PER_PACKET):
        part = samples[start : start + SAMPLES_PER_PACKET].astype("<i2")
        yield AudioPacket(start, len(part), part.tobytes())
