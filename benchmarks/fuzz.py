"""Fuzz the reading of streams with atheris (`pip install 'imfcodec[fuzz]'`), guided by what of the reader has run.

    python -m benchmarks.fuzz CORPUS [libFuzzer's options, e.g. -max_total_time=1800 -seed=1]

CORPUS is a folder outside the repository; it starts with the streams of `benchmarks.hostile` and grows. Every input is
verified and decoded with concealment by a tiny model. Anything but an `ImfError` is a find, as are more than 5 s of
processor time and more than 4 GiB: libFuzzer writes the input that did it to the current folder and ends with an exit
code that is not 0.
"""

import functools
import io
import random
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["imfcodec.bitstream", "imfcodec.entropy", "imfcodec.codec", "imfcodec.api"]):
    from benchmarks.hostile import LIMITS, at_most, make_streams, verify, write_tiny_model
    from imfcodec import api, zoo
    from imfcodec.errors import ImfError
    from imfcodec.evaluation.mutations import mutate

SECONDS = 5
OPTIONS = ["-timeout=300", "-report_slow_units=300", "-rss_limit_mb=4096", "-max_len=4096"]


def mutate_stream(data: bytes, most_bytes: int, seed: int) -> bytes:
    """What libFuzzer tries next: half of it with the checksums made anew, which no search by coverage would find."""
    dice = random.Random(seed)
    if dice.random() < 0.5:
        return mutate(data, dice, valid=True)[:most_bytes]
    changed: bytes = atheris.Mutate(data, most_bytes)
    return changed


def conceal(data: bytes, model: Path) -> None:
    """Decode past all faults; time must not run backwards."""
    frames = api.decode_frames(io.BytesIO(data), model=str(model), conceal=True, limits=LIMITS)
    stamps = [frame.pts for frame in frames]
    assert stamps == sorted(set(stamps)), "time stamps do not rise"


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    zoo.load_model = functools.cache(zoo.load_model)  # the model is no part of the question
    model = Path(tempfile.mkdtemp()) / "tiny.safetensors"
    write_tiny_model(model)
    for number, stream in enumerate(make_streams(model)):
        (corpus / f"stream-{number}").write_bytes(stream)

    def read(data: bytes) -> None:
        for way in (verify, conceal):
            with suppress(ImfError), at_most(SECONDS):
                way(data, model)

    atheris.Setup([sys.argv[0], *OPTIONS, *sys.argv[1:]], read, custom_mutator=mutate_stream)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
