"""Whether the dial rises evenly: every clip coded at quality 0, 5, ..., 100.

    python benchmarks/dial.py CLIPS --step 5 --frames 33 --out benchmarks/results/dial.md

CLIPS are videos or folders of them. Encodes and decodes in memory. Prints, for each clip, rate and PSNR-Y of every
quality as they are measured, and at the end two tables: floor and top, whether both rise at every step, and by how
much the rate does, least, median and most; and all points.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from imfcodec.codec.effort import PRESETS
from imfcodec.codec.settings import STRUCTURES, EncoderSettings
from imfcodec.evaluation.environment import describe_environment
from imfcodec.evaluation.round_trip import round_trip
from imfcodec.evaluation.summary import markdown_table
from imfcodec.evaluation.sweep import find_clips, read_clip
from imfcodec.files import write_beside
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.scaling import rescale
from imfcodec.zoo import load_model

HEAD = ("clip", "floor, kbps / dB", "top, kbps / dB", "rate falls at", "PSNR-Y falls at", "steps of the rate")


class Point(NamedTuple):
    """One quality: kbps of the payloads, and mean PSNR-Y in dB."""

    quality: float
    kbps: float
    psnr_y: float

    def __str__(self) -> str:
        return f"{self.kbps:.2f} / {self.psnr_y:.2f}"


def falls(points: Sequence[Point], figure: str) -> list[float]:
    """Qualities at which a figure is no higher than a step before."""
    pairs = itertools.pairwise(points)
    return [later.quality for earlier, later in pairs if getattr(later, figure) <= getattr(earlier, figure)]


def row(clip: str, points: Sequence[Point]) -> list[str]:
    """What a clip has in the first table."""
    rates = np.array([point.kbps for point in points])
    steps = 100 * (rates[1:] / rates[:-1] - 1)
    spread = ", ".join(f"{value:+.0f} %" for value in (steps.min(), np.median(steps), steps.max()))
    fallen = (" ".join(f"{quality:g}" for quality in falls(points, name)) or "-" for name in ("kbps", "psnr_y"))
    return [clip, str(points[0]), str(points[-1]), *fallen, spread]


def scaled(frames: Sequence[Frame], video: VideoFormat, height: int) -> tuple[list[Frame], VideoFormat]:
    """A clip at another height, of the same shape and even width."""
    width = 2 * round(video.width * height / video.height / 2)
    return rescale(frames, width, height), replace(video, width=width, height=height)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIPS", help="videos, or folders of them")
    parser.add_argument("--step", type=float, default=5, help="from quality to quality (5)")
    parser.add_argument("--frames", type=int, default=33, help="frames of each clip (33)")
    parser.add_argument("--side", type=int, help="height that frames are scaled to first, to be quick")
    parser.add_argument("--preset", choices=PRESETS, default="medium")
    parser.add_argument("--structure", choices=STRUCTURES, default=STRUCTURES[0])
    parser.add_argument("--model", help="name or path (the default model)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file for the tables, beside printing them")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all clips and print the tables."""
    options = parse_arguments(arguments)
    torch.set_num_threads(options.threads)
    model = load_model(options.model)
    paths = [clip for place in options.clips for clip in (find_clips(place) if place.is_dir() else [place])]
    qualities = [*np.arange(0, 100, options.step).tolist(), 100.0]
    curves: dict[str, list[Point]] = {}
    for path in paths:
        frames, video = read_clip(path, options.frames)
        if options.side:
            frames, video = scaled(frames, video, options.side)
        points = curves[path.stem] = []
        for quality in qualities:
            settings = EncoderSettings(quality=quality, preset=options.preset, structure=options.structure)
            coded = round_trip(model, frames, video, settings)
            points.append(Point(quality, coded.kbps, coded.psnr_y))
            print(f"{path.stem} quality {quality:g}: {points[-1]}", flush=True)
    side = f" scaled to {options.side} lines" if options.side else ""
    scope = f"{options.frames} frames{side}, preset {options.preset}, {options.structure}"
    every = [[f"{quality:g}", *map(str, row)] for quality, *row in zip(qualities, *curves.values(), strict=True)]
    text = "\n".join(
        [
            f"Model {model.model_id.hex()}; {scope}; {describe_environment()}. Rates are of the payloads alone.\n",
            markdown_table(HEAD, [row(*curve) for curve in curves.items()]),
            "\nEvery quality, kbps / PSNR-Y in dB:\n",
            markdown_table(("quality", *curves), every),
        ]
    )
    print(f"\n{text}")
    if options.out:
        with write_beside(options.out) as file:
            file.write(f"{text}\n".encode())


if __name__ == "__main__":
    main()
