"""Stage files."""

import pytest

from imfcodec.config import DEFAULT, PAPER
from imfcodec.errors import UsageError
from imfcodec.training.config import STAGES, load_stage, parse_changes
from imfcodec.training.objectives import make_objective

NAMES = sorted(path.stem for path in STAGES.glob("*.toml"))


def test_the_stages_of_the_package_are_there():
    assert {"latent", "align", "joint", "joint-full", "overfit"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_stage_of_the_package_loads(name):
    config = load_stage(name)
    assert config.name == name and (config.steps is None) != (config.minutes is None)
    make_objective(config.objective, config.options)


def test_values_can_be_changed(tmp_path):
    texts = ["data.batch=3", "steps=7", "precision=bf16-mixed", "model.base=paper", "options.lengths=[4, 8]"]
    changes = parse_changes(texts)
    config = load_stage("joint", changes)
    assert (config.data.batch, config.steps, config.minutes, config.precision) == (3, 7, None, "bf16-mixed")
    assert config.model == PAPER and make_objective(config.objective, config.options).lengths == (4, 8)
    assert load_stage("joint").model == DEFAULT


def test_a_path_is_a_stage(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('objective = "latent"\nsteps = 5\n[model]\nreference_depth = 2\n')
    config = load_stage(str(path))
    assert (config.name, config.steps, config.model.reference_depth) == ("mine", 5, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('objective = "latent"', "either steps or minutes"),
        ('objective = "latent"\nsteps = 1\nminutes = 1', "either steps or minutes"),
        ('objective = "latent"\nsteps = 1\nspeed = 2', "stage has no speed"),
        ('objective = "latent"\nsteps = 1\n[data]\nsize = 2', "data has no size"),
        ('objective = "latent"\nsteps = 1\n[data]\ncrop = 100', "multiple of 64"),
        ('objective = "latent"\nsteps = 1\n[model]\nwidth = 2', "model"),
        ('objective = "latent"\nsteps = 1\n[model]\nbase = "huge"', "none of default, paper"),
        ("steps = 1", "objective"),
        ("steps = ", "not TOML"),
    ],
)
def test_faulty_stages_are_refused(tmp_path, text, message):
    path = tmp_path / "faulty.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as error:
        load_stage(str(path))
    assert "\n" not in str(error.value)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match=r"give a \.toml file or one of: align"):
        load_stage("nothing")
    with pytest.raises(UsageError, match="there are latent, align, joint"):
        make_objective("nothing", {})
    with pytest.raises(UsageError, match="unexpected keyword argument 'spam'"):
        make_objective("latent", {"spam": 1})
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_changes(["steps"])
