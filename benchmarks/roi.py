"""What a region of interest gains inside at equal rate, and costs elsewhere.

    python benchmarks/roi.py CLIPS --clips 4 --frames 65 --out benchmarks/results/vX.Y/roi.md

The region is a rectangle, the largest face that OpenCV finds in the middle frame (extra `roi`); clips without one are
passed over, and those where it fills the frame. What plain coding comes to at the same rate is interpolated between its
qualities, over the logarithm of the rate.
"""

import argparse
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imfcodec import api
from imfcodec.evaluation.environment import describe_environment
from imfcodec.evaluation.quality import psnr
from imfcodec.evaluation.summary import markdown_table
from imfcodec.evaluation.sweep import find_clips, read_clip
from imfcodec.files import write_beside
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.regions import FaceFinder, Rectangle

HEAD = ("clip", "region", "of the frame", "quality", "kbps", "PSNR-Y inside", "gain inside", "PSNR-Y", "gain")


Video = tuple[list[Frame], VideoFormat]


class Point(NamedTuple):
    """One clip coded once: rate of the whole stream, mean PSNR of luma inside the region and of all of the frame."""

    kbps: float
    inside: float
    whole: float


def measure(clip: Video, region: Rectangle, options: api.EncodeOptions, model: api.Model) -> Point:
    """Encode, decode, compare."""
    frames, video = clip
    target = io.BytesIO()
    stats = api.Encoder(options, model=model).encode_clip(api.Clip(video, iter(frames)), target)
    target.seek(0)
    with api.Decoder(target, model=model) as decoder:
        decoded = list(decoder)
    x, y, width, height = region
    part = slice(y, y + height), slice(x, x + width)
    pairs = list(zip(frames, decoded, strict=True))
    inside = np.mean([psnr(one.y[part], other.y[part]) for one, other in pairs])
    return Point(stats.kbps, float(inside), float(np.mean([psnr(one.y, other.y) for one, other in pairs])))


def gain(plain: Sequence[Point], point: Point) -> tuple[float, float] | None:
    """By how much PSNR is above plain coding at the same rate, inside and in all; None outside its rates."""
    plain = sorted(plain)
    if not plain[0].kbps <= point.kbps <= plain[-1].kbps:
        return None
    rate, rates = math.log(point.kbps), [math.log(p.kbps) for p in plain]
    return (
        point.inside - float(np.interp(rate, rates, [p.inside for p in plain])),
        point.whole - float(np.interp(rate, rates, [p.whole for p in plain])),
    )


def with_faces(paths: Sequence[Path], frames: int, most: float) -> Iterator[tuple[str, Video, Rectangle]]:
    """Clips in which a face is found, with the largest one, where it takes so much of the frame at most."""
    finder = FaceFinder()
    for path in paths:
        clip = read_clip(path, frames)
        faces = finder.find(clip[0][len(clip[0]) // 2].y)
        region = max(faces, key=lambda face: face[2] * face[3], default=None)
        if region and region[2] * region[3] <= most * clip[0][0].y.size:
            yield path.stem, clip, region


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="CLIPS", help="folder of videos")
    parser.add_argument("--clips", type=int, default=4, help="the first so many with a face (4)")
    parser.add_argument("--most", type=float, default=0.4, help="share of the frame a face takes, at most (0.4)")
    parser.add_argument("--frames", type=int, default=65, help="frames of each clip (65)")
    parser.add_argument("--plain", type=float, nargs="+", default=[20, 30, 40], help="qualities without (20 30 40)")
    parser.add_argument("--quality", type=float, nargs="+", default=[30, 40], help="qualities with a region (30 40)")
    parser.add_argument("--strength", type=float, default=api.EncodeOptions.roi_strength, help="see encode (its own)")
    parser.add_argument("--preset", default="medium")
    parser.add_argument("--model", help="name or path (the default model)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="file for the table")
    return parser.parse_args(arguments)


def rows(options: argparse.Namespace) -> Iterator[tuple[list[str], tuple[float, float] | None]]:
    """The cells of each row, and its gains."""
    model = api.Model(options.model, threads=options.threads)
    base = api.EncodeOptions(preset=options.preset, roi_strength=options.strength)
    clips = with_faces(find_clips(options.source), options.frames, options.most)
    for name, clip, region in itertools.islice(clips, options.clips):
        words = ",".join(map(str, region))
        share = f"{100 * region[2] * region[3] / clip[0][0].y.size:.0f} %"
        plain = [measure(clip, region, replace(base, quality=quality), model) for quality in options.plain]
        for quality in options.quality:
            point = measure(clip, region, replace(base, quality=quality, roi=(words,)), model)
            gains = gain(plain, point)
            inside, whole = (f"{value:+.2f}" for value in gains) if gains else ("-", "-")
            figures = f"{quality:g}", f"{point.kbps:.2f}", f"{point.inside:.2f}", inside, f"{point.whole:.2f}", whole
            yield [name, words, share, *figures], gains


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all, and write the table."""
    options = parse_arguments(arguments)
    table, gains = [], []
    for cells, gained in rows(options):
        print(*cells, flush=True)
        table.append(cells)
        gains += [gained] if gained else []
    inside, whole = np.mean(gains, axis=0) if gains else (math.nan, math.nan)
    text = (
        "# Region of interest\n\n"
        f"{describe_environment()}; preset {options.preset}, strength {options.strength:g}, {options.frames} frames, "
        f"faces of up to {100 * options.most:g} % of the frame, "
        f"plain coding at qualities {' '.join(f'{quality:g}' for quality in options.plain)}.\n\n"
        f"PSNR-Y in dB, gains against plain coding at the same rate: {inside:+.2f} inside, {whole:+.2f} in all.\n\n"
        f"{markdown_table(HEAD, table)}\n"
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with write_beside(options.out) as file:
        file.write(text.encode())


if __name__ == "__main__":
    main()
