"""Export, and decoding with what was exported: equal to torch, and without it."""

import io
import json
import shutil
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from maker.replay import differences, replay

from imfcodec.bitstream.container import StreamReader, list_packets
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import LostPacket, PacketKind, VideoPacket
from imfcodec.errors import CorruptStreamError, ModelError, UsageError
from imfcodec.export.examples import example
from imfcodec.export.graphs import PredictFromTwo, Remember
from imfcodec.light import choice
from imfcodec.light.choice import find_exported
from imfcodec.light.decoder import LightDecoder
from imfcodec.light.graphs import CONCEALING, GRAPHS
from imfcodec.light.model import LightModel, read_description
from imfcodec.video.reader import open_clip
from imfcodec.zoo import available_models, load_model

onnx = pytest.importorskip("onnx", reason="exporting needs the package onnx")
pytest.importorskip("onnxruntime", reason="decoding with exported models needs the package onnxruntime")

STREAMS = Path(__file__).parents[2] / "bitstreams"
MODEL = STREAMS / "tiny.safetensors"
MANIFEST = json.loads((STREAMS / "manifest.json").read_text("utf-8"))["streams"]
CODED = [name for name in MANIFEST if name.startswith(("valid/", "uncommon/groups", "uncommon/deeper"))]
"""Those that differ in more than their headers."""
WITHOUT_TORCH = """
import json, sys
for name in ("torch", "einops", "compressai", "torchvision", "pytorch_msssim", "onnx"):
    sys.modules[name] = None  # importing it fails
from imfcodec.cli import run
print(json.dumps([run(line) for line in json.loads(sys.argv[1])]))
"""


@pytest.fixture(scope="module")
def model():
    return load_model(str(MODEL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    from imfcodec.export.writer import export_model

    path = tmp_path_factory.mktemp("exported") / "tiny"
    export_model(str(MODEL), path)
    return path


@pytest.fixture(scope="module")
def exported(folder) -> LightModel:
    return LightModel(folder, 1)


def read(name: str) -> tuple[StreamHeader, list[VideoPacket]]:
    reader = StreamReader(io.BytesIO((STREAMS / name).read_bytes()))
    return reader.header, [item for item in reader if isinstance(item, VideoPacket)]


def planes(frame):
    return (frame.y, frame.u, frame.v)


@pytest.mark.parametrize("name", CODED)
def test_conformance_streams_give_the_symbols_and_pictures_stated(name, exported):
    assert differences(MANIFEST[name], replay((STREAMS / name).read_bytes(), exported), "float32") == []


@pytest.mark.parametrize("name", ["valid/splits-deep.imf", "valid/low-delay.imf", "valid/size-129x66.imf"])
def test_every_pixel_is_within_a_level_of_torch(name, model, exported):
    data = (STREAMS / name).read_bytes()
    for one, other in zip(replay(data, exported).frames, replay(data, model).frames, strict=True):
        for plane, right in zip(planes(one), planes(other), strict=True):
            assert plane.shape == right.shape and np.abs(plane.astype(int) - right).max() <= 1
            assert np.ptp(plane) > 20, "there is something to see"


def test_what_is_installed_is_said_without_torch(fresh_process):
    """The weights are checked as far as numpy can."""
    result = fresh_process("-c", WITHOUT_TORCH, json.dumps([["doctor", "--json"]]), timeout=60)
    *report, codes = result.stdout.decode().splitlines()
    report = json.loads("\n".join(report))
    assert json.loads(codes) == [0] and not result.stderr
    assert (report["engines"], report["problem"], report["cuda"]) == ("onnx", None, None)
    assert set(report["weights"].values()) == {"intact"}


def test_the_command_line_decodes_where_there_is_no_torch(folder, exported, tmp_path, fresh_process):
    stream, decoded, other = STREAMS / "valid" / "chunk-5-golden.imf", tmp_path / "decoded.y4m", tmp_path / "other.y4m"
    lines = [
        ["decode", stream, decoded, "--model", folder, "--threads", "1", "--progress", "none"],
        ["verify", stream, "--decode", "--engine", "onnx", "--model", folder],
        ["decode", stream, other],
        ["decode", stream, other, "--engine", "torch"],
        ["encode", decoded, tmp_path / "again.imf"],
    ]
    result = fresh_process("-c", WITHOUT_TORCH, json.dumps(lines, default=str), timeout=120)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == [0, 0, 2, 2, 2]
    auto, engine, encode = result.stderr.decode().splitlines()[-3:]
    assert auto == (
        "imfcodec: without torch this needs an exported model: once, where torch is installed: "
        "imfcodec export MODEL MODEL.light; then here: --model MODEL.light"
    )
    assert engine == "imfcodec: engine torch needs torch; install it with: pip install torch einops"
    assert encode == "imfcodec: this needs torch; install it with: pip install torch einops"
    with open_clip(decoded) as clip:
        for one, right in zip(clip.frames(), replay(stream.read_bytes(), exported).frames, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(planes(one), planes(right), strict=True))


def test_a_lost_packet_costs_its_own_frames(exported):
    header, (key, chunk) = read("valid/chunk-5-golden.imf")

    def decode(*items, conceal=True):
        decoder = LightDecoder(exported, header, conceal=conceal)
        return list(decoder.decode(iter(items))), decoder.concealed_frames

    whole, none = decode(key, chunk)
    assert (len(whole), none) == (6, 0)
    frames, concealed = decode(key, LostPacket(PacketKind.CHUNK, 5, "lost", chunk.pts))
    assert concealed == len(frames) - 1 == 5
    assert all(np.array_equal(frame.y, whole[0].y) for frame in frames)
    damaged = replace(chunk, payload=chunk.payload[::-1])
    assert [frame.pts for frame in decode(key, damaged)[0]] == [0, *chunk.pts]
    for broken in ([key, damaged], [chunk]):
        with pytest.raises(CorruptStreamError):
            decode(*broken, conceal=False)
    frames, concealed = decode(chunk)
    assert concealed == len(frames) == 5 and {int(frames[0].y.min()), int(frames[0].y.max())} == {128}


@pytest.mark.parametrize("name", ["valid/low-delay.imf", "valid/chunks.imf"])
def test_both_decoders_conceal_the_same_frames(model, exported, name):
    """Each packet but the first in turn is cut out of the stream, which nobody says; lost frames are moved alike."""
    moved = 0
    data = (STREAMS / name).read_bytes()
    video = [info for info in list_packets(io.BytesIO(data)) if info.frames]
    for gone in video[1:]:
        rest = data[: gone.offset] + data[gone.offset + gone.size :]
        torch_frames, frames = (replay(rest, one, conceal=True).frames for one in (model, exported))
        assert [(f.pts, f.concealed) for f in torch_frames] == [(f.pts, f.concealed) for f in frames]
        assert any(f.concealed for f in frames)
        for one, other in zip(torch_frames, frames, strict=True):
            for plane, right in zip(planes(one), planes(other), strict=True):
                assert abs(plane.astype(int) - right).max() <= 2
        moved += sum(after.concealed and not np.array_equal(before.y, after.y) for before, after in pairwise(frames))
    assert moved, "the next good frame is another one, and so are those on the way to it"


def test_a_model_that_was_exported_before_frames_were_moved_is_refused_only_then(folder, tmp_path):
    older = shutil.copytree(folder, tmp_path / "older")
    for name in CONCEALING:
        (older / f"{name}.onnx").unlink()
    data = (STREAMS / "valid/low-delay.imf").read_bytes()
    whole = replay(data, LightModel(older, 1), conceal=True)
    (gone,) = [info for info in list_packets(io.BytesIO(data)) if info.frames][2:3]
    with pytest.raises(ModelError, match="export the model again"):
        replay(data[: gone.offset] + data[gone.offset + gone.size :], LightModel(older, 1), conceal=True)
    assert len(whole.frames) == 8


def test_packets_that_are_passed_over_are_built_on(exported):
    header, packets = read("valid/chunks.imf")
    whole = list(LightDecoder(exported, header).decode(iter(packets)))
    decoder = LightDecoder(exported, header)
    for packet in packets[:-1]:
        decoder.pass_over(packet)
    rest = list(decoder.decode(iter(packets[-1:])))
    assert packets[1].golden and 0 < len(rest) < len(whole)
    for one, right in zip(rest, whole[-len(rest) :], strict=True):
        assert one.pts == right.pts and all(
            np.array_equal(a, b) for a, b in zip(planes(one), planes(right), strict=True)
        )


def test_attention_over_many_places_is_that_of_torch(model, exported):
    """Above 1024 places the graph takes them some at a time."""
    values = example(model.network, 1, 512, 576)
    inputs = [values[name] for name in GRAPHS["predict_from_two"].inputs]
    with torch.inference_mode():
        wanted = PredictFromTwo(model.network)(*inputs)
    given = exported.run("predict_from_two", *(value.numpy() for value in inputs))
    for one, other in zip(given, wanted, strict=True):
        assert np.abs(one - other.numpy()).max() < 1e-3


class TestChoice:
    def test_an_exported_model_is_taken_where_it_is_named(self, folder):
        for engine in ("auto", "onnx"):
            assert find_exported(engine, str(folder), b"", "auto", "auto") == folder
        assert find_exported("auto", "talk", b"", "auto", "auto") is None
        assert find_exported("torch", None, b"", "auto", "auto") is None

    def test_one_that_comes_with_the_package_is_known_by_its_id(self, folder, model, monkeypatch, tmp_path):
        shutil.copytree(folder, tmp_path / "small.light")
        monkeypatch.setattr(choice, "INSTALLED", tmp_path)
        assert find_exported("auto", None, model.model_id, "cpu", "auto") == tmp_path / "small.light"
        assert find_exported("auto", None, model.model_id, "auto", "bfloat16") is None
        assert find_exported("torch", None, model.model_id, "cpu", "auto") is None
        assert find_exported("auto", None, b"another", "cpu", "auto") is None

    @pytest.mark.parametrize(
        ("engine", "named", "device", "message"),
        [
            ("fast", True, "auto", "use auto, onnx or torch"),
            ("torch", True, "auto", "use onnx"),
            ("onnx", False, "auto", "imfcodec export"),
            ("onnx", True, "cuda", "on the CPU"),
        ],
    )
    def test_what_an_engine_cannot_do_is_refused(self, folder, engine, named, device, message):
        with pytest.raises(UsageError, match=message):
            find_exported(engine, str(folder) if named else None, b"", device, "auto")

    @pytest.mark.parametrize("named", [None, "talk", "run/talk.safetensors"])
    def test_the_model_to_export_is_named(self, named):
        (shipped,) = (info for info in available_models() if info.default)
        with pytest.raises(UsageError, match=rf"imfcodec export {named or 'talk'} talk\.light; .*--model talk\.light"):
            find_exported("onnx", named, shipped.model_id, "auto", "auto")

    def test_without_onnxruntime_the_cure_is_named(self, folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(UsageError, match=r"imfcodec\[light\]"):
            find_exported("auto", str(folder), b"", "auto", "auto")


class TestFolder:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("model.json", b"{}", "describes no exported model"),
            ("model.json", b'{"format": 2}', "format 2 is unknown"),
            ("model.json", None, "give a folder made by"),
            ("tables.safetensors", b"\0" * 100, "not the file that was exported"),
            ("latent_pass.onnx", b"", "not the file that was exported"),
            ("latent_pass.onnx", None, "export the model again"),
        ],
    )
    def test_damage_is_refused(self, folder, tmp_path, name, content, message):
        header, packets = read("valid/key.imf")
        broken = shutil.copytree(folder, tmp_path / "broken")
        (broken / name).unlink()
        if content is not None:
            (broken / name).write_bytes(content)
        with pytest.raises(ModelError, match=message):
            list(LightDecoder(LightModel(broken, 1), header).decode(iter(packets)))

    def test_a_stream_of_another_model_is_refused(self, exported):
        header, _ = read("valid/key.imf")
        with pytest.raises(ModelError, match="was made with model 0102030405060708, not with"):
            LightDecoder(exported, replace(header, model_id=bytes(range(1, 9))))


class TestExport:
    def test_an_exported_model_is_kept_unless_told_otherwise(self, folder):
        from imfcodec.export.writer import export_model

        with pytest.raises(UsageError, match="give -y"):
            export_model(str(MODEL), folder)

    def test_the_folder_names_its_model_and_holds_what_it_needs(self, folder, model):
        description = read_description(folder)
        assert (description.model_id, description.config) == (model.model_id, model.network.config)
        assert {path.name for path in folder.iterdir()} == {*description.hashes, "model.json"}
        assert {f"{name}.onnx" for name in GRAPHS} < set(description.hashes)
        for name in GRAPHS:
            graph = onnx.load(folder / f"{name}.onnx")
            assert {entry.domain: entry.version for entry in graph.opset_import}[""] == 18
            assert {node.domain for node in graph.graph.node} == {""}, "plain ONNX, for every runtime"

    def test_a_graph_that_froze_the_size_it_was_traced_with_is_refused(self, model):
        from imfcodec.export.conversion import make_graph

        class Frozen(Remember):
            def forward(self, g, u, *features):
                *memory, field = super().forward(g, u, *features)
                return *memory, field + int(u.shape[-1])

        sizes = (example(model.network, *size) for size in ((1, 64, 64), (1, 64, 128)))
        with pytest.raises(ModelError, match="graph remember gives another field"):
            make_graph("remember", Frozen(model.network), *sizes)
