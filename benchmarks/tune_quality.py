"""Search operating points: which key, golden and token qualities and which chunk length serve each rate best.

    python benchmarks/tune_quality.py CLIPS --clips 6 --frames 97 --golden 60 100 140 --key-offset 10 30

Encodes and decodes in memory, prints one line a point, best first at its rate, `*` on the envelope. The mapping in
`imfcodec.codec.encoder.operating_point` was chosen with it, on training clips.
"""

import argparse
import itertools
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from imfcodec.bitstream.header import StreamHeader
from imfcodec.codec.decoder import Decoder
from imfcodec.codec.encoder import Encoder, EncoderSettings, OperatingPoint
from imfcodec.evaluation.sweep import find_clips
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.reader import open_clip
from imfcodec.zoo import LoadedModel, load_model


class Result(NamedTuple):
    """Mean rate and quality of one operating point."""

    kbps: float
    psnr_y: float
    parts: str
    point: OperatingPoint


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--clips", dest="count", type=int, default=6, help="clips, evenly taken from the folder (6)")
    parser.add_argument("--frames", type=int, default=97, help="frames of each clip (97)")
    parser.add_argument("--golden", type=int, nargs="+", default=[60, 100, 140])
    parser.add_argument("--key-offset", type=int, nargs="+", default=[15])
    parser.add_argument("--token-offset", type=int, nargs="+", default=[-60])
    parser.add_argument("--interval", type=int, nargs="+", default=[16])
    parser.add_argument(
        "--split", type=float, nargs="+", default=[None], help="halve chunks from this ratio on (never)"
    )
    parser.add_argument("--refine", action="store_true", help="code y of token frames too")
    parser.add_argument("--model", help="name or path (the default model)")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def measure(model: LoadedModel, frames: list[Frame], video: VideoFormat, point: OperatingPoint) -> tuple[float, ...]:
    """Payload kbps in all, of key frames, and PSNR-Y of one clip."""
    packets = list(Encoder(model, EncoderSettings(), point).encode(iter(frames)))
    decoded = Decoder(model, StreamHeader(video, model.model_id)).decode(iter(packets))
    errors = [np.mean((a.y.astype(float) - b.y) ** 2) for a, b in zip(frames, decoded, strict=True)]
    kilobits = 8e-3 * float(video.frame_rate) / len(frames)
    total = sum(len(p.payload) for p in packets) * kilobits
    keys = sum(len(p.payload) for p in packets if p.kind.name == "KEY") * kilobits
    return total, keys, float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-9))))


def read_clip(path: Path, count: int) -> tuple[list[Frame], VideoFormat]:
    """The first frames of a clip."""
    with open_clip(path, audio=False) as clip:
        frames = list(itertools.islice(clip.frames(), count))
        video = clip.format
    base = 1 / Fraction(video.frame_rate)
    return frames, VideoFormat(video.width, video.height, video.frame_rate, base)


def main() -> None:
    """Measure all points and print them in order of rate."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model)
    paths = find_clips(arguments.clips)
    chosen = [paths[i * len(paths) // arguments.count] for i in range(arguments.count)]
    clips = [read_clip(path, arguments.frames) for path in chosen]
    results = []
    options = (arguments.golden, arguments.key_offset, arguments.token_offset, arguments.interval, arguments.split)
    for golden, key, token, interval, split in itertools.product(*options):
        limit = 255
        point = OperatingPoint(
            min(limit, golden + key), golden, max(0, golden + token), interval, arguments.refine, split
        )
        kbps, keys, psnr = np.mean([measure(model, *clip, point) for clip in clips], axis=0)
        results.append(Result(kbps, psnr, f"keys {keys:.2f}", point))
        print(f"{kbps:6.2f} kbps {psnr:6.2f} dB  keys {keys:.2f}  {point}", flush=True)
    print()
    best = 0.0
    for result in sorted(results):
        mark = "*" if result.psnr_y > best else " "
        best = max(best, result.psnr_y)
        print(f"{mark} {result.kbps:6.2f} kbps {result.psnr_y:6.2f} dB  {result.parts}  {result.point}")


if __name__ == "__main__":
    main()
