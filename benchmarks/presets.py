"""What presets, their refinements and the decisions on structure are worth: BD-rate, warping error, seconds a frame.

    python benchmarks/presets.py CLIPS --clips 3 --frames 65 --out benchmarks/results/presets.md

Three tables, each against preset medium: presets and FRESCO's terms on every clip by itself; where key frames stand, on
the clips joined by cuts, and joined by dissolves. Encodes and decodes in memory; a row is printed when it is there.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import bjontegaard
import numpy as np
import torch

from imfcodec.bitstream.packet import PacketKind
from imfcodec.codec.effort import PRESETS, Effort
from imfcodec.codec.settings import EncoderSettings
from imfcodec.evaluation.flicker import WarpingMeter
from imfcodec.evaluation.round_trip import round_trip
from imfcodec.evaluation.sweep import describe_environment, find_clips, read_clip
from imfcodec.files import write_beside
from imfcodec.frames import Frame, VideoFormat
from imfcodec.zoo import LoadedModel, load_model

FADE = 8  # frames of a dissolve

Video = tuple[list[Frame], VideoFormat]


@dataclass(frozen=True)
class Variant:
    """A row: settings, and the effort if it is not that of a preset."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    effort: Effort | None = None


MEDIUM, SLOW = PRESETS["medium"], PRESETS["slow"]
BASE = Variant("medium")
EFFORTS = (
    BASE,
    Variant("fast", {"preset": "fast"}),
    Variant("slow", {"preset": "slow"}),
    Variant("slow, tokens alone", effort=replace(SLOW, latent_steps=0)),
    Variant("slow, y alone", effort=replace(SLOW, token_steps=0)),
    Variant("slow, spatial 1", {"preset": "slow", "spatial": 1.0}),
    Variant("slow, temporal 20", {"preset": "slow", "temporal": 20.0}),
    Variant("placebo", {"preset": "placebo"}),
)
STRUCTURES = (
    BASE,
    Variant("no scene cuts", {"scene_cuts": False}),
    Variant("no trials of key frames", effort=replace(MEDIUM, key_trials=False)),
    Variant("neither", {"scene_cuts": False}, replace(MEDIUM, key_trials=False)),
)


class Point(NamedTuple):
    """One clip coded once.

    Attributes:
        kbps: of the payloads.
        psnr_y: mean of the frames, dB.
        warping_error: 8-bit levels, see `evaluation.flicker`.
        seconds: processor time of encoding, a frame.
        keys: key frames.
    """

    kbps: float
    psnr_y: float
    warping_error: float
    seconds: float
    keys: int


def measure(model: LoadedModel, video: Video, variant: Variant, quality: float) -> Point:
    """Encode, decode and compare."""
    frames, shape = video
    settings = EncoderSettings(quality=quality, **variant.settings)
    coded = round_trip(model, frames, shape, settings, effort=variant.effort)
    meter = WarpingMeter()
    errors = [meter.measure(a.y, b.y) for a, b in zip(frames, coded.decoded, strict=True)]
    warping = float(np.mean([error[0] for error in errors if error is not None]))
    keys = sum(packet.kind is PacketKind.KEY for packet in coded.packets)
    return Point(coded.kbps, coded.psnr_y, warping, coded.encode_seconds / len(frames), keys)


def bd_rate(base: Sequence[Point], points: Sequence[Point]) -> float | None:
    """Mean change of rate at equal PSNR-Y, percent; None where the curves do not overlap."""
    low = max(min(p.psnr_y for p in curve) for curve in (base, points))
    high = min(max(p.psnr_y for p in curve) for curve in (base, points))
    if low >= high:
        return None
    axes = [[getattr(p, name) for p in sorted(curve)] for curve in (base, points) for name in ("kbps", "psnr_y")]
    return float(bjontegaard.bd_rate(*axes, method="pchip", require_matching_points=False, min_overlap=0))


def joined(videos: Sequence[Video], fade: int) -> Video:
    """Clips one after the other, those of another size left out; `fade` frames of each dissolve into the next one."""
    frames, shape = videos[0][0], videos[0][1]
    for others, other in videos[1:]:
        if (other.width, other.height) == (shape.width, shape.height):
            start = len(frames) - fade
            mixed = (_mix(frames[start + i], others[i], (i + 1) / (fade + 1)) for i in range(fade))
            frames = [*frames[:start], *mixed, *others[fade:]]
    return [replace(frame, pts=i) for i, frame in enumerate(frames)], shape


def _mix(first: Frame, second: Frame, share: float) -> Frame:
    pairs = ((first.y, second.y), (first.u, second.u), (first.v, second.v))
    return Frame(*((a + share * (b.astype(float) - a)).round().astype(np.uint8) for a, b in pairs), 0)


def rows(
    model: LoadedModel, videos: Sequence[Video], variants: Sequence[Variant], qualities: Sequence[float]
) -> Iterator[str]:
    """The rows of a Markdown table, as they are measured."""
    yield "| variant | BD-rate, PSNR-Y | kbps | PSNR-Y, dB | warping error | key frames | seconds a frame |"
    yield "|---|---|---|---|---|---|---|"
    base: list[list[Point]] = []
    for variant in variants:
        curves = [[measure(model, video, variant, quality) for quality in qualities] for video in videos]
        base = base or curves
        changes = [bd_rate(*pair) for pair in zip(base, curves, strict=True)]
        known = [change for change in changes if change is not None]
        change = "-" if variant is BASE or not known else f"{np.mean(known):+.1f} %"
        mean = Point(*np.mean([point for curve in curves for point in curve], axis=0).tolist())
        yield (
            f"| {variant.name} | {change} | {mean.kbps:.2f} | {mean.psnr_y:.2f} | {mean.warping_error:.3f} "
            f"| {mean.keys:.1f} | {mean.seconds:.2f} |"
        )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="CLIPS", help="folder of videos")
    parser.add_argument("--clips", type=int, default=3, help="how many of them, evenly spread (3)")
    parser.add_argument("--frames", type=int, default=65, help="frames of each clip (65)")
    parser.add_argument("--quality", type=float, nargs="+", default=[10, 25, 40, 60], help="(10 25 40 60)")
    parser.add_argument("--tables", nargs="+", choices=["effort", "cuts", "dissolves"], help="(all)")
    parser.add_argument("--only", nargs="+", help="names of variants beside medium (all)")
    parser.add_argument("--crop", type=int, help="side of the middle of the frames that is coded (all)")
    parser.add_argument("--model", help="name or path (the default model)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file for the tables, beside printing them")
    return parser.parse_args(arguments)


def cropped(video: Video, side: int) -> Video:
    """The middle of a video."""
    frames, shape = video
    top, left = (shape.height - side) // 4 * 2, (shape.width - side) // 4 * 2
    inside = slice(top, top + side), slice(left, left + side)
    half = slice(top // 2, (top + side) // 2), slice(left // 2, (left + side) // 2)
    parts = [Frame(*map(np.ascontiguousarray, (f.y[inside], f.u[half], f.v[half])), f.pts) for f in frames]
    return parts, replace(shape, width=side, height=side)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all tables and print them."""
    options = parse_arguments(arguments)
    torch.set_num_threads(options.threads)
    model, paths = load_model(options.model), find_clips(options.source)
    count = min(options.clips, len(paths))
    videos = [read_clip(paths[i * len(paths) // count], options.frames) for i in range(count)]
    if options.crop:
        videos = [cropped(video, options.crop) for video in videos]
    tables = {
        "effort": ("Effort, each clip by itself", videos, EFFORTS),
        "cuts": ("Structure, clips joined by cuts", [joined(videos, 0)], STRUCTURES),
        "dissolves": (f"Structure, clips joined by dissolves of {FADE} frames", [joined(videos, FADE)], STRUCTURES),
    }
    side = f", middle {options.crop}x{options.crop}" if options.crop else ""
    qualities = " ".join(f"{quality:g}" for quality in options.quality)
    scope = f"{count} clips of {options.source.name}{side}, {options.frames} frames, qualities {qualities}"
    lines = [
        f"Model {model.model_id.hex()}; {scope}; {describe_environment()}. Means over clips and qualities, payloads "
        f"alone; seconds are processor time on {options.threads} thread(s)."
    ]
    print(lines[0], flush=True)
    for name in options.tables or tables:
        title, material, variants = tables[name]
        chosen = [v for v in variants if v is BASE or not options.only or v.name in options.only]
        lines += ["", f"### {title}", ""]
        print(*lines[-3:], sep="\n")
        for row in rows(model, material, chosen, options.quality):
            print(row, flush=True)
            lines.append(row)
    if options.out:
        with write_beside(options.out) as file:
            file.write("\n".join([*lines, ""]).encode())


if __name__ == "__main__":
    main()
