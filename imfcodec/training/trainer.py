"""The training loop: stages, learning rate, moving average of the weights, resumable checkpoints.

python -m imfcodec.training.trainer STAGE --store DIR [--store DIR] --run DIR --minutes N [--start CHECKPOINT]
"""

import json
import math
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from safetensors.torch import load_file

from imfcodec.config import DEFAULT
from imfcodec.errors import InputError
from imfcodec.models.network import ImfNetwork
from imfcodec.training.dataset import GroupSampler, as_pictures, load_store
from imfcodec.training.objectives import JointObjective, KeyObjective
from imfcodec.training.start import start_as_transform_codec


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        objective: class of the loss.
        rate_from, rate_until: share of the run over which the rate term is phased in.
    """

    objective: type[KeyObjective] | type[JointObjective]
    rate_from: float = 0.0
    rate_until: float = 0.0


STAGES = {
    "key": Stage(KeyObjective, rate_from=0.0, rate_until=0.05),
    "joint": Stage(JointObjective),
}


class Trainer:
    """Trains a network for a given time; stops, saves and resumes at any step."""

    def __init__(
        self, stage: Stage, samplers: list[GroupSampler], *, batch: int, rate: float, seconds: float, run: Path
    ) -> None:
        self.stage, self.samplers, self.seconds, self.run = stage, samplers, seconds, run
        self.network = ImfNetwork(DEFAULT).to(memory_format=torch.channels_last)  # faster on CPUs and GPUs alike
        self.objective = stage.objective(batch)
        self.rate, self.step, self.spent = rate, 0, 0.0
        quantiles = [p for n, p in self.network.named_parameters() if n.endswith("quantiles")]
        others = [p for n, p in self.network.named_parameters() if not n.endswith("quantiles")]
        self.optimizer = torch.optim.AdamW([{"params": others}, {"params": quantiles}], rate, weight_decay=1e-4)
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        run.mkdir(parents=True, exist_ok=True)

    def initialise(self) -> None:
        """Start as a transform codec."""
        size = self.samplers[0].size
        frames = np.concatenate([sampler.draw([]) for sampler in self.samplers for _ in range(300)])
        start_as_transform_codec(self.network, as_pictures(frames, size, size))
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}

    def load_weights(self, path: Path, prefixes: tuple[str, ...] = ("",)) -> None:
        """Take weights whose names start with one of `prefixes` from a checkpoint or an exported model."""
        exported = path.suffix == ".safetensors"
        state = load_file(path) if exported else torch.load(path, weights_only=True)["average"]
        chosen = {n: v.float() for n, v in state.items() if n.startswith(prefixes) and not n.startswith("tables.")}
        self.network.load_state_dict(chosen, strict=False)
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}

    def resume(self) -> None:
        """Go on exactly where the run's checkpoint stopped."""
        state = torch.load(self.run / "checkpoint.pt", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step, self.spent = state["average"], state["step"], state["spent"]
        torch.set_rng_state(state["torch_rng"])
        for sampler, generator in zip(self.samplers, json.loads(state["samplers"]), strict=True):
            sampler.generator.bit_generator.state = generator

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "step": self.step,
            "spent": self.spent,
            "torch_rng": torch.get_rng_state(),
            "samplers": json.dumps([s.generator.bit_generator.state for s in self.samplers]),
        }
        partial = self.run / "checkpoint.pt.part"
        torch.save(state, partial)
        os.replace(partial, self.run / "checkpoint.pt")

    def train(self) -> None:
        """Train until the time is spent, logging every half minute and saving every three minutes."""
        figures: dict[str, list[float]] = defaultdict(list)
        begin, logged, saved = time.monotonic() - self.spent, self.spent, self.spent
        while self.spent < self.seconds:
            for name, value in self.advance().items():
                figures[name].append(value)
            self.spent = time.monotonic() - begin
            if self.spent - logged > 30:
                self._log(figures)
                figures.clear()
                logged = self.spent
            if self.spent - saved > 180:
                self.save()
                saved = self.spent
        self.save()

    def advance(self) -> dict[str, float]:
        """Take one optimisation step; returns loss, gradient norm and figures of the batch."""
        share = self.spent / self.seconds
        warm = min(1.0, (self.step + 1) / 200)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * warm * (0.49 * (1 + math.cos(math.pi * share)) + 0.02)
        ramp = self.stage.rate_until - self.stage.rate_from
        weight = min(1.0, max(0.0, (share - self.stage.rate_from) / ramp)) if ramp else 1.0
        parts = self.objective(self.network, self.samplers, max(weight, 1e-3))
        loss = parts.loss + 1e-3 * self.network.latent_prior.bottleneck.loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"gradient is not finite at step {self.step}; the last checkpoint is sound")
        self.optimizer.step()
        self.step += 1
        self._average()
        return {"loss": float(parts.loss), "norm": float(norm), **parts.figures}

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(0.998, self.step / (self.step + 20))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name] = value.clone()

    def _log(self, figures: dict[str, list[float]]) -> None:
        means = {name: round(float(np.mean(values)), 4) for name, values in figures.items()}
        line = json.dumps({"seconds": round(self.spent), "step": self.step, **means})
        with (self.run / "log.jsonl").open("a") as log:
            log.write(line + "\n")


@click.command()
@click.argument("stage", type=click.Choice(sorted(STAGES)))
@click.option("--store", "stores", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--run", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", type=float, required=True)
@click.option(
    "--start",
    type=(click.Path(path_type=Path), str),
    multiple=True,
    help="Checkpoint or exported model, and the name prefixes to take from it, comma-separated (an empty one for all).",
)
@click.option("--size", default=128, show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--rate", default=6e-4, show_default=True, help="Peak learning rate.")
@click.option("--threads", default=1, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    stage: str,
    stores: tuple[Path, ...],
    run: Path,
    minutes: float,
    start: tuple[tuple[Path, str], ...],
    size: int,
    batch: int,
    rate: float,
    threads: int,
    seed: int,
) -> None:
    """Train one stage, resuming a run that has a checkpoint."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    samplers = [GroupSampler(load_store(folder), size, seed + i) for i, folder in enumerate(stores)]
    if not all(sampler.clips for sampler in samplers):
        raise InputError(f"a store has no clip of at least {size} pixels; take a smaller --size")
    trainer = Trainer(STAGES[stage], samplers, batch=batch, rate=rate, seconds=minutes * 60, run=run)
    if (run / "checkpoint.pt").exists():
        trainer.resume()
    else:
        trainer.initialise()
        for path, prefix in start:
            trainer.load_weights(path, tuple(prefix.split(",")))
    trainer.train()


if __name__ == "__main__":
    main()
