"""A stage of training as a TOML file: what to minimise, on which samples, for how long. Unknown names are refused."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import tomli

from imfcodec.config import DEFAULT, PAPER, ModelConfig
from imfcodec.errors import ModelError, UsageError

STAGES = Path(__file__).parent / "stages"
"""The stage files that come with the package."""

MODELS = {"default": DEFAULT, "paper": PAPER}

Section = TypeVar("Section")


@dataclass(frozen=True)
class DataConfig:
    """Samples.

    Attributes:
        crop: height and width of a sample, luma pixels, a multiple of 64.
        batch: samples a step, over all processes.
        workers: loader processes; 0 loads in the training process.
        frames_on_device: "yes" holds all frames on the device as uint8, "no" does not, "auto" on a GPU they fit on.
        reverse, mirror: chance of time running backwards, of left and right exchanged.
        stills: chance of a group made from one photo by synthetic motion, where there are photos.
        zoom: chance of scale jitter, by a factor from `zoom_range` (log-uniform; above 1 enlarges).
        colour: chance of jittered brightness, contrast, saturation and hue, one draw for a whole group.
    """

    crop: int = 128
    batch: int = 8
    workers: int = 1
    frames_on_device: str = "auto"
    reverse: float = 0.5
    mirror: float = 0.5
    stills: float = 0.1
    zoom: float = 0.25
    zoom_range: tuple[float, float] = (0.6, 1.6)
    colour: float = 0.25


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine down to `final_share` of the rate."""

    rate: float = 6e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-4
    warmup_steps: int = 200
    final_share: float = 0.02
    clip_norm: float = 1.0


@dataclass(frozen=True)
class CriticConfig:
    """The perceptual part of a loss, and the optimiser of its discriminator (Adam); the defaults are the paper's.

    Attributes:
        vgg_path: torchvision's VGG-19 weights; empty leaves that term out.
        l1, vgg, gan: weights of the terms.
        gan_from: share of the run after which the discriminator counts; it is trained from the start.
        share: weight of the whole beside rate and squared error.
        augment_images: real pictures it takes to move the chance of augmentation from 0 to 1.
    """

    vgg_path: str = ""
    l1: float = 10.0
    vgg: float = 10.0
    gan: float = 1.0
    gan_from: float = 0.3
    share: float = 1.0
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    augment_images: int = 500_000


@dataclass(frozen=True)
class StageConfig:
    """One stage.

    Attributes:
        name: the file's name without suffix.
        objective: name in `training.objectives.OBJECTIVES`.
        steps, minutes: length; the learning rate follows whichever is given (one must be). Minutes add up over resumes.
        rate_from, rate_until: share of the run over which the rate term is phased in.
        start: name prefixes of the weights taken over from the starting model; an empty one takes all.
        precision: of Lightning Fabric: "32-true", "bf16-mixed" or "16-mixed".
        average_power: the exported weights are an average over the run, step n of N weighing (n / N)^average_power
            (Karras et al. 2024): at 16 mostly the last tenth, however long the run.
        validate_minutes: time between validations.
        critic: perceptual losses beside the objective's, or none.
        options: keyword arguments of the objective.
    """

    name: str
    objective: str
    steps: int | None = None
    minutes: float | None = None
    rate_from: float = 0.0
    rate_until: float = 0.0
    start: tuple[str, ...] = ("",)
    precision: str = "32-true"
    average_power: float = 16.0
    seed: int = 0
    validate_minutes: float = 20.0
    model: ModelConfig = DEFAULT
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    critic: CriticConfig | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise UsageError(f"stage {self.name}: give either steps or minutes")
        if self.data.crop <= 0 or self.data.crop % 64:
            raise UsageError(f"stage {self.name}: crop {self.data.crop} is not a multiple of 64")


def load_stage(name_or_path: str, changes: dict[str, Any] | None = None) -> StageConfig:
    """Read a stage file.

    Args:
        name_or_path: a name in `STAGES`, or a path ending in .toml.
        changes: values to set over those of the file, keys dotted ("data.batch").
    Raises:
        UsageError: no such stage, or its file has an unknown or missing name or a value of the wrong kind.
    """
    path = Path(name_or_path) if name_or_path.endswith(".toml") else STAGES / f"{name_or_path}.toml"
    if not path.is_file():
        known = ", ".join(sorted(stage.stem for stage in STAGES.glob("*.toml")))
        raise UsageError(f"no training stage {name_or_path}; give a .toml file or one of: {known}")
    try:
        values = tomli.loads(path.read_text(encoding="utf-8"))
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    changes = changes or {}
    for length, other in (("steps", "minutes"), ("minutes", "steps")):
        if length in changes:
            values.pop(other, None)
    for key, value in changes.items():
        *sections, name = key.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return _stage(path, values)


def parse_changes(texts: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE texts as changes for `load_stage`; values as TOML writes them, bare words are strings.

    Raises:
        UsageError: a text has no "=".
    """
    changes = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text} is not KEY=VALUE, e.g. data.batch=8")
        try:
            changes[key.strip()] = tomli.loads(f"value = {value}")["value"]
        except tomli.TOMLDecodeError:
            changes[key.strip()] = value.strip()
    return changes


def _stage(path: Path, values: dict[str, Any]) -> StageConfig:
    sections = {
        "data": _section(path, "data", DataConfig, values.pop("data", {})),
        "optimizer": _section(path, "optimizer", OptimizerConfig, values.pop("optimizer", {})),
        "critic": _section(path, "critic", CriticConfig, values.pop("critic")) if "critic" in values else None,
        "model": _model(path, values.pop("model", {})),
        "options": values.pop("options", {}),
    }
    return _section(path, "stage", StageConfig, {"name": path.stem, **values, **sections})


def _section(path: Path, name: str, kind: type[Section], values: dict[str, Any]) -> Section:
    known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise UsageError(f"{path}: {name} has no {', '.join(unknown)}; it knows {', '.join(sorted(known))}")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except TypeError as error:
        raise UsageError(f"{path}: {name}: {error}") from None


def _model(path: Path, values: dict[str, Any]) -> ModelConfig:
    """A named configuration, some of its values changed."""
    base = values.pop("base", "default")
    if base not in MODELS:
        raise UsageError(f"{path}: model base {base} is none of {', '.join(MODELS)}")
    changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return replace(MODELS[base], **changes)
    except (TypeError, ModelError) as error:
        raise UsageError(f"{path}: model: {error}") from None
