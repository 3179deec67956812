"""Coded sizes: large talkers coded at the size the encoder chooses, and at full size.

    python benchmarks/sizes.py CLIPS --out benchmarks/results/vX.Y --heights 720 1080

Each clip of the folder (square, say 512x512) is scaled up to the height and stands on a drawn background of 16:9; a
drawn talking face of full sharpness is added. Writes OUT/sizes.md: rate, PSNR and SSIM at full size, frames a second.
"""

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imfcodec import api
from imfcodec.evaluation.environment import describe_environment
from imfcodec.evaluation.summary import markdown_table
from imfcodec.evaluation.sweep import find_clips
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.files import write_beside
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.likeness import LikenessMeter
from imfcodec.video.reader import open_clip
from imfcodec.video.scaling import resized

RATE = Fraction(25)
FULL = "1"
HEAD = ("clip", "asked", "coded size", "kbps", "PSNR-Y", "SSIM-Y", "encode fps", "decode fps")


class Row(NamedTuple):
    """One clip, coded one way."""

    clip: str
    asked: str
    coded_size: str
    kbps: float
    psnr_y: float
    ssim_y: float
    encode_fps: float
    decode_fps: float

    def cells(self) -> list[str]:
        """As they stand in the table."""
        return [
            *self[:3],
            f"{self.kbps:.2f}",
            f"{self.psnr_y:.2f}",
            f"{self.ssim_y:.3f}",
            f"{self.encode_fps:.2f}",
            f"{self.decode_fps:.2f}",
        ]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder with square clips")
    parser.add_argument("--out", type=Path, required=True, help="folder for sizes.md")
    parser.add_argument("--count", type=int, default=2, help="clips, the first by name (2)")
    parser.add_argument("--heights", type=int, nargs="+", default=[720, 1080])
    parser.add_argument("--frames", type=int, default=49, help="frames of each clip (49)")
    parser.add_argument("--qualities", type=float, nargs="*", default=[10, 40])
    parser.add_argument("--bitrates", type=float, nargs="*", default=[], help="bits per second, beside the qualities")
    parser.add_argument("--golden-interval", type=int, help="a fixed order of frames, to be quick")
    parser.add_argument("--model", help="name or path (the default model)")
    parser.add_argument("--threads", type=int, help="CPU threads (all)")
    return parser.parse_args(arguments)


def drawn(height: int, count: int) -> tuple[VideoFormat, list[Frame]]:
    """A talking face drawn at full size, and its format."""
    video = talking_face_format(2 * round(height * 8 / 9), height, RATE)
    return video, list(talking_face(video, count))


def on_stage(path: Path, height: int, count: int) -> tuple[VideoFormat, list[Frame]]:
    """A square clip, scaled to the height, in the middle of a still picture of 16:9 with stripes of several widths."""
    width = 2 * round(height * 8 / 9)
    with open_clip(path, audio=False) as clip:
        frames = list(resized(islice(clip.frames(), count), height, height))
    left = (width - height) // 4 * 2
    stripes = np.sin(np.cumsum(0.05 + 0.4 * np.linspace(0, 1, width) ** 2))
    stage = np.tile((100 + 20 * stripes).astype(np.uint8), (height, 1))
    video = VideoFormat(width, height, RATE, 1 / RATE)
    return video, [_stand(frame, stage, left, number) for number, frame in enumerate(frames)]


def _stand(frame: Frame, stage: np.ndarray, left: int, pts: int) -> Frame:
    side = len(frame.y)
    luma = stage.copy()
    luma[:, left : left + side] = frame.y
    chroma = []
    for plane in (frame.u, frame.v):
        wide = np.full((stage.shape[0] // 2, stage.shape[1] // 2), 128, np.uint8)
        wide[:, left // 2 : left // 2 + plane.shape[1]] = plane
        chroma.append(wide)
    return Frame(luma, *chroma, pts)


def measure(
    name: str, video: VideoFormat, frames: list[Frame], options: api.EncodeOptions, asked: str, model: api.Model
) -> Row:
    """Encode, decode at full size, compare."""
    target = io.BytesIO()
    stats = api.Encoder(options, model=model).encode_clip(
        api.Clip(video, iter(frames), frame_count_hint=len(frames)), target
    )
    start = time.monotonic()
    target.seek(0)
    with api.Decoder(target, model=model) as decoder:
        decoded = list(decoder)
        size = f"{decoder.header.format.width}x{decoder.header.format.height}"
    seconds = time.monotonic() - start
    means = []
    for figure in ("psnr", "ssim"):
        meter = LikenessMeter(figure, video)
        for pair in zip(frames, decoded, strict=True):
            meter.add(*pair)
        means.append(meter.mean())
    return Row(name, asked, size, stats.kbps, means[0], means[1], stats.fps, len(frames) / seconds)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Every clip at every height, quality and rate, by itself and at full size."""
    model = api.Model(options.model, threads=options.threads)
    base = api.EncodeOptions(golden_interval=options.golden_interval)
    asked = [(f"quality {quality:g}", replace(base, quality=quality)) for quality in options.qualities]
    asked += [(f"{rate / 1000:g} kbit/s", replace(base, bitrate=rate)) for rate in options.bitrates]
    for height in options.heights:
        paths = find_clips(options.clips)[: options.count]
        clips = {path.stem: on_stage(path, height, options.frames) for path in paths}
        clips["drawn"] = drawn(height, options.frames)
        for name, (video, frames) in clips.items():
            for words, choice in asked:
                for size in ("auto", FULL):
                    chosen = replace(choice, coded_size=size)
                    yield measure(f"{name} {height}p", video, frames, chosen, words, model)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all, and write the table."""
    options = parse_arguments(arguments)
    table = []
    for row in rows(options):
        table.append(row.cells())
        print(*table[-1], flush=True)
    head = f"# Coded size chosen by the encoder, and full size\n\n{describe_environment()}; {options.frames} frames.\n"
    notes = "\nPSNR-Y and SSIM-Y (FFmpeg's) at full size, frames a second of the last pass, without the trials.\n\n"
    options.out.mkdir(parents=True, exist_ok=True)
    with write_beside(options.out / "sizes.md") as file:
        file.write((head + notes + markdown_table(HEAD, table) + "\n").encode())


if __name__ == "__main__":
    main()
