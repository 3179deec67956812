"""Search operating points: which quantiser indices of key, golden and token frames serve each rate best.

    python benchmarks/tune_quality.py CLIPS --clips 6 --frames 97 --golden 60 100 140 --key-offset 10 30

Encodes and decodes in memory, prints one line a point, best first at its rate, `*` on the envelope. The mapping in
`imfcodec.codec.encoder.operating_point` was chosen with it, on training clips.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from imfcodec.bitstream.packet import MAX_CHUNK_FRAMES, Quantisers
from imfcodec.codec.encoder import OperatingPoint
from imfcodec.codec.settings import STRUCTURES, EncoderSettings
from imfcodec.evaluation.round_trip import round_trip
from imfcodec.evaluation.sweep import find_clips
from imfcodec.frames import Frame, VideoFormat
from imfcodec.models.executor import Part
from imfcodec.models.structure import Step
from imfcodec.nn.quantize import QINDEX_LEVELS
from imfcodec.video.reader import open_clip
from imfcodec.zoo import LoadedModel, load_model

SHARES = ("key", "golden", "token")


class Result(NamedTuple):
    """Mean rate and quality of one operating point.

    Attributes:
        shares: kbps of key frames, of golden frames and of token frames; the rest is flags and ends.
    """

    kbps: float
    psnr_y: float
    shares: tuple[float, ...]
    point: OperatingPoint

    def __str__(self) -> str:
        shares = " ".join(f"{name} {kbps:.2f}" for name, kbps in zip(SHARES, self.shares, strict=True))
        quantisers = self.point.quantisers
        indices = f"{self.point.key}/{quantisers.golden}-{quantisers.deeper}/{quantisers.token}"
        chunks = f"{self.point.interval} frames{', split' if self.point.split else ''}"
        return f"{self.kbps:6.2f} kbps {self.psnr_y:6.2f} dB  {shares}  {indices}, {chunks}"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--clips", dest="count", type=int, default=6, help="clips, evenly taken from the folder (6)")
    parser.add_argument("--frames", type=int, default=97, help="frames of each clip (97)")
    parser.add_argument("--golden", type=int, nargs="+", default=[60, 100, 140], help="of golden frames at chunk ends")
    parser.add_argument("--key-offset", type=int, nargs="+", default=[30], help="of key frames, from golden")
    parser.add_argument("--deeper", type=int, nargs="+", default=[10], help="taken off with every halving")
    parser.add_argument("--token-offset", type=int, nargs="+", default=[-75], help="of token frames, from golden")
    parser.add_argument("--interval", type=int, nargs="+", default=[MAX_CHUNK_FRAMES], help="frames of a chunk")
    parser.add_argument("--no-split", action="store_true", help="no golden frames inside chunks")
    parser.add_argument("--structure", choices=STRUCTURES, default=STRUCTURES[0])
    parser.add_argument("--model", help="name or path (the default model)")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(arguments)


def grid(options: argparse.Namespace) -> Iterator[OperatingPoint]:
    """Every combination that differs once indices are held within range."""
    axes = (options.golden, options.key_offset, options.deeper, options.token_offset, options.interval)
    seen = set()
    for golden, key, deeper, token, interval in itertools.product(*axes):
        quantisers = Quantisers(golden=_index(golden), deeper=deeper, token=_index(golden + token))
        split = not options.no_split and options.structure == "offline"
        point = OperatingPoint(_index(golden + key), quantisers, interval, split)
        if point not in seen:
            seen.add(point)
            yield point


def _index(value: int) -> int:
    return min(QINDEX_LEVELS - 1, max(0, value))


def measure(
    model: LoadedModel, frames: list[Frame], video: VideoFormat, point: OperatingPoint, structure: str
) -> tuple[float, ...]:
    """Payload kbps in all and of `SHARES`, and PSNR-Y of one clip."""
    spent = dict.fromkeys(SHARES, 0.0)

    def observe(steps: Sequence[Step], _part: Part, bits: float) -> None:
        spent["key" if not steps else "golden" if steps[0].latent else "token"] += bits

    settings = EncoderSettings(structure=structure)
    coded = round_trip(model, frames, video, settings, point=point, observe=observe)
    kilo = 1e-3 * float(video.frame_rate) / len(frames)
    return coded.kbps, coded.psnr_y, *(spent[name] * kilo for name in SHARES)


def envelope(results: Sequence[Result]) -> list[tuple[Result, bool]]:
    """Results by rate, each with whether none of a lower rate is as good."""
    marked, best = [], 0.0
    for result in sorted(results, key=lambda result: (result.kbps, -result.psnr_y)):
        marked.append((result, result.psnr_y > best))
        best = max(best, result.psnr_y)
    return marked


def read_clip(path: Path, count: int) -> tuple[list[Frame], VideoFormat]:
    """The first frames of a clip."""
    with open_clip(path, audio=False) as clip:
        frames = list(itertools.islice(clip.frames(), count))
        video = clip.format
    base = 1 / Fraction(video.frame_rate)
    return frames, VideoFormat(video.width, video.height, video.frame_rate, base)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all points and print them in order of rate."""
    options = parse_arguments(arguments)
    torch.set_num_threads(options.threads)
    model = load_model(options.model)
    paths = find_clips(options.clips)
    count = min(options.count, len(paths))
    clips = [read_clip(paths[i * len(paths) // count], options.frames) for i in range(count)]
    results = []
    for point in grid(options):
        means = np.mean([measure(model, *clip, point, options.structure) for clip in clips], axis=0)
        kbps, psnr, *shares = means.tolist()
        results.append(Result(kbps, psnr, tuple(shares), point))
        print(results[-1], flush=True)
    print()
    for result, on_envelope in envelope(results):
        print("*" if on_envelope else " ", result)


if __name__ == "__main__":
    main()
