"""A stage of training from folders of videos to a model file, in one process or under torchrun in several."""

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor

from imfcodec.errors import ImfError, UsageError
from imfcodec.training.config import StageConfig
from imfcodec.training.critic import CriticTrainer
from imfcodec.training.dataset import as_pictures
from imfcodec.training.loader import GroupLoader
from imfcodec.training.objectives import make_objective
from imfcodec.training.prepare import open_stores
from imfcodec.training.rollout import TrainedModel
from imfcodec.training.start import read_start, start_as_transform_codec
from imfcodec.training.trainer import CHECKPOINT, MODEL, Trainer, Validate

START_PICTURES = 600  # from which the first transform is computed


def train(
    config: StageConfig,
    data: Sequence[Path],
    run: Path,
    *,
    start: str | None = None,
    store: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    stop_after: float | None = None,
    validate: Validate | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Train one stage, going on where the run's checkpoint stopped if there is one.

    Args:
        data: folders of videos and photos, or stores made of them before; each has the same weight.
        run: folder for checkpoint, model and log.
        start: checkpoint, model file or name of a model to take weights from (`StageConfig.start` says which).
        store: folder for decoded frames; None for one in `run`.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads; None for all.
        stop_after: minutes after which to stop, complete with checkpoint and model; None for the end of the stage.
    Returns:
        The model file, made of the averaged weights.
    Raises:
        ImfError: input, options or checkpoint are not in order, or training diverged.
    """
    fabric = make_fabric(device, config.precision)
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    say = say if fabric.is_global_zero else _say_nothing
    objective = make_objective(config.objective, config.options)
    model = TrainedModel(config.model)
    resuming = (run / CHECKPOINT).exists()
    weights = read_start(model, start, config.start) if start and not resuming else {}
    critic = CriticTrainer(config.critic, fabric) if config.critic else None
    if critic and critic.critic.notice:
        say(critic.critic.notice)
    with _removed_on_error(run):
        with fabric.rank_zero_first():  # the first process decodes, the others find the frames
            stores = open_stores(data, store or run / "store")
        loader = GroupLoader(
            stores, config.data, objective, config.seed, fabric.global_rank, fabric.world_size, fabric.device
        )
        loader.check_step(0)
        if not resuming:
            _start(model, loader, weights, config)
    trainer = Trainer(config, model, objective, loader, run, fabric, critic=critic, validate=validate, say=say)
    if resuming:
        trainer.resume()
        say(f"going on from step {trainer.step} of {run / CHECKPOINT}")
    trainer.train(math.inf if stop_after is None else stop_after)
    return run / MODEL


def make_fabric(device: str, precision: str) -> Fabric:
    """Fabric for this process, or for all of torchrun's."""
    local, world = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("WORLD_SIZE", 1))
    strategy = DDPStrategy(find_unused_parameters=True) if world > 1 else "auto"  # not every step uses every part
    try:
        fabric = Fabric(
            accelerator=device,
            strategy=strategy,
            devices=local,
            num_nodes=world // local,
            precision=precision,  # type: ignore[arg-type]  # a Literal there
        )
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"cannot train on device {device} with precision {precision}: {error}") from None
    fabric.launch()
    return fabric


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    """Remove a folder that is made within, and those around it, where an error shows that it was made for nothing."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except ImfError:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # others may have put something into them
            for place in made[1:]:
                place.rmdir()
        raise


def _start(model: TrainedModel, loader: GroupLoader, weights: dict[str, Tensor], config: StageConfig) -> None:
    if not weights or "" not in config.start:  # something keeps the weights it begins with
        size, count = config.data.crop, -(-START_PICTURES // config.data.batch)
        frames = [batch.frames[:, -1] for batch, _ in zip(loader.batches(0), range(count), strict=False)]
        start_as_transform_codec(model.network, as_pictures(torch.cat(frames).cpu(), size, size))
    model.load_state_dict(weights, strict=False)


def _say_nothing(line: str) -> None:
    """Processes other than the first are silent."""
