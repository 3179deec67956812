"""Where results come from: versions, commit and machine in one line."""

import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from imfcodec import __version__

LIBRARIES = ("torch", "numpy", "av", "compressai", "constriction", "pytorch-msssim")


def describe_environment() -> str:
    """Versions, commit and processor in one line; names neither the machine nor its folders."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    own, commit, machine = describe_origin()
    return f"imfcodec {own} commit {commit}; {libraries}; Python {platform.python_version()}; {machine}"


def describe_origin() -> tuple[str, str, str]:
    """Version, commit, and kind of machine."""
    machine = f"{platform.system()} {platform.machine()}, {_processor()}, {os.cpu_count()} CPUs"
    return __version__, _commit(), machine


def _commit() -> str:
    package = Path(__file__).parent.parent
    git = ["git", "-C", str(package)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + (" with changes" if changes.stdout else "")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names: Iterator[str] = (line for line in cpuinfo.read_text().splitlines() if line.startswith("model name"))
        return next(names, "processor : unknown").split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"
