"""Makes the conformance streams again, byte for byte: `python bitstreams/make.py [FOLDER]`.

Streams and model follow from arithmetic on whole numbers and are the same on every machine. The manifest's hashes and
samples of pixels are those of this machine in float32; others may differ by a level (README.md).
"""

import hashlib
import json
import sys
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import torch  # noqa: E402
from maker import header_faults, packet_faults  # noqa: E402, F401 (they enter their streams)
from maker.catalogue import ENTRIES  # noqa: E402
from maker.changes import CHANGES, apply  # noqa: E402
from maker.model import make_model, make_tables  # noqa: E402
from maker.payload_faults import FORGERIES, forge  # noqa: E402
from maker.replay import describe, replay  # noqa: E402
from maker.studio import Studio  # noqa: E402

from imfcodec.zoo import LoadedModel, load_model  # noqa: E402

MODEL = "tiny.safetensors"
MANIFEST = "manifest.json"
TOLERANCE = {"float32": 1, "bfloat16": 6}  # levels by which a pixel may differ
GROUPS = ("valid", "uncommon", "faulty")


def make_streams(
    model: LoadedModel, wanted: Container[str] | None = None
) -> tuple[dict[str, bytes], dict[str, dict[str, Any]]]:
    """Streams, and what the manifest says of them beside what they decode to; both by name without suffix.

    Args:
        wanted: names of those of the catalogue that are made, None for all. What is made of others comes in any case.
    """
    streams: dict[str, bytes] = {}
    stated: dict[str, dict[str, Any]] = {}
    studio: Callable[..., Studio] = partial(Studio, model=model, rows=make_tables())
    bases = {change.base for change in CHANGES}
    for entry in ENTRIES:
        if wanted is None or entry.name in wanted or entry.name in bases:
            open_stream = studio(entry.name, **entry.settings)
            streams[entry.name] = open_stream.finish(entry.script(open_stream))
            stated[entry.name] = {"purpose": entry.purpose, "tolerance": TOLERANCE | entry.tolerance}
    for change in CHANGES:
        streams[change.name] = apply(change, streams)
        stated[change.name] = _stated(change.purpose, change.error, change.message, change.frames)
    for forgery in FORGERIES:
        name = f"faulty/{forgery.name}"
        streams[name], stated[name] = (
            forge(forgery, studio),
            _stated(forgery.purpose, "CorruptStreamError", forgery.message, 1),
        )
    return streams, stated


def _stated(purpose: str, error: str, message: str, frames: int | None) -> dict[str, Any]:
    if not message:
        return {"purpose": purpose, "tolerance": TOLERANCE}
    concealed = {} if frames is None else {"concealed_frames": frames}
    return {"purpose": purpose, "error": error, "message": message} | concealed


def make_manifest(model: LoadedModel, data: bytes) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Every stream by name, and the whole manifest; `data` are the bytes of the model's file."""
    streams, stated = make_streams(model)
    entries = {
        f"{name}.imf": stated[name]
        | {"sha256": hashlib.sha256(streams[name]).hexdigest()}
        | ({} if "error" in stated[name] else describe(replay(streams[name], model)))
        for name in sorted(streams)
    }
    return streams, {"model": {"file": MODEL, "sha256": hashlib.sha256(data).hexdigest()}, "streams": entries}


def main(folder: Path) -> None:
    """Write model, streams and manifest, and remove streams that are no longer made."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(data := make_model())
    streams, manifest = make_manifest(load_model(str(folder / MODEL)), data)
    for group in GROUPS:
        (folder / group).mkdir(exist_ok=True)
        for path in (folder / group).glob("*.imf"):
            path.unlink()
    for name, content in streams.items():
        (folder / f"{name}.imf").write_bytes(content)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in manifest["streams"].items())
    text = f'{{\n "model": {json.dumps(manifest["model"])},\n "streams": {{\n{lines}\n }}\n}}\n'
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    sizes = sum(map(len, streams.values()))
    print(f"{len(streams)} streams of {sizes} bytes in {folder}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
