"""Small stores of clips drawn by code, and trainers on them."""

from dataclasses import asdict
from fractions import Fraction

import pytest
import torch

from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.training.config import load_stage
from imfcodec.training.critic import CriticTrainer
from imfcodec.training.dataset import load_store
from imfcodec.training.loader import GroupLoader
from imfcodec.training.objectives import make_objective
from imfcodec.training.prepare import prepare
from imfcodec.training.rollout import TrainedModel
from imfcodec.training.session import make_fabric
from imfcodec.training.trainer import Trainer
from imfcodec.video.writer import open_writer


@pytest.fixture(scope="session")
def face_folder(tmp_path_factory):
    """A folder with a clip of 70 frames, 96x80."""
    folder = tmp_path_factory.mktemp("videos")
    video = talking_face_format(96, 80, Fraction(25))
    with open_writer(folder / "face.mkv", video) as writer:
        for frame in talking_face(video, 70):
            writer.write(frame)
    return folder


@pytest.fixture(scope="session")
def face_store(face_folder, tmp_path_factory):
    """The folder as a store."""
    store = tmp_path_factory.mktemp("store")
    prepare(face_folder, store)
    return store


@pytest.fixture(scope="session")
def small_changes(small_config):
    """The small model as changes of a stage's file."""
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(small_config).items()}
    return {f"model.{key}": value for key, value in plain.items()}


@pytest.fixture
def small_model(small_config):
    """A small model away from its start, at which it copies its reference and some gradients vanish."""
    torch.manual_seed(1)
    model = TrainedModel(small_config)
    for parameter in model.network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


@pytest.fixture
def make_trainer(face_store, small_changes, tmp_path):
    """Makes trainers of a stage, with a small model, on the store; changes as in a stage's file."""

    def make(stage, run="run", **changes):
        torch.manual_seed(1)
        plain = {"steps": 100, "data.crop": 64, "data.batch": 1, "data.workers": 0, "data.stills": 0}
        config = load_stage(stage, plain | small_changes | {"data.zoom": 0.0} | changes)
        objective = make_objective(config.objective, config.options)
        loader = GroupLoader([load_store(face_store)], config.data, objective, config.seed)
        model = TrainedModel(config.model)
        said = []
        fabric = make_fabric("cpu", config.precision)
        critic = CriticTrainer(config.critic, fabric) if config.critic else None
        trainer = Trainer(config, model, objective, loader, tmp_path / run, fabric, critic=critic, say=said.append)
        trainer.said = said
        return trainer

    return make


@pytest.fixture
def advance():
    """Takes steps with a trainer; returns their losses."""

    def run(trainer, count):
        batches = trainer.loader.batches(trainer.step)
        return [float(trainer.advance(next(batches), trainer.progress)["loss"]) for _ in range(count)]

    return run
