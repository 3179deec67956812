"""The benchmark of kills finds nothing in a few of them."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_few_kills(fresh_process):
    result = fresh_process(ROOT / "benchmarks" / "faults.py", "--kills", 4, "--disks", 0)
    assert result.returncode == 0, result.stdout
    assert result.stdout.endswith(b"seed 0: 4 kills, 0 full disks, 0 faults\n")
