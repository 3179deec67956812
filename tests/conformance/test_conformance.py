"""The conformance streams of bitstreams/: what comes of each, by two decoders, and that mistakes would be noticed.

IMFCODEC_CONFORMANCE=full runs every stream in both precisions with one and with two threads.
"""

import hashlib
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from make import GROUPS, MANIFEST, MODEL, make_streams
from maker.model import CONFIG, make_model
from maker.replay import Replay, differences, hash_of_symbols, replay
from second_decoder import Model, decode
from second_reader import InvalidError

from imfcodec import api, zoo
from imfcodec.bitstream.container import StreamReader, StreamWriter, list_packets
from imfcodec.bitstream.header import COLOURS, FRAME_RATES, TIME_BASES, StreamHeader
from imfcodec.bitstream.packet import PacketKind
from imfcodec.codec.encoder import Encoder
from imfcodec.codec.settings import STRUCTURES, EncoderSettings
from imfcodec.errors import CorruptStreamError, ImfError
from imfcodec.frames import Frame
from imfcodec.models import alignment, executor, latent_prior, network, structure, token_prior
from imfcodec.models.coding import Condition, Role
from imfcodec.models.network import ImfNetwork
from imfcodec.zoo import LoadedModel, load_model

FOLDER = Path(__file__).parents[2] / "bitstreams"
STREAMS = json.loads((FOLDER / MANIFEST).read_text("utf-8"))["streams"]
GOOD = [name for name, entry in STREAMS.items() if "error" not in entry]
FAULTY = [name for name, entry in STREAMS.items() if "error" in entry]
FULL = os.environ.get("IMFCODEC_CONFORMANCE") == "full"
SOME = ["valid/own-quantisers.imf", "valid/splits-left.imf", "valid/low-delay.imf", "valid/size-129x66.imf"]


@pytest.fixture(scope="module")
def models(torch_device) -> dict[str, LoadedModel]:
    return {
        dtype: load_model(str(FOLDER / MODEL), dtype=dtype, device=torch_device) for dtype in ("float32", "bfloat16")
    }


@pytest.fixture(scope="module")
def second() -> Model:
    return Model((FOLDER / MODEL).read_bytes())


def content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def test_every_file_is_listed_and_every_listed_file_is_there_and_unchanged():
    files = {path.relative_to(FOLDER).as_posix() for group in GROUPS for path in (FOLDER / group).rglob("*")}
    assert files == set(STREAMS) and len(GOOD) > 70 and len(FAULTY) > 90
    assert [name for name in STREAMS if hashlib.sha256(content(name)).hexdigest() != STREAMS[name]["sha256"]] == []
    assert all(entry["purpose"] for entry in STREAMS.values())


def test_every_code_and_kind_of_packet_occurs():
    formats = [StreamReader(io.BytesIO(content(name))).header.format for name in GOOD]
    assert {video.frame_rate for video in formats} > set(FRAME_RATES)
    assert {video.time_base for video in formats} > set(TIME_BASES)
    assert {(x.primaries, x.transfer, x.matrix) for x in (video.colour for video in formats)} > set(COLOURS)
    assert {video.rotation for video in formats} == {0, 90, 180, 270}
    packets = {packet.kind for name in GOOD for packet in list_packets(io.BytesIO(content(name)))}
    assert packets == set(PacketKind)


@pytest.mark.parametrize("name", GOOD)
def test_symbols_times_and_pictures(name, models):
    assert differences(STREAMS[name], replay(content(name), models["float32"]), "float32") == []


@pytest.mark.parametrize("dtype, threads", [("float32", 2), ("bfloat16", 1), ("bfloat16", 2)])
@pytest.mark.parametrize("name", GOOD if FULL else SOME)
def test_every_precision_and_number_of_threads(name, dtype, threads, models):
    torch.set_num_threads(threads)
    assert differences(STREAMS[name], replay(content(name), models[dtype]), dtype) == []


@pytest.mark.parametrize("name", FAULTY)
def test_faulty_streams_are_refused_and_concealed(name, models, monkeypatch):
    entry = STREAMS[name]
    monkeypatch.setattr(zoo, "load_model", lambda *args, **options: models["float32"])
    with pytest.raises(ImfError, match=re.escape(entry["message"])) as caught:
        list(api.decode_frames(io.BytesIO(content(name)), model="tiny"))
    assert type(caught.value).__name__ == entry["error"]
    if "concealed_frames" in entry:
        frames = list(api.decode_frames(io.BytesIO(content(name)), model="tiny", conceal=True))
        assert len(frames) == entry["concealed_frames"]


@pytest.mark.parametrize("name", GOOD)
def test_a_decoder_written_from_the_specification_finds_the_same_symbols(name, second):
    stream, symbols = decode(content(name), second)
    found = [hash_of_symbols(packet) for packet in symbols]
    pts = [stamp for packet in stream.packets if packet[0] != "AUDIO" for stamp in packet[5]]
    entry = STREAMS[name]
    assert (found, pts, stream.last_duration) == (entry["packets"], entry["pts"], entry["last_duration"])


@pytest.mark.parametrize("name", FAULTY)
def test_a_decoder_written_from_the_specification_refuses_what_is_faulty(name, second):
    with pytest.raises(InvalidError):
        decode(content(name), second)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_it_finds_the_symbols_of_an_encoder_with_the_weights_that_ship_too(
    torch_device, structure, face_format, face_frames
):
    model = load_model(device=torch_device)
    settings = EncoderSettings(structure=structure, golden_interval=2)
    sink = io.BytesIO()
    with StreamWriter(sink, StreamHeader(face_format, model.model_id)) as writer:
        for packet in Encoder(model, settings).encode(iter(face_frames[:4])):
            writer.write_video(packet)
    (path,) = (info.path for info in zoo.available_models() if info.default)
    _, symbols = decode(sink.getvalue(), Model(path.read_bytes()))
    assert symbols == replay(sink.getvalue(), model).symbols
    assert sum(map(len, symbols)) > 10_000


def test_the_second_decoder_imports_nothing_of_ours():
    text = (Path(__file__).parent / "second_decoder.py").read_text("utf-8")
    assert re.findall(r"^(?:from|import) (\w+)", text, re.M) == [
        "hashlib",
        "json",
        "bisect",
        "typing",
        "numpy",
        "second_reader",
    ]


def test_the_script_makes_model_and_streams_byte_for_byte():
    """On the CPU, as they were made: another device may take other decisions."""
    assert make_model() == (FOLDER / MODEL).read_bytes()
    wanted = None if FULL else [name.removesuffix(".imf") for name in GOOD[::4]]
    streams, stated = make_streams(load_model(str(FOLDER / MODEL)), wanted)
    assert len(streams) == len(STREAMS) if FULL else len(streams) > len(STREAMS) * 2 // 3
    assert {name: data for name, data in streams.items() if data != content(f"{name}.imf")} == {}
    for name, fields in stated.items():
        assert fields.items() <= STREAMS[f"{name}.imf"].items()


def zeroed_near(blocks, features, near):
    return latent_prior.LatentContext(blocks, features, near * 0)


def without_role(self, height, width):
    role = torch.full_like(self.role, int(Role.KEY))
    return PLANES(Condition(role, self.qindex), height, width)


def finer(self, height, width):
    return PLANES(Condition(self.role, self.qindex ^ 2), height, width)


PLANES, MIDDLE, AFTER, PLACES_OF = Condition.planes, structure._middle, structure._after, token_prior._token_planes
QINDEX_OF, LEVELS, MAGNITUDE = executor.Qindices.of, structure.token_levels, latent_prior.magnitude

# What is replaced, with what, and a stream that must show it.
EDITS = {
    "a pass order": (latent_prior, "PLACES", ((0, 0), (0, 1), (1, 1), (1, 0)), "valid/key"),
    "a context: symbols of y": (latent_prior, "magnitude", lambda x, limit: MAGNITUDE(x, limit - 1), "valid/key"),
    "a context: symbols of references": (network, "LatentContext", zeroed_near, "valid/chunk-3-golden"),
    "a context: the role": (Condition, "planes", without_role, "valid/low-delay-golden"),
    "a context: the quantiser index": (Condition, "planes", finer, "valid/key"),
    "a context: rows and columns": (
        token_prior, "_token_planes", lambda *x: PLACES_OF(*x)[:, [0, 1, 3, 2, 4]], "valid/size-128x64"),
    "a neighbour between": (
        structure, "_middle", lambda a, b, *x: replace(MIDDLE(a, b, *x), neighbours=a), "valid/chunk-8"),
    "a neighbour in the past": (structure, "_after", lambda a, b, c: AFTER(a, b, 0), "valid/low-delay"),
    "a level": (structure, "interval_level", lambda x: min(7, x[1] - x[0]), "valid/chunk-8"),
    "a level of the past": (structure, "PAST_LEVEL", 2, "valid/tail"),
    "a span": (structure.Step, "span", property(lambda step: step.position), "valid/splits-right"),
    "an order of levels": (structure, "token_levels", lambda x: [level[::-1] for level in LEVELS(x)], "valid/chunk-8"),
    "what is taken off for depth": (
        executor.Qindices, "of", lambda self, step: QINDEX_OF(self, replace(step, depth=0)), "uncommon/deeper"),
    "a size of groups": (executor, "GROUP_PIXELS", 1 << 20, "uncommon/groups-of-two"),
    "what an anchor forgets": (executor.Executor, "advance", lambda self, known: known, "valid/chunks"),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_a_change_of_what_selects_tables_is_noticed(edit, models, monkeypatch):
    owner, name, value, stream = EDITS[edit]
    monkeypatch.setattr(owner, name, value)
    assert has_other_symbols(f"{stream}.imf", models["float32"])


PIXEL_EDITS = {
    "the place between references": (structure.Step, "place", property(lambda step: 0.5), "valid/chunk-4"),
    "what is sampled": (alignment, "move", lambda picture, field: picture, "valid/chunk-4"),
    "the quality of pictures": (network, "qindex_fraction", lambda qindex: qindex / 64, "valid/key"),
}


@pytest.mark.parametrize("edit", PIXEL_EDITS)
def test_a_change_of_pictures_is_noticed_though_symbols_stay(edit, models, monkeypatch):
    owner, name, value, stream = PIXEL_EDITS[edit]
    monkeypatch.setattr(owner, name, value)
    lines = differences(STREAMS[f"{stream}.imf"], replay(content(f"{stream}.imf"), models["float32"]), "float32")
    assert lines and all(line.startswith("frame ") for line in lines)


def has_other_symbols(name: str, model: LoadedModel) -> bool:
    try:
        lines = differences(STREAMS[name], replay(content(name), model), "float32")
    except CorruptStreamError:
        return True
    return any(line.startswith("packets") for line in lines)


def test_pictures_may_differ_by_the_tolerance_and_no_more(models):
    name = "valid/key.imf"
    result = replay(content(name), models["float32"])
    (frame,) = result.frames

    def darker(levels: int) -> Replay:
        planes = (plane.clip(levels) - levels for plane in (frame.y, frame.u, frame.v))
        return replace(result, frames=[Frame(*(plane.astype("uint8") for plane in planes), frame.pts)])

    assert differences(STREAMS[name], darker(1), "float32") == []
    assert differences(STREAMS[name], darker(2), "float32") == ["frame 0 differs by 2 levels"]


def test_the_specification_names_every_tensor():
    text = (FOLDER / "SPEC.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z_]+\.?[a-z_.0-9]*)`", text))
    network = ImfNetwork(CONFIG)
    for name in network.state_dict():
        assert any(name == prefix or name.startswith(f"{prefix}.") for prefix in named), name
