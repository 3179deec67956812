"""Stores of pairs for the stage `latent`: golden frames, and what a model knows of them before their y.

    python -m imfcodec.training.pairs STORE CLIPS... --count 8000 --model talk

A step on pairs does without coding the references anew. Make them again when the model has become much better.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from torch import Tensor

from imfcodec.files import write_beside
from imfcodec.models.executor import Qindices, gather_references, places
from imfcodec.models.structure import golden_levels, needed
from imfcodec.nn.picture import Picture, from_patches
from imfcodec.training.config import DataConfig
from imfcodec.training.dataset import NEAR_UNIT, PAIR_FRAMES, Batch, StoredClip
from imfcodec.training.loader import GroupLoader
from imfcodec.training.prepare import open_stores
from imfcodec.training.rollout import Rollout, TrainedModel
from imfcodec.training.shapes import ChunkShape, draw_chunk
from imfcodec.training.start import load_trained

LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
KEY_LEAD = 30  # key frames are up to this much better


class PairShapes:
    """Draws a key frame and the golden frames that one of a chunk after it depends on."""

    def shape(self, generator: np.random.Generator) -> ChunkShape:
        """The shape of a step's groups."""
        chunk = draw_chunk(generator, int(generator.choice(LENGTHS)), 1.0)
        levels = golden_levels(chunk)
        level = levels[int(generator.integers(len(levels)))]
        return ChunkShape.of(0, chunk, needed(levels, level[int(generator.integers(len(level)))].position))


class Pair(NamedTuple):
    """A golden frame and what both sides know of it before its y.

    Attributes:
        frames: uint8 [PAIR_FRAMES, S * S * 3 / 2], I420.
        features: aligned features, float16 [C_16, S / 16, S / 16].
        near: mean magnitude of the references' symbols of y in `NEAR_UNIT`, uint8 [C_y, S / 16, S / 16].
        qindex: its quantiser index.
    """

    frames: Tensor
    features: Tensor
    near: Tensor
    qindex: int


@torch.no_grad()
def make_pairs(model: TrainedModel, batch: Batch) -> Iterator[Pair]:
    """Code the groups of a batch at random qualities."""
    shape = batch.shape
    assert isinstance(shape, ChunkShape)
    frames = dict(zip(shape.offsets, batch.pictures(), strict=True))
    golden = (10 + batch.dice[:, 0] * 240).long()
    qindices = Qindices(golden, (batch.dice[:, 1] * 20).long(), (golden - 45).clamp_min(0))
    rollout = Rollout(model)
    known = {0: rollout.key(frames[0], (golden + (batch.dice[:, 2] * KEY_LEAD).long()).clamp_max(255))[1]}
    rollout.run(shape.levels, known, qindices, frames)
    for step in (step for level in shape.levels for step in level):
        references = gather_references([step], known)
        aligned = model.network.predict(known[step.position].token, references, places([step], known))
        copies = (from_patches(copy) for copy in aligned.copies.chunk(2, 1))
        pictures = (aligned.picture, *copies, frames[step.position])
        near = torch.stack([reference.latent for reference in references]).mean(0) * NEAR_UNIT
        yield from map(
            Pair,
            torch.stack([_to_i420(picture) for picture in pictures], 1),
            aligned.features.half(),
            near.byte(),
            qindices.of(step).tolist(),
        )


def _to_i420(picture: Picture) -> Tensor:
    samples = torch.cat([picture.luma.flatten(1), picture.chroma.flatten(1)], 1)
    return ((samples.float() + 0.5) * 255).round().clamp(0, 255).byte()


def write_pairs(model: TrainedModel, sources: Sequence[Path], store: Path, count: int, seed: int = 0) -> None:
    """Write a store of `count` pairs, made from folders of videos or stores of them.

    Raises:
        InputError: no clip can be read or is large enough.
        OSError: the store cannot be written.
    """
    config = replace(DataConfig(), crop=256, batch=4, stills=0.0, zoom=0.0, colour=0.0, workers=0)
    loader = GroupLoader(open_stores(sources, store.parent / "store"), config, PairShapes(), seed)
    store.mkdir(parents=True, exist_ok=True)
    index = {}
    pairs = itertools.chain.from_iterable(make_pairs(model, batch) for batch in loader.batches())
    for number, pair in enumerate(itertools.islice(pairs, count)):
        clip = StoredClip(
            store / f"pair-{seed}-{number:06d}.npy", PAIR_FRAMES, config.crop, config.crop, max(1, pair.qindex)
        )
        for path, part in ((clip.path, pair.frames), (clip.features, pair.features), (clip.near, pair.near)):
            with path.open("wb") as file:
                np.save(file, part.contiguous().numpy())
        index[clip.name] = [clip.frames, clip.height, clip.width, clip.qindex]
    with write_beside(store / "index.json") as out:
        out.write(json.dumps(index).encode())


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("clips", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--count", default=8000, show_default=True, help="Pairs to make.")
@click.option("--model", default=None, help="Checkpoint, model file or name of a model.  [default: the default model]")
@click.option("--seed", default=0, show_default=True)
def main(store: Path, clips: tuple[Path, ...], count: int, model: str | None, seed: int) -> None:
    """Make a STORE of pairs from CLIPS, folders of videos."""
    torch.set_num_threads(1)
    write_pairs(load_trained(model), clips, store, count, seed)


if __name__ == "__main__":
    main()
