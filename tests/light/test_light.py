"""Export, and decoding with what was exported: equal to torch, and without it."""

import json
import shutil
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from imfcodec.bitstream.container import StreamWriter
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import LostPacket, PacketKind, Quantisers, VideoPacket
from imfcodec.codec.decoder import Decoder
from imfcodec.codec.encoder import Encoder, EncoderSettings
from imfcodec.codec.groups import to_qindices
from imfcodec.codec.planes import to_picture
from imfcodec.entropy.coder import RangeDecoder
from imfcodec.errors import CorruptStreamError, ModelError, UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.export.examples import example
from imfcodec.export.graphs import PredictFromTwo, Remember
from imfcodec.latents.symbols import SymbolWriter
from imfcodec.light import choice
from imfcodec.light.choice import find_exported
from imfcodec.light.decoder import LightDecoder
from imfcodec.light.graphs import GRAPHS
from imfcodec.light.model import LightModel, read_description
from imfcodec.models.executor import Executor
from imfcodec.models.network import ImfNetwork
from imfcodec.models.structure import Chunk, plan
from imfcodec.video.reader import open_clip
from imfcodec.zoo import load_model

onnx = pytest.importorskip("onnx", reason="exporting needs the package onnx")
pytest.importorskip("onnxruntime", reason="decoding with exported models needs the package onnxruntime")

VIDEO = talking_face_format(72, 64, Fraction(25))
FRAMES = 9
WITHOUT_TORCH = """
import json, sys
for name in ("torch", "einops", "compressai", "torchvision", "pytorch_msssim", "onnx"):
    sys.modules[name] = None  # importing it fails
from imfcodec.cli import run
print(json.dumps([run(line) for line in json.loads(sys.argv[1])]))
"""


def tables(rows: int, reach: int) -> dict[str, torch.Tensor]:
    """Rows that fall off by powers of two, more slowly from row to row."""
    cdfs = []
    for row in range(rows):
        mass = np.exp2(-np.abs(np.arange(-reach, reach + 1)) / (0.3 + row / 8))
        width = 1 + np.floor(np.append(mass, 1e-3) / (mass.sum() + 1e-3) * (2**16 - 2 * reach - 2))
        width[reach] += 2**16 - width.sum()
        cdfs.append(np.append(0, np.cumsum(width)))
    lengths, offsets = np.full(rows, 2 * reach + 3), np.full(rows, -reach)
    parts = {"cdf": np.array(cdfs), "lengths": lengths, "offsets": offsets}
    return {part: torch.from_numpy(value.astype(np.int32)) for part, value in parts.items()}


@pytest.fixture(scope="module")
def model_file(small_config, tmp_path_factory) -> Path:
    """A small model none of whose branches is idle."""
    from safetensors.torch import save_file

    torch.manual_seed(1)
    network = ImfNetwork(small_config)
    for name, parameter in network.named_parameters():
        if "steps" not in name:
            torch.nn.init.normal_(parameter, std=0.6 * parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.05)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    for group, rows in (("gaussian", 64), ("hyper", small_config.hyper_channels)):
        tensors |= {f"tables.{group}.{part}": value for part, value in tables(rows, 20).items()}
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_file(tensors, path, metadata={"config": json.dumps(small_config.to_dict())})
    return path


@pytest.fixture(scope="module")
def model(model_file):
    return load_model(str(model_file))


@pytest.fixture(scope="module")
def folder(model_file, tmp_path_factory) -> Path:
    from imfcodec.export.writer import export_model

    path = tmp_path_factory.mktemp("exported") / "small"
    export_model(str(model_file), path)
    return path


@pytest.fixture(scope="module")
def header(model) -> StreamHeader:
    return StreamHeader(VIDEO, model.model_id)


@pytest.fixture(scope="module")
def packets(model):
    """Packets of a clip by structure; of "tree", two levels of golden frames are two frames each."""
    frames = list(talking_face(VIDEO, FRAMES))
    return {
        "tree": code_tree(model, frames),
        **{
            structure: list(Encoder(model, EncoderSettings(60, structure, golden_interval=4)).encode(iter(frames)))
            for structure in ("offline", "low-delay")
        },
    }


@torch.inference_mode()
def code_tree(model, frames) -> list[VideoPacket]:
    """A key frame and a chunk whose intervals are split as far as they go, but for two."""
    quantisers, chunk = Quantisers(150, 5, 120), Chunk(FRAMES - 1, True, (True, True, True, True, False, True, False))
    pictures = dict(enumerate(to_picture([frame], model.device) for frame in frames))
    keys, rest = SymbolWriter(model.tables), SymbolWriter(model.tables)
    known = {0: Executor(model.network, keys).key(torch.tensor([150]), pictures[0], pictures[0])}
    rest.flags = chunk.splits
    for level in plan(chunk):
        Executor(model.network, rest).run(level, known, to_qindices(quantisers, model.device), pictures)
    times = tuple(range(FRAMES))
    return [
        VideoPacket(PacketKind.KEY, 1, times[:1], keys.finish(check=True), quantisers, key_qindex=150),
        VideoPacket(PacketKind.CHUNK, chunk.length, times[1:], rest.finish(check=True), quantisers, golden=True),
    ]


@pytest.fixture
def symbols(monkeypatch):
    """What is read from payloads: table rows and symbols, set by set."""
    read, decode = [], RangeDecoder.decode

    def record(self, rows, tables):
        values = decode(self, rows, tables)
        read.append((rows.tolist(), values.tolist()))
        return values

    monkeypatch.setattr(RangeDecoder, "decode", record)
    return read


def planes(frame):
    return (frame.y, frame.u, frame.v)


@pytest.mark.parametrize("structure", ["tree", "offline", "low-delay"])
def test_symbols_are_those_of_torch_and_pixels_within_a_level(structure, packets, model, folder, header, symbols):
    wanted = list(Decoder(model, header).decode(iter(packets[structure])))
    by_torch = symbols.copy()
    symbols.clear()
    given = list(LightDecoder(LightModel(folder, 1), header).decode(iter(packets[structure])))
    assert by_torch == symbols
    assert any(value for _, values in symbols for value in values)
    assert [frame.pts for frame in given] == [frame.pts for frame in wanted] == list(range(FRAMES))
    for one, other in zip(given, wanted, strict=True):
        for plane, right in zip(planes(one), planes(other), strict=True):
            assert plane.shape == right.shape and np.abs(plane.astype(int) - right).max() <= 1
    assert np.ptp(given[-1].y) > 50, "there is something to see"


@pytest.fixture(scope="module")
def stream(packets, header, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "face.imf"
    with open(path, "wb") as file:
        writer = StreamWriter(file, header)
        for packet in packets["offline"]:
            writer.write_video(packet)
        writer.close()
    return path


def test_the_command_line_decodes_where_there_is_no_torch(stream, folder, header, packets, tmp_path, fresh_process):
    decoded, other = tmp_path / "decoded.y4m", tmp_path / "other.y4m"
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
    messages = result.stderr.decode().splitlines()[-3:]
    assert all("torch" in message and message.startswith("imfcodec: ") for message in messages)
    wanted = LightDecoder(LightModel(folder, 1), header).decode(iter(packets["offline"]))
    with open_clip(decoded) as clip:
        for one, right in zip(clip.frames(), wanted, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(planes(one), planes(right), strict=True))


def test_a_lost_packet_costs_its_own_frames(packets, folder, header):
    def decode(items, conceal=True):
        decoder = LightDecoder(LightModel(folder, 1), header, conceal=conceal)
        return list(decoder.decode(iter(items))), decoder.concealed_frames

    key, *rest = packets["offline"]
    whole, none = decode([key, *rest])
    assert none == 0
    lost = LostPacket(PacketKind.CHUNK, rest[0].frame_count, "lost", rest[0].pts)
    frames, concealed = decode([key, lost])
    assert concealed == rest[0].frame_count == len(frames) - 1
    assert all(np.array_equal(frame.y, whole[0].y) for frame in frames)
    damaged = replace(rest[0], payload=rest[0].payload[::-1])
    assert [frame.pts for frame in decode([key, damaged])[0]] == [0, *rest[0].pts]
    for broken in ([key, damaged], rest):
        with pytest.raises(CorruptStreamError):
            decode(broken, conceal=False)
    frames, concealed = decode(rest[:1])
    assert concealed == len(frames) == rest[0].frame_count and {int(frames[0].y.min()), int(frames[0].y.max())} == {128}


def test_attention_over_many_places_is_that_of_torch(model, folder):
    """Above 1024 places the graph takes them some at a time."""
    values = example(model.network, 1, 512, 576)
    inputs = [values[name] for name in GRAPHS["predict_from_two"].inputs]
    with torch.inference_mode():
        wanted = PredictFromTwo(model.network)(*inputs)
    given = LightModel(folder, 1).run("predict_from_two", *(value.numpy() for value in inputs))
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
    def test_damage_is_refused(self, folder, packets, header, tmp_path, name, content, message):
        broken = shutil.copytree(folder, tmp_path / "broken")
        (broken / name).unlink()
        if content is not None:
            (broken / name).write_bytes(content)
        with pytest.raises(ModelError, match=message):
            list(LightDecoder(LightModel(broken, 1), header).decode(iter(packets["offline"])))

    def test_a_stream_of_another_model_is_refused(self, folder, header):
        with pytest.raises(ModelError, match="was made with model 0102030405060708, not with"):
            LightDecoder(LightModel(folder, 1), replace(header, model_id=bytes(range(1, 9))))


class TestExport:
    def test_an_exported_model_is_kept_unless_told_otherwise(self, model_file, folder):
        from imfcodec.export.writer import export_model

        with pytest.raises(UsageError, match="give -y"):
            export_model(str(model_file), folder)

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
