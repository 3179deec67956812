"""Stores, samplers, stages, exact resume and export."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch

from imfcodec.errors import InputError, ModelError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.training.dataset import GroupSampler, StoredClip, as_pictures, load_store
from imfcodec.training.export import export
from imfcodec.training.objectives import JointObjective, nominal_step
from imfcodec.training.prepare import prepare
from imfcodec.training.trainer import STAGES, Trainer
from imfcodec.video.writer import open_writer
from imfcodec.zoo import load_model, load_model_by_id


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of two small clips."""
    folder = tmp_path_factory.mktemp("videos")
    video = talking_face_format(96, 80, Fraction(25))
    for name, count in (("long", 70), ("short", 3)):
        with open_writer(folder / f"{name}.mkv", video) as writer:
            for frame in talking_face(video, count):
                writer.write(frame)
    (folder / "notes.txt").write_text("not a video")
    target = tmp_path_factory.mktemp("store")
    assert prepare(folder, target) == 2
    return target


def trainer(store, run, stage="joint", seconds=1e9) -> Trainer:
    torch.manual_seed(1)
    samplers = [GroupSampler(load_store(store), 64, 0)]
    return Trainer(STAGES[stage], samplers, batch=1, rate=1e-4, seconds=seconds, run=run)


class TestData:
    def test_a_store_holds_the_frames(self, store):
        clips = {clip.name: clip for clip in load_store(store)}
        assert {name: len(clip) for name, clip in clips.items()} == {"long": 70, "short": 3}
        first = next(talking_face(talking_face_format(96, 80, Fraction(25)), 1))
        picture = as_pictures(clips["long"].data[:1], 80, 96)
        assert torch.allclose(picture.luma[0, 0], torch.from_numpy(first.y).float() / 255 - 0.5)
        assert torch.allclose(picture.chroma[0, 1], torch.from_numpy(first.v).float() / 255 - 0.5)

    def test_preparing_again_keeps_what_is_there(self, store, tmp_path):
        before = json.loads((store / "index.json").read_text())
        stamp = (store / "long.npy").stat().st_mtime_ns
        (tmp_path / "long.mkv").write_bytes(b"would fail if decoded again")
        prepare(tmp_path, store)
        assert (store / "long.npy").stat().st_mtime_ns == stamp
        (store / "index.json").write_text(json.dumps(before))

    def test_groups_are_cropped_alike(self):
        size = 80 * 96
        frame = np.concatenate([np.arange(size) % 251, np.arange(size // 2) % 241]).astype(np.uint8)
        clip = StoredClip("same", np.stack([frame] * 9), 80, 96)
        sampler = GroupSampler([clip], 64, 3)
        for _ in range(5):
            group = sampler.draw([2, 8])
            assert group.shape == (3, 64 * 64 * 3 // 2)
            assert (group == group[0]).all()

    def test_a_folder_without_store_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="holds no index"):
            load_store(tmp_path)
        with pytest.raises(InputError, match="no video"):
            prepare(tmp_path, tmp_path / "store")


def test_every_kind_of_group_gives_a_finite_loss(store):
    network = trainer(store, store).network
    sampler = GroupSampler(load_store(store), 64, 4)
    names: set[str] = set()
    for _ in range(6):
        parts = JointObjective(1)(network, [sampler], 1.0)
        assert torch.isfinite(parts.loss)
        names |= set(parts.figures)
    assert {"key_psnr_y", "ahead_bits_256", "last_bits_256", "token2_psnr_y"} <= names


def test_the_price_of_a_bit_falls_with_quality():
    steps = nominal_step(torch.arange(256))
    assert steps[0] == pytest.approx(2.0) and steps[-1] == pytest.approx(0.02) and (steps.diff() < 0).all()


def test_training_lowers_the_loss(store, tmp_path):
    run = trainer(store, tmp_path, "key")
    run.initialise()
    run.rate = 1e-3
    run.step = 200  # past the warm-up
    losses = [run.advance()["loss"] for _ in range(30)]
    assert np.mean(losses[-6:]) < np.mean(losses[:6])


def test_resume_is_exact(store, tmp_path):
    whole = trainer(store, tmp_path / "a")
    for _ in range(2):
        whole.advance()
    whole.save()
    expected = [whole.advance()["loss"] for _ in range(2)]
    resumed = trainer(store, tmp_path / "a")
    resumed.resume()
    assert [resumed.advance()["loss"] for _ in range(2)] == expected
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


class TestExport:
    def test_an_exported_model_loads_and_is_known_by_its_hash(self, store, tmp_path):
        network = trainer(store, tmp_path).network
        path = tmp_path / "small.safetensors"
        export(network, path)
        first = load_model(str(path))
        export(network, path)
        assert load_model(str(path)).model_id == first.model_id and len(first.model_id) == 8
        loaded = first.network.latent_prior.groups[0].index[0]
        ours = network.latent_prior.groups[0].index[0]
        x = torch.randint(0, 128, (1, ours.weight.shape[1], 4, 4)) / 16
        assert torch.equal(loaded(x), ours(x))
        with pytest.raises(ModelError, match="not installed"):
            load_model_by_id(first.model_id)

    def test_training_goes_on_from_an_exported_model(self, store, tmp_path):
        first = trainer(store, tmp_path)
        first.initialise()
        export(first.network, tmp_path / "small.safetensors")
        second = trainer(store, tmp_path)
        second.load_weights(tmp_path / "small.safetensors")
        for name, value in second.network.frame_decoder.state_dict().items():
            assert torch.allclose(value, first.network.frame_decoder.state_dict()[name], atol=1e-3), name

    def test_damaged_and_missing_models_are_refused(self, tmp_path):
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(b"\xff" * 100)
        with pytest.raises(ModelError, match="not a model file"):
            load_model(str(broken))
        with pytest.raises(ModelError, match="no model nothing"):
            load_model("nothing")
