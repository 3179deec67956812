"""A model of a few thousand weights, and streams made with it."""

import json
from fractions import Fraction

import pytest

from imfcodec import api
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.writer import open_writer

FRAMES = 26


@pytest.fixture(scope="session")
def tiny_file(small_config, tmp_path_factory):
    """The file of a small model away from its start, at which it copies its reference; its tables are borrowed."""
    import torch
    from safetensors.torch import load_file, save_file

    from imfcodec.models.network import ImfNetwork
    from imfcodec.zoo import available_models

    torch.manual_seed(1)
    network = ImfNetwork(small_config)
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    shipped = load_file(next(model.path for model in available_models() if model.default))
    tables = {name: value for name, value in shipped.items() if name.startswith("tables.")}
    hyper = {name: value[: small_config.hyper_channels] for name, value in tables.items() if ".hyper." in name}
    tensors = {name: value.contiguous() for name, value in {**network.state_dict(), **tables, **hyper}.items()}
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_file(tensors, path, metadata={"config": json.dumps(small_config.to_dict())})
    return path


@pytest.fixture(scope="session")
def tiny(tiny_file):
    """The same, held: loaded once."""
    return api.Model(str(tiny_file), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """26 frames of 64x64 at 25 a second, as Y4M."""
    path = tmp_path_factory.mktemp("clips") / "face.y4m"
    video = talking_face_format(64, 64, Fraction(25))
    with open_writer(path, video) as writer:
        for frame in talking_face(video, FRAMES):
            writer.write(frame)
    return path


@pytest.fixture(scope="session")
def grouped(clip, tiny, tmp_path_factory):
    """The clip in groups of ten frames, chunks of four: key frames at 0, 10 and 20."""
    path = tmp_path_factory.mktemp("streams") / "grouped.imf"
    api.encode(clip, path, quality=30, key_interval=10, golden_interval=4, model=tiny)
    return path
