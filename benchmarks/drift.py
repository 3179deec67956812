"""How far decodes in float32 and bfloat16 drift apart with nothing but one key frame at the start.

    python benchmarks/drift.py [--marks 100 1000 5000] [--side 64] [--quality 30] [--clip VIDEO] [--key-interval N]

A talking face drawn by code, or a video played to and fro, is coded in float32 and decoded in both precisions at once.
At each mark, a number of frames, it prints of the last 50: the mean and the largest difference of luma in levels, the
PSNR-Y of both decodes against the source, and the key frames so far. Prints a table in Markdown at the end.
"""

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import PacketKind, VideoPacket
from imfcodec.codec.decoder import Decoder
from imfcodec.codec.encoder import Encoder
from imfcodec.codec.settings import STRUCTURES, EncoderSettings
from imfcodec.evaluation.quality import psnr
from imfcodec.evaluation.summary import markdown_table
from imfcodec.evaluation.sweep import read_clip
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame, VideoFormat
from imfcodec.zoo import load_model

WINDOW = 50  # frames before a mark that its figures are taken of
LONGEST_CLIP = 250  # frames of a video that are played to and fro
DECODE_DTYPES = ("float32", "bfloat16")
HEAD = ("structure", "frames", "mean difference", "largest", "float32, dB", "bfloat16, dB", "key frames")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--marks", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--side", type=int, default=64, help="of the drawn picture (64)")
    parser.add_argument("--quality", type=float, default=30)
    parser.add_argument("--clip", type=Path, help="a video instead of the drawn face")
    parser.add_argument("--key-interval", type=int, help="frames from key to key [default: scene cuts only]")
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    return parser.parse_args(arguments)


def source(options: argparse.Namespace) -> tuple[Iterator[Frame], VideoFormat]:
    """The frames to code, as many as the last mark says."""
    count = max(options.marks)
    if options.clip is None:
        video = talking_face_format(options.side, options.side, Fraction(25))
        return talking_face(video, count), video
    frames, video = read_clip(options.clip, LONGEST_CLIP)
    to_and_fro = itertools.cycle([*frames, *frames[-2:0:-1]])
    return (replace(frame, pts=pts) for pts, frame in enumerate(itertools.islice(to_and_fro, count))), video


def measure(structure: str, options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """A row for each mark."""
    models = [load_model(dtype=dtype) for dtype in DECODE_DTYPES]
    frames, video = source(options)
    originals, coded = itertools.tee(frames)
    keys = 0

    def packets() -> Iterator[VideoPacket]:
        nonlocal keys
        settings = EncoderSettings(options.quality, structure, key_interval=options.key_interval)
        for packet in Encoder(models[0], settings).encode(coded):
            keys += packet.kind is PacketKind.KEY
            yield packet

    header = StreamHeader(video, models[0].model_id, variable_rate=True)
    shares: Iterable[Iterator[VideoPacket]] = itertools.tee(packets(), len(models))
    decodes = [Decoder(m, header).decode(share) for m, share in zip(models, shares, strict=True)]
    window: list[tuple[float, ...]] = []
    for number, (original, exact, rough) in enumerate(zip(originals, *decodes, strict=True), start=1):
        apart = np.abs(exact.y.astype(np.int16) - rough.y)
        figures = (float(apart.mean()), float(apart.max()), psnr(original.y, exact.y), psnr(original.y, rough.y))
        window = [*window[1 - WINDOW :], figures]
        if number in options.marks:
            mean, _, exact_db, rough_db = np.mean(window, axis=0)
            largest = max(largest for _, largest, *_ in window)
            yield (
                structure,
                str(number),
                f"{mean:.3f}",
                f"{largest:.0f}",
                f"{exact_db:.2f}",
                f"{rough_db:.2f}",
                str(keys),
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the structures and print the table."""
    options = parse_arguments(arguments)
    torch.set_num_threads(1)
    rows = []
    for structure in options.structures:
        for row in measure(structure, options):
            rows.append(row)
            print(*row, flush=True)
    name = options.clip.stem if options.clip else f"face drawn by code, {options.side}x{options.side}"
    print(f"\nmodel {load_model().model_id.hex()}, {name}, quality {options.quality:g}\n")
    print(markdown_table(HEAD, rows))


if __name__ == "__main__":
    main()
