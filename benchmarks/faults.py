"""Kill encodes and decodes at random moments, and run them on disks that fill up: is anything half-written or left?

python benchmarks/faults.py [--kills 100] [--disks 30] [--seed 0]

Targets are streams, .mp4, .mkv, .y4m and folders of pictures, some of them there before. After each kill the target
must be the old one or the new one, whole, and after the next run to it nothing else may lie in the folder. Full disks
need root (a small tmpfs is mounted). Ends with one line, and exit code 1 where something was found.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import torch

from imfcodec import api
from imfcodec.errors import ImfError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.writer import open_writer

FRAMES = 24
TARGETS = ("x.imf", "x.mp4", "x.mkv", "x.y4m", "x/")
DISK_KIB = (4, 8, 16, 64, 256)

Job = Callable[[Path], object]


def make_inputs(folder: Path) -> Job:
    """Draw a clip and encode it; returns what writes a target from them."""
    clip, stream, video = folder / "clip.y4m", folder / "clip.imf", talking_face_format(64, 64, Fraction(25))
    with open_writer(clip, video) as writer:
        for frame in talking_face(video, FRAMES):
            writer.write(frame)
    api.encode(clip, stream, device="cpu")

    def write(target: Path) -> None:
        name = str(target) + ("/" if not target.suffix else "")
        if target.suffix == ".imf":
            api.encode(clip, target, device="cpu", overwrite=True)
        else:
            api.decode(stream, name, device="cpu", overwrite=True)

    return write


def contents(target: Path) -> dict[str, bytes | int]:
    """Every file of a target; of Matroska, which numbers its tracks at random, the size."""
    files = sorted(target.iterdir()) if target.is_dir() else [target] if target.exists() else []
    return {file.name: file.stat().st_size if file.suffix == ".mkv" else file.read_bytes() for file in files}


def kill_once(write: Job, target: Path, seconds: float) -> None:
    """Write a target in a process of its own, and kill it after so many seconds."""
    child = os.fork()
    if child == 0:
        write(target)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def try_kills(write: Job, count: int, dice: random.Random) -> list[str]:
    """Kill `count` runs; returns what was found wrong."""
    found = []
    for index in range(count):
        with tempfile.TemporaryDirectory() as name:
            folder, target = Path(name), Path(name) / dice.choice(TARGETS)
            start = time.monotonic()
            write(target)
            seconds, whole = time.monotonic() - start, contents(target)
            if dice.random() < 0.5:
                shutil.rmtree(target) if target.is_dir() else target.unlink()
            before = contents(target)
            kill_once(write, target, dice.uniform(0, 1.2 * seconds))
            if contents(target) not in (before, whole):
                found.append(f"kill {index}: {target.name} is half-written")
            write(target)
            if contents(target) != whole or os.listdir(folder) != [target.name]:
                found.append(f"kill {index}: {sorted(os.listdir(folder))} lie beside {target.name}")
    return found


def try_full_disks(write: Job, count: int, dice: random.Random) -> list[str]:
    """Write onto `count` small disks; returns what was found wrong."""
    found = []
    for index in range(count):
        with tempfile.TemporaryDirectory() as name:
            size = dice.choice(DISK_KIB)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", name], check=True)
            target = Path(name) / dice.choice(TARGETS)
            try:
                write(target)
            except ImfError as error:
                if os.listdir(name) or target.name not in str(error) or ".part" in str(error):
                    found.append(f"disk {index}: {error}; {os.listdir(name)} left")
            finally:
                subprocess.run(["umount", "-l", name], check=True)
    return found


def main() -> int:
    """Try both; 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--disks", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # children are forked
    dice = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        write = make_inputs(Path(folder))
        found = try_kills(write, arguments.kills, dice)
        disks = arguments.disks if os.geteuid() == 0 else 0
        found += try_full_disks(write, disks, dice)
    print(
        "\n".join([*found, f"seed {arguments.seed}: {arguments.kills} kills, {disks} full disks, {len(found)} faults"])
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
