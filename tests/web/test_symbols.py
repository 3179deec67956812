"""The page's payload decoder, run by Node.js: symbols, time stamps and refusals of the conformance streams."""

import io
import json
import subprocess
from pathlib import Path

import pytest
from maker.replay import hash_of_symbols, replay

from imfcodec import zoo
from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.codec.encoder import Encoder
from imfcodec.codec.settings import EncoderSettings

HERE = Path(__file__).parent
SITE = HERE.parents[1] / "imfcodec" / "web" / "site"
STREAMS = HERE.parents[1] / "bitstreams"
ENTRIES = json.loads((STREAMS / "manifest.json").read_text("utf-8"))["streams"]
TIMEOUT = 120


@pytest.fixture(scope="module")
def found(node):
    return read_symbols(node, STREAMS / "tiny.safetensors", [STREAMS / name for name in ENTRIES])


def read_symbols(node: str, model: Path, streams: list[Path]) -> dict[str, dict]:
    command = [node, str(HERE / "symbols.mjs"), str(SITE), str(model), *map(str, streams)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if "error" not in entry])
def test_symbols_and_time_stamps(name, found):
    entry = ENTRIES[name]
    wanted = {"packets": entry["packets"], "pts": [str(stamp) for stamp in entry["pts"]]}
    assert found[str(STREAMS / name)] == {**wanted, "lastDuration": str(entry["last_duration"])}


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if "error" in entry])
def test_faulty_streams_are_refused(name, found):
    assert found[str(STREAMS / name)]["fault"]


def test_symbols_with_the_weights_that_ship(node, face_format, face_frames, tmp_path):
    """An encoder's own symbols, with escapes and tables the tiny model does not reach."""
    model = zoo.load_model()
    sink = io.BytesIO()
    with StreamWriter(sink, StreamHeader(face_format, model.model_id)) as writer:
        for packet in Encoder(model, EncoderSettings(golden_interval=2)).encode(iter(face_frames[:4])):
            writer.write_video(packet)
    stream = tmp_path / "face.imf"
    stream.write_bytes(sink.getvalue())
    (weights,) = (info.path for info in zoo.available_models() if info.default)
    wanted = [hash_of_symbols(symbols) for symbols in replay(sink.getvalue(), model).symbols]
    assert read_symbols(node, weights, [stream])[str(stream)]["packets"] == wanted
