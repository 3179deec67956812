"""What targets come to: clips with their sound, encoded to rates, sizes and qualities: what was asked and what came.

    python benchmarks/targets.py CLIPS --bitrate 16000 --target-psnr 31 --side 128 --out benchmarks/results/targets.md

CLIPS are videos. Each target is an encode with the encoder's own order of frames, as a user gets it. Bytes are those of
the whole stream; likeness is measured on what a decoder makes of it. Prints a Markdown table.
"""

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from imfcodec import api
from imfcodec.api.footage import open_footage
from imfcodec.codec.effort import PRESETS
from imfcodec.codec.targets import KINDS, Target
from imfcodec.evaluation.environment import describe_environment
from imfcodec.evaluation.summary import markdown_table
from imfcodec.files import write_beside
from imfcodec.limits import DEFAULT_LIMITS
from imfcodec.video.editing import Edits
from imfcodec.video.likeness import LikenessMeter

ALLOWED = {"bitrate": 0.03, "size": 0.03, "psnr": 0.2, "ssim": 0.005, "xpsnr": 0.2, "vmaf": 0.6}
"""How far off a target may be: a share of rates and sizes, else in its unit."""
HEAD = ("clip", "asked", "got", "off by", "within", "passes", "seconds", "said")


def field_of(target: str) -> str:
    """Name of a target among `api.EncodeOptions`, and here."""
    return KINDS[target].option.lstrip("-").replace("-", "_")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIPS")
    for kind in KINDS.values():
        parser.add_argument(kind.option, type=float, nargs="+", default=[], help=f"as of `encode`, {kind.unit}")
    parser.add_argument("--preset", choices=PRESETS, default="medium")
    parser.add_argument("--audio", default="opus:8k", help="as of `encode` (opus:8k)")
    parser.add_argument("--side", type=int, help="height that frames are scaled to first, to be quick")
    parser.add_argument("--model", help="name or path (the default model)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file for the table, beside printing it")
    return parser.parse_args(arguments)


def reached(target: Target, clip: Path, stream: bytes, options: api.EncodeOptions, model: api.Model) -> float:
    """What a stream comes to, in the unit of the target."""
    if target.name == "size":
        return len(stream)
    if target.name == "bitrate":
        return 8 * len(stream) / api.probe(io.BytesIO(stream)).duration_seconds
    with open_footage(clip, options, DEFAULT_LIMITS) as (_, footage):
        meter = LikenessMeter(target.name, footage.format)
        for pair in zip(footage.frames(), api.decode_frames(io.BytesIO(stream), model=model), strict=True):
            meter.add(*pair)
    return meter.mean()


def measure(target: Target, clip: Path, options: api.EncodeOptions, model: api.Model) -> list[str]:
    """Encode a clip to a target: a row of the table."""
    stream, said = io.BytesIO(), list[str]()
    start = time.monotonic()
    stats = api.Encoder(options, model=model, say=said.append).encode(clip, stream)
    seconds = time.monotonic() - start
    got = reached(target, clip, stream.getvalue(), options, model)
    off = got / target.value - 1 if target.kind.is_rate else got - target.value
    words = f"{off:+.1%}" if target.kind.is_rate else f"{off:+.3f}"
    within = "yes" if abs(off) <= ALLOWED[target.name] else "no"
    asked, came = target.describe(target.value), target.describe(got)
    return [clip.stem, asked, came, words, within, str(stats.passes), f"{seconds:.0f}", "; ".join(said) or "-"]


def rows(options: argparse.Namespace) -> Iterator[list[str]]:
    """Every clip with every target."""
    model = api.Model(options.model, threads=options.threads)
    edits = Edits(scale=(-2, options.side)) if options.side else Edits()
    base = api.EncodeOptions(preset=options.preset, audio=options.audio, edits=edits)
    for clip in options.clips:
        for name in KINDS:
            for value in getattr(options, field_of(name)):
                yield measure(Target(name, value), clip, replace(base, **{field_of(name): value}), model)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all, and print the table."""
    options = parse_arguments(arguments)
    table = []
    for row in rows(options):
        table.append(row)
        print(*row, flush=True)
    side = f", scaled to {options.side} lines" if options.side else ""
    scope = f"preset {options.preset}{side}, sound {options.audio}"
    name = api.Model(options.model).model_id.hex()
    text = f"Model {name}; {scope}; {describe_environment()}.\n\n{markdown_table(HEAD, table)}\n"
    print(f"\n{text}", end="")
    if options.out:
        with write_beside(options.out) as file:
            file.write(text.encode())


if __name__ == "__main__":
    main()
