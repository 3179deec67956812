"""What a refinement may hold to beside rate and squared error: FRESCO's feature optimisation, on decoded frames.

Source: Yang et al., "FRESCO: Spatial-Temporal Correspondence for Zero-Shot Video Translation", 2024, section 3.3.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.codec.flow import FlowFinder
from imfcodec.frames import Plane
from imfcodec.models.network import ImfNetwork
from imfcodec.models.structure import Step
from imfcodec.nn.picture import Picture


class Similarities:
    """Spatial term: which places of a picture resemble which, by the model's own features at 1/32 scale."""

    def __init__(self, network: ImfNetwork, target: Picture) -> None:
        self._features = network.reference_features
        self._wanted = self._of(target)

    def __call__(self, picture: Picture) -> Tensor:
        """Mean absolute difference of cosine similarities to those of the original, [B]."""
        return (self._of(picture) - self._wanted).abs().mean((1, 2))

    def _of(self, picture: Picture) -> Tensor:
        coarse, _ = self._features(picture)
        places = F.normalize(coarse.float().flatten(2), dim=1)
        return places.transpose(1, 2) @ places


class _Neighbour(NamedTuple):
    """What a neighbour says a picture should be: its samples moved there [1, 1, H, W], and where that holds, 0 or 1."""

    moved: Tensor
    visible: Tensor


class Movements:
    """Temporal term: frames should be their neighbours, moved as the original moves."""

    def __init__(self) -> None:
        self._flow = FlowFinder("the temporal weight", "flow", torch.get_num_threads())

    def neighbours(
        self, steps: Sequence[Step], originals: Mapping[int, Picture], shown: Mapping[int, Picture]
    ) -> "MovedNeighbours":
        """The term for frames whose neighbours in time are decoded, on one side or both.

        Args:
            originals, shown: pictures of the chunk by position, as far as they are at hand.
        """
        return MovedNeighbours(
            [
                [self._look(originals[step.position], originals[side], shown[side])
                 for side in step.neighbours if side in originals and side in shown]
                for step in steps
            ]
        )  # fmt: skip

    def _look(self, now: Picture, other: Picture, shown: Picture) -> _Neighbour:
        positions, visible = self._flow.follow(_plane(other), _plane(now))
        moved = self._flow.sample(shown.luma[0, 0].float().cpu().numpy(), positions)
        return _Neighbour(*(torch.from_numpy(x)[None].to(shown.luma) for x in (moved, visible)))


class MovedNeighbours:
    """The temporal term of some frames."""

    def __init__(self, sides: list[list[_Neighbour]]) -> None:
        self._sides = sides

    def __call__(self, picture: Picture) -> Tensor:
        """Mean absolute difference of luma to the moved neighbours where they are visible, [B]; 0 without any."""
        return torch.stack([self._error(luma, sides) for luma, sides in zip(picture.luma, self._sides, strict=True)])

    @staticmethod
    def _error(luma: Tensor, sides: list[_Neighbour]) -> Tensor:
        errors = [((luma - side.moved).abs() * side.visible).sum() / side.visible.sum().clamp_min(1) for side in sides]
        return torch.stack(errors).mean() if errors else luma.new_zeros(())


def _plane(picture: Picture) -> Plane:
    return ((picture.luma[0, 0].float() + 0.5) * 255).round().cpu().numpy().astype(np.uint8)
