"""The call over UDP, on this machine, with losses."""

import re
import subprocess
import sys
from pathlib import Path

import av
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "udp_call.py"


def call(*arguments: object) -> str:
    line = [sys.executable, SCRIPT, *arguments]
    run = subprocess.run([str(part) for part in line], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("loss", [0, 25])
def test_a_call_is_held_whatever_gets_lost(tmp_path: Path, loss: int) -> None:
    """Every frame is shown in its place, but for some at the end whose loss nobody can tell."""
    target = tmp_path / "call.y4m"
    told = call(
        "--height", 64, "--seconds", 0.6, "--jitter", 500, "--loss", loss, "--reorder", 20, "--seed", 3, "--out", target
    )
    sent, lost, shown, concealed = map(
        int, re.findall(r"(\d+) (?:frames sent|of \d+ datagrams|frames shown|of them)", told)
    )
    assert sent == 15 and (lost > 0) == (loss > 0)
    with av.open(str(target)) as video:
        assert sum(1 for _ in video.decode(video=0)) == shown
    if loss:
        assert 0 < concealed < shown <= sent
    else:
        assert (shown, concealed) == (sent, 0)
    latency, psnr = re.search(r"latency (\d+) ms.*PSNR-Y ([\d.]+) dB", told).groups()
    assert int(latency) > 0 and float(psnr) > 18


@pytest.mark.parametrize("wrong", [("--seconds", "nan"), ("--loss", "500"), ("--height", "63"), ("none.mp4",)])
def test_what_cannot_be_called_is_said_in_a_line(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    line = [sys.executable, str(SCRIPT), *wrong, "--out", str(tmp_path / "call.y4m")]
    run = subprocess.run(line, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert run.returncode and "Traceback" not in run.stderr and wrong[0] in run.stderr
