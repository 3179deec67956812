"""Streams with faults, a third of them with valid checksums: is each a typed error or flagged concealment?

    python -m benchmarks.hostile [--files 10000] [--first 0] [--seed 0] [--seconds 5] [--mebibytes 256]

Small streams of both structures, of constant and variable rate and with sound are mutated (`evaluation.mutations`), and
each is verified, decoded strictly, and decoded with concealment into a video file, with a tiny model whose weights are
random. Anything but an `ImfError`, more processor time than `--seconds`, or more memory than `--mebibytes` beyond what
the process had before, is a fault. The file of a fault is named by its number; `--files 1 --first NUMBER` does it
again. Ends with one line, and exit code 1 where something was found.
"""

import argparse
import functools
import io
import random
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import FrameType

import torch

from imfcodec import api, zoo
from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.codec.encoder import Encoder
from imfcodec.codec.settings import STRUCTURES, EncoderSettings
from imfcodec.config import ModelConfig
from imfcodec.errors import ImfError
from imfcodec.evaluation.mutations import mutate
from imfcodec.evaluation.synthetic import talking_face
from imfcodec.frames import AudioPacket, AudioTrack, VideoFormat
from imfcodec.limits import BASE_BYTES, Limits
from imfcodec.training.export import export
from imfcodec.training.rollout import TrainedModel
from imfcodec.training.tables import SymbolCounts

TINY = ModelConfig(
    latent_channels=8,
    latent_blocks=1,
    reference_channels=8,
    reference_depth=1,
    hyper_channels=2,
    context_channels=8,
    context_depth=1,
    integer_channels=8,
    frame_channels=8,
    frame_depth=1,
    align_channels=(8, 8),
    align_heads=2,
    gate_channels=8,
    global_channels=4,
    token_channels=8,
)
SIDE, FRAMES = 64, 6
LIMITS = Limits(max_pixels=4 * SIDE * SIDE, max_frames=1000, max_memory=BASE_BYTES + (64 << 20))
VALID_SHARE = 3  # one in so many has valid checksums

Fault = str
Read = Callable[[bytes, Path], object]


class Hang(BaseException):
    """The time for one file is over; no `except Exception` catches it."""


def write_tiny_model(path: Path) -> None:
    """Write a model of some thousand random weights."""
    torch.manual_seed(1)
    model = TrainedModel(TINY)
    for parameter in model.network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    export(model.network, model.bottleneck, SymbolCounts(TINY.hyper_channels), path)


def make_streams(model: Path) -> list[bytes]:
    """Streams of a few hundred bytes: offline and low delay, constant and variable rate, with and without sound."""
    loaded, streams = zoo.load_model(str(model)), []
    for structure in STRUCTURES:
        for variable in (False, True):
            video = VideoFormat(SIDE, SIDE, Fraction(25), Fraction(1, 25))
            frames = [replace(f, pts=f.pts + (f.pts > 2 and variable)) for f in talking_face(video, FRAMES)]
            settings = EncoderSettings(quality=30, structure=structure, golden_interval=2, key_interval=4)
            track = AudioTrack("opus", 48000, 1, Fraction(1, 48000)) if variable else None
            sink = io.BytesIO()
            with StreamWriter(sink, StreamHeader(video, loaded.model_id, track, variable)) as writer:
                for packet in Encoder(loaded, settings).encode(iter(frames)):
                    writer.write_video(packet)
                    if track:
                        writer.write_audio([AudioPacket(960 * packet.pts[0], 960, bytes(range(7)))])
            streams.append(sink.getvalue())
    return streams


def verify(data: bytes, model: Path) -> object:
    """Read everything but the payloads."""
    return api.probe(io.BytesIO(data), limits=LIMITS)


def decode(data: bytes, model: Path) -> object:
    """Decode up to the first fault."""
    return [frame.pts for frame in api.decode_frames(io.BytesIO(data), model=str(model), limits=LIMITS)]


def conceal(data: bytes, model: Path) -> object:
    """Decode past all faults into a file, with the sound."""
    target = model.with_name("out.mkv")
    return api.decode(io.BytesIO(data), target, model=str(model), conceal=True, limits=LIMITS, overwrite=True)


READS: tuple[Read, ...] = (verify, decode, conceal)


def try_file(data: bytes, model: Path, seconds: float, mebibytes: int) -> tuple[list[Fault], str]:
    """Read one stream in each way: what is wrong, and how concealment went."""
    faults, outcome = [], "refused"
    for read in READS:
        reset_peak()
        before = peak_kib()
        try:
            with at_most(seconds):
                read(data, model)
            outcome = "decoded" if read is conceal else outcome
        except ImfError:
            pass
        except Hang:
            faults.append(f"{read.__name__} takes more than {seconds} s")
        except BaseException as error:  # what is no Exception counts too
            if isinstance(error, KeyboardInterrupt):
                raise
            faults.append(f"{read.__name__} raises {type(error).__name__}: {error}")
        if peak_kib() - before > mebibytes << 10:
            faults.append(f"{read.__name__} takes {peak_kib() - before >> 10} MiB")
    return faults, outcome


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `Hang` where what is inside takes more processor time."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def reset_peak() -> None:
    """Have the system count the peak of memory anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_kib() -> int:
    """Most memory held since `reset_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def main() -> int:
    """Try the files; 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file (0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5, help="of processor time each reading may take (5)")
    parser.add_argument("--mebibytes", type=int, default=256, help="more memory than that is a fault (256)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))
    zoo.load_model = functools.cache(zoo.load_model)  # the model is no part of the question
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "tiny.safetensors"
        write_tiny_model(model)
        found = try_files(make_streams(model), model, arguments)
    return 1 if found else 0


def try_files(streams: list[bytes], model: Path, options: argparse.Namespace) -> list[Fault]:
    """Try all files; prints faults as they come, and how it stands every thousand files and at the end."""
    found: list[Fault] = []
    outcomes: Counter[str] = Counter()
    for count in range(1, options.files + 1):
        number = options.first + count - 1
        dice, valid = random.Random(f"{options.seed}/{number}"), number % VALID_SHARE == 0
        data = mutate(dice.choice(streams), dice, valid=valid)
        faults, outcome = try_file(data, model, options.seconds, options.mebibytes)
        print("".join(f"file {number}: {fault}\n" for fault in faults), end="", flush=True)
        found += faults
        outcomes[outcome] += 1
        outcomes["valid"] += valid
        if count % 1000 == 0 or count == options.files:
            print(
                f"seed {options.seed}, files {options.first} to {number}: {outcomes['valid']} with valid checksums, "
                f"{outcomes['decoded']} decoded with concealment, {outcomes['refused']} refused, {len(found)} faults",
                flush=True,
            )
    return found


if __name__ == "__main__":
    sys.exit(main())
