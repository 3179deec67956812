"""The batches of a training run, each a function of the seed and its step alone.

The shape of step n is drawn from `default_rng([seed, n])`, sample i of its batch (over all processes) from
`default_rng([seed, n, i + 1])`. Neither workers nor processes change a sample, and the data position of a run is just
the number of its step.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from imfcodec.errors import UsageError
from imfcodec.training.augment import read_knowledge, render
from imfcodec.training.config import DataConfig
from imfcodec.training.dataset import DICE, Batch, GroupShape, ShapeSource, StoredClip
from imfcodec.training.sampling import Sampler


class GroupLoader(Dataset[Batch]):
    """Makes the batches of one process: on the device where the frames are held there, otherwise on the CPU.

    Args:
        stores: the clips of each store.
        config: size of crops and batches, chances of what is done to samples, where frames are held.
        shapes: draws the shape of each step's groups, the objective.
        seed: of all draws.
        rank, world: number of this process, and of all.
        device: where batches go.
        weights: share of each store, by default equal.
    Raises:
        UsageError: the batch does not divide among the processes, or the configuration is wrong.
        InputError: no clip is as large as the crop.
    """

    def __init__(
        self,
        stores: Sequence[Sequence[StoredClip]],
        config: DataConfig,
        shapes: ShapeSource,
        seed: int,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
        weights: Sequence[float] | None = None,
    ) -> None:
        if config.batch % world:
            raise UsageError(f"data.batch {config.batch} does not divide among {world} processes; take a multiple")
        self._config, self._shapes, self._seed, self._device = config, shapes, seed, torch.device(device)
        share = config.batch // world
        self._samples = range(rank * share, (rank + 1) * share)
        self._sampler = Sampler(stores, config, weights)
        clips = [clip for store in stores for clip in store]
        self._held: dict[StoredClip, Tensor] = {}
        if _hold(config.frames_on_device, clips, self._device):
            self._held = {clip: torch.from_numpy(np.array(clip.data)).to(self._device) for clip in clips}

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """Batches on the device from a step on, without end.

        Raises:
            InputError: no clip is long enough for the groups of a step.
        """
        steps = self._steps(first_step)
        made = self._by_workers(steps) if self._config.workers and not self._held else (self[step] for step in steps)
        return (batch.to(self._device) for batch in made)

    def check_step(self, step: int) -> None:
        """Raise InputError where no clip is long enough for the groups of a step."""
        self._sampler.check(self._shape(step).offsets)

    def _by_workers(self, steps: Iterator[int]) -> DataLoader[Batch]:
        """In the order of `steps`; each worker keeps to one torch thread, as DataLoader sees to."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=steps,
            num_workers=self._config.workers,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # so that torch's own generator, which the model uses, is left alone
        )

    def _steps(self, first_step: int) -> Iterator[int]:
        """Numbers of the steps, checked here rather than in a worker: errors keep to one line."""
        for step in itertools.count(first_step):
            self.check_step(step)
            yield step

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, where its frames are held."""
        shape, config = self._shape(step), self._config
        frames, dice, samples = [], [], []
        for index in self._samples:
            generator = np.random.default_rng([self._seed, step, index + 1])
            dice.append(generator.random(DICE, np.float32))
            sample = self._sampler.draw(generator, shape.offsets)
            samples.append(sample)
            held = self._held.get(sample.clip)
            frames.append(render(sample, sample.clip.data if held is None else held, config.crop))
        qindex = torch.tensor([sample.clip.qindex for sample in samples])
        known = read_knowledge(samples, config.crop)
        return Batch(step, shape, torch.stack(frames), torch.from_numpy(np.stack(dice)), qindex, known)

    def _shape(self, step: int) -> GroupShape:
        return self._shapes.shape(np.random.default_rng([self._seed, step]))


def _hold(choice: str, clips: Sequence[StoredClip], device: torch.device) -> bool:
    """Whether all frames are to be held on the device; automatically on a GPU that stays at least half free."""
    if choice not in ("auto", "yes", "no"):
        raise UsageError(f"data.frames_on_device {choice} is none of auto, yes, no")
    if choice != "auto" or device.type != "cuda":
        return choice == "yes"
    return (
        2 * sum(len(clip) * clip.height * clip.width * 3 // 2 for clip in clips) <= torch.cuda.mem_get_info(device)[0]
    )
