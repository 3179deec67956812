"""Training: it learns, stops and resumes exactly, in one process and in several; export; the command."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from imfcodec.cli import run as run_command
from imfcodec.errors import InputError, ModelError, UsageError
from imfcodec.training.checkpoint import load_checkpoint
from imfcodec.training.config import load_stage
from imfcodec.training.export import export
from imfcodec.training.start import load_trained, read_start, start_as_transform_codec
from imfcodec.training.tables import SymbolCounts
from imfcodec.training.trainer import MOST_PASSED_OVER, DivergenceError, learning_rate, power_average, rate_weight
from imfcodec.zoo import load_model, load_model_by_id

ROOT = Path(__file__).parent.parent.parent
SMALL = ["data.crop=64", "data.workers=0", "data.stills=0.0", "data.zoom=0.0"]


def test_training_lowers_the_loss(make_trainer, advance):
    trainer = make_trainer("latent", **{"optimizer.rate": 1e-3, "optimizer.warmup_steps": 1, "data.batch": 2})
    start_as_transform_codec(trainer.model.network, next(trainer.loader.batches(0)).pictures()[0])
    batches = list(itertools.islice(trainer.loader.batches(1000), 6))

    @torch.no_grad()
    def cost():
        return np.mean([float(trainer.module(batch, 1.0).loss) for batch in batches])

    before = cost()
    advance(trainer, 30)
    assert cost() < before - 0.05, "the logarithm: 5 % less rate and distortion"


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("joint", {}),
        ("joint", {"precision": "bf16-mixed"}),
        ("perceptual", {"critic.gan_from": 0.0, "precision": "32-true"}),
    ],
)
def test_resume_is_exact(make_trainer, advance, stage, changes):
    whole = make_trainer(stage, **changes)
    advance(whole, 2)
    whole.save()
    expected = advance(whole, 2)
    resumed = make_trainer(stage, **changes)
    resumed.resume()
    assert resumed.step == 2 and advance(resumed, 2) == expected
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    if whole.critic:
        for name, value in whole.critic.critic.state_dict().items():
            assert torch.equal(value, resumed.critic.critic.state_dict()[name]), name
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name


def test_a_checkpoint_of_another_stage_is_refused(make_trainer, advance, tmp_path):
    make_trainer("latent").save()
    with pytest.raises(UsageError, match="stage latent"):
        make_trainer("joint").resume()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(InputError, match="give the checkpoint"):
        make_trainer("latent").resume()


def test_the_average_weighs_late_steps_by_a_power_of_their_number():
    values = torch.rand(20)
    average = torch.optim.swa_utils.AveragedModel(torch.nn.Linear(1, 1), multi_avg_fn=power_average(3))
    for value in values:
        linear = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(linear.weight, float(value))
        average.update_parameters(linear)
    weights = torch.arange(21.0).pow(4).diff() / 20**4  # the integral of 4 (n / N)^3 over each step
    assert float(average.module.weight) == pytest.approx(float((weights * values).sum()), rel=1e-5)


def test_divergence_is_noticed_before_it_does_harm(make_trainer, advance):
    trainer = make_trainer("latent")
    network = trainer.model.network
    weight = network.reference_decoder.synthesis.weight
    with torch.no_grad():
        weight[0, 0] = float("nan")
    other = network.dense_feature_encoder.analysis.weight.clone()
    advance(trainer, MOST_PASSED_OVER - 1)
    with pytest.raises(DivergenceError, match="those before it are not finite; resume from"):
        advance(trainer, 1)
    assert torch.equal(other, network.dense_feature_encoder.analysis.weight)


def test_the_discriminator_learns_beside_the_network(make_trainer, advance):
    trainer = make_trainer("perceptual", **{"critic.gan_from": 0.015, "precision": "32-true"})
    before = [p.clone() for p in trainer.critic.critic.parameters()]
    batches = trainer.loader.batches(0)
    figures = [trainer.advance(next(batches), trainer.progress) for _ in range(3)]
    assert ["critic/gan" in f for f in figures] == [False, False, True]
    assert all({"critic/l1", "critic/discriminator", "critic/augment"} <= set(f) for f in figures)
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.critic.critic.parameters(), strict=True))


def test_schedules():
    config = load_stage("align", {"steps": 1000, "optimizer.rate": 1.0, "rate_from": 0.3, "rate_until": 0.5})
    assert learning_rate(config, 0, 0.0) == pytest.approx(1 / 200)
    assert learning_rate(config, 500, 0.5) == pytest.approx(0.51)
    assert learning_rate(config, 999, 1.0) == pytest.approx(0.02)
    assert [rate_weight(config, p) for p in (0.0, 0.4, 0.5, 1.0)] == pytest.approx([1e-3, 0.5, 1, 1])


def test_a_run_logs_validates_and_exports(make_trainer, tmp_path):
    trainer = make_trainer("align", steps=2)

    result = SimpleNamespace(figures={"val/psnr_y": 30.0}, pictures={"val/face": np.zeros((4, 8, 3), np.uint8)})
    models = []
    trainer.validate = lambda model: models.append(load_model(str(model))) or result
    trainer.train()
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert entries[0] == {"step": 0, "seconds": 0.0, "val/psnr_y": 30.0}
    assert entries[1]["step"] == 2 and {"loss", "norm", "live/g", "token/psnr_y"} <= set(entries[1])
    assert entries[2]["val/psnr_y"] == 30.0 and len(models) == 2
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


def test_a_run_stops_when_its_time_is_up_and_goes_on_later(make_trainer):
    trainer = make_trainer("align", steps=50)
    trainer.train(stop_after=1e-6)
    again = make_trainer("align", steps=50)
    again.resume()
    assert trainer.step == again.step == 1


class TestExport:
    def test_an_exported_model_loads_and_is_known_by_its_hash(self, make_trainer, tmp_path):
        model = make_trainer("latent").model
        path, counts = tmp_path / "small.safetensors", SymbolCounts(model.network.config.hyper_channels)
        export(model.network, model.bottleneck, counts, path)
        first = load_model(str(path))
        export(model.network, model.bottleneck, counts, path)
        assert load_model(str(path)).model_id == first.model_id and len(first.model_id) == 8
        loaded = first.network.latent_prior.indices.body
        ours = model.network.latent_prior.indices.body
        x = torch.randint(0, 128, (1, ours.weight.shape[1], 4, 4)) / 16
        assert torch.equal(loaded(x), ours(x))
        assert first.network.config == model.network.config
        with pytest.raises(ModelError, match="not installed"):
            load_model_by_id(first.model_id)

    def test_a_run_exports_its_averaged_weights_with_tables_fitted_to_them(self, make_trainer, advance):
        trainer = make_trainer("joint")
        advance(trainer, 2)
        path = trainer.export()
        loaded, average = load_model(str(path)), trainer.average.module
        name = "latent_prior.means.body.0.enter.weight"
        assert torch.equal(loaded.network.state_dict()[name], average.network.state_dict()[name].half().float())
        assert average.counts is None and trainer.model.counts is None
        unfitted = path.with_name("unfitted.safetensors")
        export(average.network, average.bottleneck, SymbolCounts(average.network.config.hyper_channels), unfitted)
        assert load_model(str(unfitted)).model_id != loaded.model_id, "symbols were counted"

    def test_training_goes_on_from_a_model_file_or_a_checkpoint(self, make_trainer, tmp_path):
        first = make_trainer("latent", "first")
        torch.nn.init.normal_(first.model.bottleneck.biases[0])
        first.average.module.load_state_dict(first.model.state_dict())
        first.save()
        trained = load_trained(str(tmp_path / "first" / "checkpoint.pt"))
        counts = SymbolCounts(trained.network.config.hyper_channels)
        export(trained.network, trained.bottleneck, counts, tmp_path / "small.safetensors")
        for source, tolerance in (("small.safetensors", 1e-3), ("first/checkpoint.pt", 0)):
            second = make_trainer("latent", "second").model
            torch.nn.init.ones_(second.network.alignment.merge.weight)
            weights = read_start(second, str(tmp_path / source), ("reference_decoder", "latent_prior"))
            second.load_state_dict(weights, strict=False)
            assert (second.network.alignment.merge.weight == 1).all()
            third = load_trained(str(tmp_path / source))
            for name, value in first.model.state_dict().items():
                if name.startswith(
                    ("network.reference_decoder", "network.latent_prior", "bottleneck.matrices", "bottleneck.biases")
                ):
                    assert torch.allclose(value, second.state_dict()[name], atol=tolerance), name
                    assert torch.allclose(value, third.state_dict()[name], atol=tolerance), name

    def test_weights_of_another_shape_are_refused(self, make_trainer, tmp_path):
        make_trainer("latent", "first").save()
        other = make_trainer("latent", "second", **{"model.reference_channels": 48})
        with pytest.raises(UsageError, match="has another shape"):
            read_start(other.model, str(tmp_path / "first" / "checkpoint.pt"), ("",))

    def test_damaged_and_missing_models_are_refused(self, tmp_path):
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(b"\xff" * 100)
        with pytest.raises(ModelError, match="not a model file"):
            load_model(str(broken))
        with pytest.raises(ModelError, match="no model nothing"):
            load_model("nothing")


def test_two_processes_follow_the_curve_of_one_with_the_double_batch(face_store, small_model, small_changes, tmp_path):
    counts, start = SymbolCounts(small_model.network.config.hyper_channels), tmp_path / "start.safetensors"
    export(small_model.network, small_model.bottleneck, counts, start)
    changes = [*SMALL, "steps=4", "data.batch=2", "optimizer.warmup_steps=1", "rate_from=0.0", "rate_until=0.0"]
    changes += ["precision=32-true", *(f"{key}={value}" for key, value in small_changes.items())]
    command = ["-m", "imfcodec", "train", "align", "--data", str(face_store), "--from", str(start)]
    command += ["--device", "cpu", "--threads", "1", *(item for change in changes for item in ("--set", change))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, prefix in (("one", []), ("two", launch)):
        process = subprocess.run(
            [sys.executable, *prefix, *command, "--output", str(tmp_path / name)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
    one, two = (json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[0]) for name in ("one", "two"))
    assert one["step"] == two["step"] == 4
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4) and two["norm"] == pytest.approx(one["norm"], rel=1e-3)
    weights = [load_checkpoint(tmp_path / name / "checkpoint.pt")["weights"] for name in ("one", "two")]
    name = "network.alignment.coarse.attention.query.weight"
    moved = (weights[0][name] - load_trained(str(start)).state_dict()[name]).abs().max()
    assert moved > 0 and (weights[0][name] - weights[1][name]).abs().max() < 0.02 * moved


class TestCommand:
    def test_overfit_trains_on_one_clip(self, face_y4m, tmp_path, capsys):
        arguments = ["train", "--overfit", str(face_y4m), "--output", str(tmp_path / "run")]
        arguments += ["--threads", "1", "--device", "cpu"]
        for change in (*SMALL, "steps=2", "data.batch=1", "options.lengths=[4]"):
            arguments += ["--set", change]
        assert run_command(arguments) == 0
        printed = capsys.readouterr()
        model = Path(printed.out.strip())
        assert model == tmp_path / "run" / "model.safetensors" and load_model(str(model))
        assert "val/q20/psnr_y" in printed.err
        assert run_command([*arguments, "--set", "steps=3"]) == 0
        assert "going on from step 2" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["train", "--output", "x"], "needs a STAGE and --data"),
            (["train", "nothing", "--data", ".", "--output", "x"], "no training stage nothing"),
            (["train", "latent", "--data", "missing", "--output", "x"], "missing"),
        ],
    )
    def test_faulty_calls_end_with_one_line(self, arguments, message, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert run_command(arguments) in (2, 3)
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
        assert not any(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["--data", "missing"], 3, "missing"),
            (["--from", "nowhere.pt"], 3, "nowhere.pt"),
            (["--set", "options.nothing=1"], 2, "nothing"),
            (["--set", "data.crop=4096"], 3, "4096"),
            (["--set", "data.frames_on_device=perhaps"], 2, "frames_on_device"),
        ],
    )
    def test_wrong_arguments_leave_no_folder(
        self, arguments, code, message, small_changes, face_folder, tmp_path, capsys, monkeypatch
    ):
        """Whether they are found before anything is decoded or after."""
        monkeypatch.chdir(tmp_path)
        assert run_command([*_small_run(small_changes, face_folder), *arguments]) == code
        assert message in capsys.readouterr().err
        assert not any(tmp_path.iterdir())

    def test_what_cannot_be_read_leaves_folders_of_others(self, small_changes, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for place in ("papers", "runs"):
            (tmp_path / place).mkdir()
            (tmp_path / place / "mine.txt").write_text("no picture")
        assert run_command(_small_run(small_changes, tmp_path / "papers")) == 3
        assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["mine.txt"]
        (tmp_path / "runs" / "new").mkdir()
        assert run_command(_small_run(small_changes, tmp_path / "papers")) == 3
        assert (tmp_path / "runs" / "new").is_dir(), "it was there before"


def _small_run(changes, data):
    """Arguments of a short run of the small model into runs/new."""
    settings = [*SMALL, "steps=1", *(f"{name}={json.dumps(value)}" for name, value in changes.items())]
    command = ["train", "joint", "--data", str(data), "--output", "runs/new", "--device", "cpu"]
    return command + [part for setting in settings for part in ("--set", setting)]
