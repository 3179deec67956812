"""Stores of predictions and their targets."""

import json

import numpy as np
import pytest
import torch

from imfcodec.errors import InputError
from imfcodec.training import pairs
from imfcodec.training.config import load_stage
from imfcodec.training.dataset import load_store
from imfcodec.training.loader import GroupLoader
from imfcodec.training.objectives import LatentObjective
from imfcodec.training.pairs import PairShapes, make_pairs, write_pairs
from imfcodec.training.session import make_fabric
from imfcodec.training.trainer import Trainer

COUNT = 6


@pytest.fixture
def store(face_store, small_model, tmp_path, monkeypatch):
    """A few small pairs of the small model."""
    plain = pairs.replace
    monkeypatch.setattr(pairs, "replace", lambda config, **changes: plain(config, **{**changes, "crop": 64}))
    write_pairs(small_model, [face_store], tmp_path / "pairs", COUNT, seed=3)
    return tmp_path / "pairs"


def test_pairs_are_a_store(store):
    """Four frames a clip, the quantiser index of the references, and maps of what else is known."""
    clips = load_store(store)
    assert len(clips) == COUNT and all(
        len(list(store.glob(f"*.{kind}"))) == COUNT for kind in ("npy", "features", "near")
    )
    for clip in clips:
        assert (clip.frames, clip.height, clip.width) == (4, 64, 64) and 1 <= clip.qindex <= 255
        assert clip.data.shape == (4, 64 * 64 * 3 // 2) and clip.data.dtype == np.uint8
        prediction, first, second, target = clip.data.astype(int)
        assert 0 < np.abs(prediction - target).mean() < 60
        assert np.abs(prediction - (first + second) / 2).max() <= np.abs(first - second).max() / 2 + 2  # a mix of both
        with clip.features.open("rb") as features, clip.near.open("rb") as near:
            assert np.load(features).shape[1:] == np.load(near).shape[1:] == (4, 4)
    assert len({clip.qindex for clip in clips}) > 1


def test_the_same_seed_makes_the_same_pairs(store, face_store, small_model, tmp_path):
    write_pairs(small_model, [face_store], tmp_path / "again", 2, seed=3)
    for path in sorted((tmp_path / "again").glob("*.npy")):
        assert np.array_equal(np.load(path), np.load(store / path.name))


def test_targets_are_frames_and_predictions_are_not(face_store, small_model, monkeypatch):
    """In every shape: of the end of a chunk, and of golden frames inside it."""
    config = load_stage("latent", {"data.crop": 64, "data.batch": 2, "data.workers": 0}).data
    loader = GroupLoader([load_store(face_store)], config, PairShapes(), 0)
    for batch, _ in zip(loader.batches(), range(6), strict=False):
        steps = [step for level in batch.shape.levels for step in level]
        made = list(make_pairs(small_model, batch))
        assert len(made) == 2 * len(steps) and all(step.latent for step in steps)
        for number, pair in enumerate(made):
            step, sample = steps[number // 2], number % 2
            index = batch.shape.offsets.index(step.position)
            assert torch.equal(pair.frames[-1], batch.frames[sample, index])
            assert not torch.equal(pair.frames[0], pair.frames[-1]) and 0 <= pair.qindex <= 250


def test_the_latent_stage_trains_on_them(store, face_store, small_changes, tmp_path, small_model):
    """Beside clips whose frames are coded as key frames; time never runs backwards in a pair."""
    changes = {"steps": 8, "data.crop": 64, "data.batch": 4, "data.workers": 0, "data.reverse": 1.0}
    config = load_stage("latent", {**small_changes, **changes})
    objective = LatentObjective()
    loader = GroupLoader([load_store(store), load_store(face_store)], config.data, objective, 0)
    batch = loader[0]
    qindices = {clip.name: clip.qindex for clip in load_store(store)}
    assert set(torch.cat([loader[step].qindex for step in range(8)]).tolist()) <= {-1, *qindices.values()}
    assert {bool(q) for step in range(8) for q in (loader[step].qindex < 0).tolist()} == {True, False}
    targets = {tuple(clip.data[-1, :64].tolist()) for clip in load_store(store)}
    for frames, qindex in zip(batch.frames, batch.qindex, strict=True):
        assert qindex < 0 or tuple(frames[-1, :64].tolist()) in targets
        assert qindex >= 0 or all(torch.equal(frame, frames[0]) for frame in frames)
    trainer = Trainer(config, small_model, objective, loader, tmp_path / "run", make_fabric("cpu", "32-true"))
    batches = trainer.loader.batches(0)
    figures = [trainer.advance(next(batches), trainer.progress) for _ in range(3)]
    assert all(torch.isfinite(f["loss"]) and torch.isfinite(f["norm"]) for f in figures)


def test_an_index_of_pairs_is_checked(store):
    index = json.loads((store / "index.json").read_text())
    name = next(iter(index))
    for wrong in ([4, 64], [4, 64, 64, 5, 1], [4, 64, 64, 0], [2, 64, 64, 5], [4, 64, 64, "5"]):
        (store / "index.json").write_text(json.dumps({**index, name: wrong}))
        with pytest.raises(InputError, match="not the index of a store"):
            load_store(store)
