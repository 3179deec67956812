"""The training loop: precision and processes by Lightning Fabric, averaged weights, checkpoints that resume exactly.

Everything random in a step follows from (seed, step, process), so the step number is all there is to restore.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from imfcodec.errors import ImfError, UsageError
from imfcodec.files import make_folder
from imfcodec.nn.picture import Picture
from imfcodec.training.checkpoint import load_checkpoint, save_checkpoint
from imfcodec.training.config import StageConfig
from imfcodec.training.critic import CriticTrainer
from imfcodec.training.dataset import Batch
from imfcodec.training.export import export
from imfcodec.training.loader import GroupLoader
from imfcodec.training.logbook import Logbook
from imfcodec.training.objectives import Objective
from imfcodec.training.rollout import TrainedModel
from imfcodec.training.tables import SymbolCounts
from imfcodec.training.watch import TokenEntropy

LOG_SECONDS, SAVE_SECONDS = 30.0, 180.0
MOST_PASSED_OVER = 5
SPIKE, SPIKE_FROM = 3.0, 20  # factor, and steps before it is known what is usual
FITTING_BATCHES = 24  # to which exported tables are fitted
CHECKPOINT, MODEL = "checkpoint.pt", "model.safetensors"


class ValidationResult(Protocol):
    """Figures by name, and pictures uint8 [H, W, 3] by name."""

    @property
    def figures(self) -> Mapping[str, float]: ...
    @property
    def pictures(self) -> Mapping[str, npt.NDArray[np.uint8]]: ...


Validate = Callable[[Path], ValidationResult]
"""Measures a model file."""


class DivergenceError(ImfError):
    """Training has left the finite numbers."""


Tensors = tuple[Tensor, ...] | list[Tensor]

PerceptualLoss = Callable[[list[Picture], list[Picture]], tuple[Tensor, dict[str, Tensor]]]
"""Loss and figures of decoded pictures and their originals."""


class StepResult(NamedTuple):
    """What the data-parallel module returns.

    Attributes:
        loss, figures: to be minimised, and detached figures to be logged.
        decoded, targets: detached decoded pictures and their originals, for the critic; empty without one.
    """

    loss: Tensor
    figures: dict[str, Tensor]
    decoded: list[Picture]
    targets: list[Picture]


class TrainingStep(nn.Module):
    """Model and objective as one module: data-parallel training needs a single forward pass a step."""

    def __init__(self, model: TrainedModel, objective: Objective, perceptual: PerceptualLoss | None = None) -> None:
        super().__init__()
        self.model, self.objective, self.perceptual = model, objective, perceptual
        self.entropy = TokenEntropy()

    def forward(self, batch: Batch, rate_weight: float) -> StepResult:
        parts = self.objective(self.model, batch, rate_weight)
        self.entropy.add(parts.outcomes.values())
        loss, figures = parts.loss, parts.figures
        decoded: list[Picture] = []
        targets: list[Picture] = []
        if self.perceptual is not None:
            decoded = [outcome.picture for outcome in parts.outcomes.values()]
            targets = [outcome.target for outcome in parts.outcomes.values()]
            extra, more = self.perceptual(decoded, targets)
            loss, figures = loss + extra, figures | more
        figures = {"loss": loss.detach(), **figures}
        return StepResult(loss, figures, [Picture(*(plane.detach() for plane in p)) for p in decoded], targets)


class Trainer:
    """Trains a model; stops, saves and resumes at any step.

    Args:
        model: to be trained, moved to Fabric's device.
        critic: perceptual losses, and the discriminator that is trained beside the network; or none.
        run: folder for checkpoint, model and log.
        validate: measures the exported model from time to time (first process only); None for never.
        say: is told what happens, one line each.
    """

    def __init__(
        self,
        config: StageConfig,
        model: TrainedModel,
        objective: Objective,
        loader: GroupLoader,
        run: Path,
        fabric: Fabric,
        *,
        critic: CriticTrainer | None = None,
        validate: Validate | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.config, self.loader, self.run, self.fabric = config, loader, run, fabric
        self.validate, self.say = validate, say
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster everywhere
        settings = config.optimizer
        optimizer = torch.optim.AdamW(
            model.parameters(), settings.rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
        self.critic = critic
        perceptual = critic.generator_loss if critic else None
        self.module, self.optimizer = fabric.setup(TrainingStep(self.model, objective, perceptual), optimizer)
        self.average = AveragedModel(self.model, multi_avg_fn=power_average(config.average_power))
        self.step, self.seconds = 0, 0.0
        self._passed_over = 0  # steps in a row
        if fabric.is_global_zero:
            make_folder(run)
        self.log = Logbook(run if fabric.is_global_zero else None, say)

    @property
    def progress(self) -> float:
        """Share of the stage that is done, 0..1, the same in all processes."""
        if self.config.steps is not None:
            return min(1.0, self.step / self.config.steps)
        assert self.config.minutes is not None
        return min(1.0, self.seconds / (60 * self.config.minutes))

    def train(self, stop_after: float = math.inf) -> None:
        """Train to the end of the stage, or for `stop_after` minutes more, then save, export and validate."""
        self.model.train()
        if self.step == 0:
            self._validate()  # what the run starts from
        stop = self.seconds + 60 * stop_after
        last_log = last_save = last_validation = self.seconds
        progress = self.progress
        for batch in self.loader.batches(self.step):
            if progress >= 1:
                break
            begin = time.monotonic()
            self.log.add(self.advance(batch, progress))
            # The clock of the first process is everybody's: all must save and stop at one step.
            now = self.seconds = self.fabric.broadcast(self.seconds + time.monotonic() - begin)
            progress = self.progress
            if now - last_log > LOG_SECONDS:
                self._write_log()
                last_log = now
            if now - last_save > SAVE_SECONDS:
                self.save()
                last_save = now
            if now - last_validation > 60 * self.config.validate_minutes:
                self._validate()
                last_validation = now
            if now >= stop:
                break
        self._write_log()
        self.save()
        self._validate()
        self.log.close()

    def advance(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Take one optimisation step; returns the figures of the batch.

        A step whose gradient is not finite is passed over: the weights are left as they were.

        Raises:
            DivergenceError: that was the case `MOST_PASSED_OVER` times in a row.
        """
        torch.manual_seed(_seed(self.config.seed, self.step, self.fabric.global_rank))
        if self.critic is not None:
            self.critic.progress = progress
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step, progress)
        self.optimizer.zero_grad(set_to_none=True)
        result = self.module(batch, rate_weight(self.config, progress))
        self.fabric.backward(result.loss)
        norm = self.fabric.clip_gradients(
            self.module, self.optimizer, max_norm=self.config.optimizer.clip_norm, error_if_nonfinite=False
        )
        assert norm is not None
        figures = {**result.figures, "norm": norm}
        if torch.isfinite(norm) or self.config.precision == "16-mixed":  # there the scaler passes over the step
            limit_spikes(self.optimizer)
            self.optimizer.step()
            self.average.update_parameters(self.model)
            self._passed_over = 0
            figures |= self.critic.advance(result.decoded, result.targets) if self.critic else {}
        else:
            self._pass_over()
        self.step += 1
        return figures

    def _pass_over(self) -> None:
        self._passed_over += 1
        if self._passed_over == MOST_PASSED_OVER:
            raise DivergenceError(
                f"the gradient of step {self.step} and those before it are not finite; resume from "
                f"{self.run / CHECKPOINT} at a lower rate"
            )
        self.say(f"warning, step {self.step}: the gradient is not finite, passed over")

    def save(self) -> None:
        """Write the checkpoint, all of it or nothing."""
        state = {
            "stage": self.config.name,
            "model": self.config.model.to_dict(),
            "weights": self.model.state_dict(),
            "average": self.average.module.state_dict(),
            "averaged": self.average.n_averaged,
            "optimizer": self.optimizer.state_dict(),
            "critic": self.critic.state_dict() if self.critic else None,
            "precision": self.fabric.strategy.precision.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        if self.fabric.is_global_zero:
            save_checkpoint(self.run / CHECKPOINT, state)

    def resume(self) -> None:
        """Go on exactly where the run's checkpoint stopped.

        Raises:
            InputError: the checkpoint cannot be read.
            UsageError: it is of another stage or model.
        """
        path = self.run / CHECKPOINT
        state = load_checkpoint(path)
        if (state["stage"], state["model"]) != (self.config.name, self.config.model.to_dict()):
            raise UsageError(f"{path} is of stage {state['stage']} or another model; choose another --output")
        self.model.load_state_dict(state["weights"])
        self.average.module.load_state_dict(state["average"])
        self.average.n_averaged.copy_(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        if self.critic is not None:
            self.critic.load_state_dict(state["critic"])
        self.step, self.seconds = state["step"], state["seconds"]

    def export(self) -> Path:
        """Write the averaged weights as a model file, tables fitted to what they code of some batches."""
        path = self.run / MODEL
        average = self.average.module
        assert isinstance(average, TrainedModel)
        average.counts = counts = SymbolCounts(average.network.config.hyper_channels)
        with torch.no_grad(), self.fabric.autocast():
            for batch in itertools.islice(self.loader.batches(0), FITTING_BATCHES):
                self.module.objective(average, batch, 1.0)
        average.counts = None
        export(average.network, average.bottleneck, counts, path)
        return path

    def _write_log(self) -> None:
        figures = self.log.means()
        if not figures:
            return
        names, values = list(figures), torch.tensor(list(figures.values()), device=self.fabric.device)
        means = self.fabric.all_reduce(values, reduce_op="mean")
        assert isinstance(means, Tensor)
        figures = dict(zip(names, means.tolist(), strict=True))
        shares = self.module.entropy.live_shares()
        figures |= {f"live/{name}": share for name, share in shares.items()}
        figures["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        self.log.write(self.step, self.seconds, figures)
        loss, left = figures["loss"], self.progress
        self.say(f"step {self.step}, {self.seconds / 60:.1f} min, {left:.0%}: loss {loss:.4f}")

    def _validate(self) -> None:
        if self.fabric.is_global_zero:
            model = self.export()
            if self.validate is not None:
                result = self.validate(model)
                self.log.write(self.step, self.seconds, result.figures)
                self.log.pictures(self.step, result.pictures)
                self.say(", ".join(f"{name} {value:.2f}" for name, value in result.figures.items()))
        self.fabric.barrier()


@torch.no_grad()
def limit_spikes(optimizer: torch.optim.Optimizer) -> None:
    """Scale the gradient of each tensor down to `SPIKE` times what it has been so far, root mean square.

    Biases make up most of the gradient's norm, and clipping holds it to one norm in all: a rare batch that is hard for
    the weights would move all of a layer's by several times the rate, in one direction. Training ran away after such.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state, gradient = optimizer.state.get(parameter), parameter.grad
            if gradient is None or not state or state["step"] < SPIKE_FROM:
                continue
            known = state["exp_avg_sq"].mean() / (1 - group["betas"][1] ** float(state["step"]))
            gradient.mul_((SPIKE * (known / (gradient.square().mean() + 1e-30)).sqrt()).clamp(max=1.0))


def learning_rate(config: StageConfig, step: int, progress: float) -> float:
    """Linear warm-up by steps, cosine by progress."""
    settings = config.optimizer
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return settings.rate * warm * (cosine * (1 - settings.final_share) + settings.final_share)


def power_average(power: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Update rule of an `AveragedModel` in which the n-th of N steps weighs (n / N)^power."""

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
        share = 1 - (1 - 1 / (float(count) + 1)) ** (power + 1)
        torch._foreach_lerp_(averaged, current, share)

    return update


def rate_weight(config: StageConfig, progress: float) -> float:
    """Weight of the rate term: 0.001 before `rate_from`, 1 from `rate_until` on, linear between."""
    ramp = config.rate_until - config.rate_from
    weight = min(1.0, max(0.0, (progress - config.rate_from) / ramp)) if ramp > 0 else 1.0
    return max(weight, 1e-3)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
