"""The page's decoder is tested with the conformance streams, and with what replays them."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "bitstreams")]
