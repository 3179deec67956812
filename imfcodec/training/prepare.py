"""Decode a folder of videos or photos once into a store (see `training.dataset`).

python -m imfcodec.training.prepare FOLDER STORE
"""

import json
import os
from pathlib import Path

import click
import numpy as np

from imfcodec.errors import ImfError, InputError
from imfcodec.frames import Frame
from imfcodec.training.dataset import Frames
from imfcodec.video.reader import open_clip


def prepare(folder: Path, store: Path) -> int:
    """Decode every readable file of `folder` into `store`; clips that are there already are kept.

    Returns:
        The number of clips in the store.
    Raises:
        InputError: nothing in the folder can be read.
    """
    store.mkdir(parents=True, exist_ok=True)
    index: dict[str, list[int]] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        target = store / f"{path.stem}.npy"
        try:
            index[path.stem] = _known(target) or _store(path, target)
        except ImfError as error:
            click.echo(f"left out: {error}", err=True)
    if not index:
        raise InputError(f"{folder} holds no video that can be read; name a folder of video files")
    (store / "index.json").write_text(json.dumps(index))
    return len(index)


def _store(path: Path, target: Path) -> list[int]:
    with open_clip(path, audio=False) as clip:
        height, width = clip.format.height // 2 * 2, clip.format.width // 2 * 2
        frames = np.stack([_flatten(frame, height, width) for frame in clip.frames()])
    partial = target.with_suffix(".part")
    with partial.open("wb") as file:
        np.save(file, frames)
    os.replace(partial, target)
    target.with_suffix(".json").write_text(json.dumps([len(frames), height, width]))
    return [len(frames), height, width]


def _known(target: Path) -> list[int] | None:
    """Frames, height and width of a clip that was stored completely before."""
    description = target.with_suffix(".json")
    return json.loads(description.read_text()) if description.exists() else None


def _flatten(frame: Frame, height: int, width: int) -> Frames:
    """One I420 frame, an odd last row or column left off."""
    planes = (frame.y[:height, :width], frame.u[: height // 2, : width // 2], frame.v[: height // 2, : width // 2])
    return np.concatenate([plane.reshape(-1) for plane in planes])


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
def main(folder: Path, store: Path) -> None:
    """Decode the videos of FOLDER into STORE."""
    try:
        click.echo(f"{prepare(folder, store)} clips in {store}")
    except ImfError as error:
        raise SystemExit(f"prepare: {error}") from None


if __name__ == "__main__":
    main()
