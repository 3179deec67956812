"""Decoding with one thread and two, on an idle and on a busy machine, with threads that spin while they wait and not.

    python benchmarks/threads.py [--size 256] [--frames 33] [--busy 2]

Each case decodes a drawn clip in a process of its own, since the way of waiting is chosen before torch is loaded; busy
means that so many other processes compute all the while. Prints a table of frames per second in Markdown. Run it where
nothing else does.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from imfcodec import api
from imfcodec.evaluation.summary import markdown_table
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.writer import open_writer

THREADS, POLICIES = (1, 2), ("ACTIVE", "PASSIVE")
SECONDS = 600  # any case may take
DECODE = """
import sys, time
from imfcodec import api
path, threads = sys.argv[1], int(sys.argv[2])
list(api.decode_frames(path, threads=threads))
start, frames = time.monotonic(), sum(1 for _ in api.decode_frames(path, threads=threads))
print(frames / (time.monotonic() - start))
"""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of the picture (256)")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--busy", type=int, default=os.cpu_count(), help="processes that compute beside (all CPUs)")
    return parser.parse_args(arguments)


def make_stream(folder: Path, size: int, frames: int) -> Path:
    """Draw a clip and encode it."""
    clip, stream, video = folder / "clip.y4m", folder / "clip.imf", talking_face_format(size, size, Fraction(25))
    with open_writer(clip, video) as writer:
        for frame in talking_face(video, frames):
            writer.write(frame)
    api.encode(clip, stream, device="cpu", quality=20)
    return stream


def compute() -> None:
    """Keep a CPU busy until the process is ended."""
    while True:
        pass


@contextmanager
def others(count: int) -> Iterator[None]:
    """So many processes that compute."""
    processes = [multiprocessing.Process(target=compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join(10)


def decode(stream: Path, threads: int, policy: str) -> float:
    """Frames per second, start-up left out."""
    environment = {**os.environ, "OMP_WAIT_POLICY": policy, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-W", "ignore", "-c", DECODE, str(stream), str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=SECONDS)
    return float(done.stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    """Time all cases and print the table."""
    options, rows = parse_arguments(arguments), []
    with tempfile.TemporaryDirectory() as folder:
        stream = make_stream(Path(folder), options.size, options.frames)
        for threads in THREADS:
            for policy in POLICIES:
                idle = decode(stream, threads, policy)
                with others(options.busy):
                    busy = decode(stream, threads, policy)
                rows.append((str(threads), policy.lower(), f"{idle:.1f}", f"{busy:.1f}"))
    print(markdown_table(("threads", "wait", "idle, fps", f"{options.busy} busy processes beside, fps"), rows))


if __name__ == "__main__":
    main()
