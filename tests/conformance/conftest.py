"""What the conformance tests share: the streams' folder and maker, and the second reader."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / "bitstream"), str(TESTS.parent / "bitstreams")]
