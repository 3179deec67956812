"""PSNR-Y of streams of which a share of the packets is lost, beside what freezing the picture would give.

    python benchmarks/losses.py CLIPS [--clips 2] [--frames 100] [--quality 30] [--key-interval 48] [--seeds 3]
        [--resilience] [--missing]

Every video packet but the first is lost by itself with the given probability: its checksum is spoilt, as where a
transport keeps packets apart, or it is missing without a trace. Frozen: every concealed frame shows the last one that
is not. Prints a table in Markdown.
"""

import argparse
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from imfcodec.bitstream.container import StreamReader, StreamWriter, list_packets
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import VIDEO_KINDS, AudioBatch
from imfcodec.codec.decoder import Decoder
from imfcodec.codec.encoder import Encoder
from imfcodec.codec.settings import STRUCTURES, EncoderSettings
from imfcodec.evaluation.quality import psnr
from imfcodec.evaluation.summary import markdown_table
from imfcodec.evaluation.sweep import find_clips, read_clip
from imfcodec.frames import Frame, VideoFormat
from imfcodec.zoo import LoadedModel, load_model

LOSSES = (0, 1, 5, 10, 20)  # percent of the packets


class Outcome(NamedTuple):
    """Of one decode: mean PSNR-Y concealed and frozen in dB, and the share of frames that are concealed, 0..1."""

    concealed: float
    frozen: float
    share: float


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--clips", dest="count", type=int, default=2, help="clips, evenly taken from the folder (2)")
    parser.add_argument("--frames", type=int, default=100, help="frames of each clip (100)")
    parser.add_argument("--quality", type=float, default=30)
    parser.add_argument("--key-interval", type=int, default=48, help="frames from key to key (48)")
    parser.add_argument("--seeds", type=int, default=3, help="losses drawn so many times (3)")
    parser.add_argument("--resilience", action="store_true", help="a key frame in the place of every golden frame")
    parser.add_argument("--missing", action="store_true", help="cut packets out instead of spoiling them")
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=STRUCTURES)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def write_stream(
    model: LoadedModel, frames: Sequence[Frame], video: VideoFormat, structure: str, options: argparse.Namespace
) -> bytes:
    """The clip as a stream."""
    settings = EncoderSettings(
        options.quality, structure, key_interval=options.key_interval, resilience=options.resilience
    )
    sink = io.BytesIO()
    with StreamWriter(sink, StreamHeader(video, model.model_id, variable_rate=True)) as writer:
        for packet in Encoder(model, settings).encode(iter(frames)):
            writer.write_video(packet)
    return sink.getvalue()


def lose(stream: bytes, percent: float, dice: random.Random, *, missing: bool = False) -> bytes:
    """Spoil a share of the video packets, or cut them out, never the first."""
    damaged = bytearray(stream)
    video = [packet for packet in list_packets(io.BytesIO(stream)) if packet.kind in VIDEO_KINDS]
    lost = [packet for packet in video[1:] if dice.random() * 100 < percent]
    for packet in reversed(lost):
        if missing:
            del damaged[packet.offset : packet.offset + packet.size]
        else:
            damaged[packet.offset + packet.size - 1] ^= 0xFF
    return bytes(damaged)


def measure(model: LoadedModel, frames: Sequence[Frame], stream: bytes) -> Outcome:
    """Decode a damaged stream and compare it with what was coded."""
    reader = StreamReader(io.BytesIO(stream), conceal=True)
    packets = (item for item in reader if not isinstance(item, AudioBatch))
    decoded = list(Decoder(model, reader.header, conceal=True).decode(packets))
    frozen, shown = [], decoded[0]
    for frame in decoded:
        shown = shown if frame.concealed else frame
        frozen.append(shown)
    return Outcome(
        *(float(np.mean([psnr(a.y, b.y) for a, b in zip(frames, kind, strict=True)])) for kind in (decoded, frozen)),
        sum(frame.concealed for frame in decoded) / len(decoded),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both structures at every loss."""
    options = parse_arguments(arguments)
    torch.set_num_threads(options.threads)
    model = load_model(dtype="bfloat16")
    paths = find_clips(options.clips)
    count = min(options.count, len(paths))
    clips = [read_clip(paths[i * len(paths) // count], options.frames) for i in range(count)]
    rows = []
    for structure in options.structures:
        streams = [write_stream(model, *clip, structure, options) for clip in clips]
        seconds = [len(frames) / float(video.frame_rate) for frames, video in clips]
        print(structure, f"{np.mean([len(s) * 8e-3 / t for s, t in zip(streams, seconds, strict=True)]):.2f} kbps")
        for percent in LOSSES:
            outcomes = [
                measure(model, frames, lose(stream, percent, dice, missing=options.missing))
                for number, ((frames, _), stream) in enumerate(zip(clips, streams, strict=True))
                for seed in range(options.seeds if percent else 1)
                for dice in [random.Random(f"{structure} {number} {percent} {seed}")]
            ]
            concealed, frozen, share = np.mean(np.array(outcomes), axis=0)
            rows.append((structure, f"{percent} %", f"{concealed:.2f}", f"{frozen:.2f}", f"{share:.0%}"))
            print(*rows[-1], flush=True)
    names = ", ".join(paths[i * len(paths) // count].stem for i in range(count))
    print(f"\nmodel {model.model_id.hex()}, {names}, {options.frames} frames, quality {options.quality:g}, a key frame")
    chosen = "".join(f", --{name}" for name in ("resilience", "missing") if getattr(options, name))
    print(f"every {options.key_interval} frames, {options.seeds} seeds{chosen}\n")
    print(markdown_table(("structure", "packets lost", "concealed, dB", "frozen, dB", "frames concealed"), rows))


if __name__ == "__main__":
    main()
