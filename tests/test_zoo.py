"""Damaged, hostile and foreign model files: a ModelError each, soon and without much memory."""

import json
import resource
import time
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from imfcodec import zoo
from imfcodec.config import DEFAULT, MAX_DEPTH, MAX_PARTS, MAX_WIDTH, ModelConfig
from imfcodec.errors import ModelError, UsageError
from imfcodec.modelfile import MAX_FILE_BYTES, check_model_file, read_model_file

SECONDS = 1.0
MEMORY_KIB = 500 << 10


@pytest.fixture(scope="module")
def intact():
    """Bytes of the default model."""
    return next(info.path for info in zoo.available_models() if info.default).read_bytes()


@pytest.fixture(scope="module")
def parts(intact, tmp_path_factory):
    """Tensors and configuration of the default model."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    path.write_bytes(intact)
    with safe_open(path, "pt") as file:
        return load_file(path), json.loads(file.metadata()["config"])


@pytest.fixture
def refused(tmp_path):
    """Whether loading these bytes as a model fails as it should, within time and memory; gives the message."""

    def load(data):
        path = tmp_path / "model.safetensors"
        path.write_bytes(data)
        start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ModelError) as caught:
            zoo.load_model(str(path))
        assert time.process_time() - start < SECONDS
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_KIB
        return str(caught.value)

    zoo.load_model()  # imports count neither as time nor as memory
    return load


def with_header(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def rebuilt(parts, change=None, **config):
    tensors, values = dict(parts[0]), {**parts[1], **config}
    if change:
        change(tensors)
    return save(tensors, metadata={"config": json.dumps(values)})


@pytest.mark.parametrize("share", [0, 7e-6, 1e-3, 0.5, 0.999999])
def test_a_model_that_is_cut_off(refused, intact, share):
    refused(intact[: int(len(intact) * share)])


def test_a_model_with_more_behind_it(refused, intact):
    refused(intact + b"\0")


def test_what_is_no_model(refused):
    for data in (
        bytes(range(256)),
        with_header({}),
        with_header([1]),
        with_header(b"[" * 500_000),
        with_header({"__metadata__": {"config": "[" * 1000}}),
        with_header({"__metadata__": {"config": "[]"}}),
        with_header({"__metadata__": {"config": "{}"}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}),
        with_header({"__metadata__": {"config": "{}"}, "w": {"dtype": "F32", "shape": 3, "data_offsets": [0, 12]}}),
        with_header({"__metadata__": {"config": "{}"}}),
        (1 << 60).to_bytes(8, "little") + b"{}",
    ):
        refused(data)


def test_sizes_a_file_only_claims(refused):
    """Nothing is allocated for them."""
    huge = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    refused(with_header({"__metadata__": {"config": json.dumps(DEFAULT.to_dict())}, "w": huge}))
    wide = {**DEFAULT.to_dict(), **{name: MAX_WIDTH for name in ("feature_channels", "token_channels")}}
    refused(with_header({"__metadata__": {"config": json.dumps(wide)}}))
    deep = {**wide, **{name: MAX_DEPTH for name in ("feature_depth", "latent_depth", "align_depth")}}
    refused(with_header({"__metadata__": {"config": json.dumps(deep)}}))


def test_a_file_larger_than_any_model(refused, tmp_path, intact):
    path = tmp_path / "large.safetensors"
    with path.open("wb") as file:
        file.write(intact)
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ModelError, match="more than a model has"):
        zoo.load_model(str(path))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
def test_numbers_that_are_not_finite(refused, parts, kind, value):
    def spoil(tensors):
        name = next(name for name, tensor in tensors.items() if tensor.dtype == kind)
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[-1] = value

    assert "not finite" in refused(rebuilt(parts, spoil))


def test_bfloat16_is_looked_at_too(tmp_path):
    for value, fits in ((1.0, True), (float("nan"), False)):
        path = tmp_path / "model.safetensors"
        tensors = {"w": torch.full((3,), value, dtype=torch.bfloat16)}
        path.write_bytes(save(tensors, metadata={"config": json.dumps(DEFAULT.to_dict())}))
        if fits:
            check_model_file(path)
        else:
            with pytest.raises(ModelError, match="not finite"):
                check_model_file(path)


def test_tensors_that_do_not_fit_the_configuration(refused, parts):
    assert "does not fit" in refused(rebuilt(parts, token_channels=DEFAULT.token_channels + 8))
    assert "does not fit" in refused(rebuilt(parts, lambda tensors: tensors.pop("token_prior.u_steps.log_step")))
    assert "does not fit" in refused(rebuilt(parts, align_heads=7))


def test_integer_networks_that_may_be_inexact(refused, parts):
    """Sums of 2^24 units and more are rounded, and platforms would not agree on them."""
    name = "latent_prior.indices.enter"
    products = 127 * 127 * parts[0][f"{name}.weight"].shape[1]
    largest = ((1 << 24) - 1 - products) / 1024

    def fill(bias):
        def change(tensors):
            tensors[f"{name}.weight"] = torch.full_like(tensors[f"{name}.weight"], -3.0)  # counts as -127 / 64
            tensors[f"{name}.bias"] = torch.full_like(tensors[f"{name}.bias"], bias)

        return change

    assert name in refused(rebuilt(parts, fill(largest + 1 / 1024)))
    assert name in refused(rebuilt(parts, fill(-largest - 1 / 1024)))
    assert "context_limit 8" in refused(rebuilt(parts, context_limit=8))


def test_integer_networks_at_the_bound_are_exact(parts, tmp_path):
    path, name = tmp_path / "model.safetensors", "token_prior.u_index.index.2"
    products = 127 * 127 * parts[0][f"{name}.weight"].shape[1]

    def fill(tensors):
        tensors[f"{name}.weight"] = torch.full_like(tensors[f"{name}.weight"], 3.0)
        tensors[f"{name}.bias"] = torch.full_like(tensors[f"{name}.bias"], ((1 << 24) - 1 - products) / 1024)

    path.write_bytes(rebuilt(parts, fill))
    layer = zoo.load_model(str(path)).network.get_submodule(name)
    largest = layer(torch.full((1, layer.weight.shape[1], 1, 1), 127 / 16))
    assert set(largest.flatten().tolist()) == {((1 << 24) - 1) / 1024}


@pytest.mark.parametrize(
    "change",
    [
        lambda tables: tables.pop("tables.hyper.cdf"),
        lambda tables: tables.update({"tables.hyper.cdf": tables["tables.hyper.cdf"][:-1].clone()}),
        lambda tables: tables.update({"tables.gaussian.lengths": tables["tables.gaussian.lengths"] + 10_000}),
        lambda tables: tables.update({"tables.gaussian.lengths": tables["tables.gaussian.lengths"] * 0 - 1}),
        lambda tables: tables.update({"tables.gaussian.offsets": tables["tables.gaussian.offsets"] - 2**30}),
        lambda tables: tables.update({"tables.gaussian.cdf": tables["tables.gaussian.cdf"].float()}),
        lambda tables: tables.update({"tables.gaussian.cdf": tables["tables.gaussian.cdf"] * 0}),
    ],
)
def test_damaged_tables(refused, parts, change):
    refused(rebuilt(parts, change))


def test_an_intact_model_passes(parts, intact, tmp_path):
    """Also when it was written anew, and its parameters and id are those of its file."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(rebuilt(parts))
    assert zoo.load_model(str(path)).network.config == ModelConfig.from_dict(parts[1])
    assert read_model_file(path).parameters == next(m.parameters for m in zoo.available_models() if m.default)


def test_every_field_of_the_configuration_is_bounded():
    """Whole numbers by kind, tuples in length too."""
    for name, value in DEFAULT.to_dict().items():
        none = -2 if "depth" in name else 0  # of all but depths
        for wrong in (none, -1, MAX_WIDTH + 1, 1 << 62, 1.5, True, "9", None, [1] * (MAX_PARTS + 1), [0, 9], ["9"], {}):
            with pytest.raises(ModelError):
                ModelConfig.from_dict({**DEFAULT.to_dict(), name: wrong})
        assert ModelConfig.from_dict({**DEFAULT.to_dict(), name: value}) == DEFAULT
    with pytest.raises(ModelError):
        replace(DEFAULT, frame_depth=MAX_DEPTH + 1)
    for wrong in ([], None, {"unknown": 1}):
        with pytest.raises(ModelError):
            ModelConfig.from_dict(wrong)


@pytest.mark.parametrize("native", [True, False])
def test_auto_arithmetic_is_what_the_processor_has(monkeypatch, native):
    """A version of torch that cannot tell counts as one without bfloat16."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert zoo.pick_dtype("auto", "cpu") == ("bfloat16" if native else "float32")
    assert zoo.pick_dtype("bfloat16", "cpu") == "bfloat16"
    with pytest.raises(UsageError, match="float8"):
        zoo.pick_dtype("float8", "cpu")
