"""Pictures for lost frames: moved from the good one before to the good one after, as far as there are both."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from imfcodec.codec.planes import to_frames, to_picture
from imfcodec.frames import Frame
from imfcodec.latents.symbols import SymbolReader
from imfcodec.models.executor import Executor, Known, Qindices
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.structure import token_levels
from imfcodec.nn.picture import Picture
from imfcodec.zoo import LoadedModel

LONGEST_MOVE = 64  # frames; over more of them nobody can tell what moved, and a hostile stream would make them dear
QINDEX = 100  # at which motion between two pictures is found and rendered

Shown = Frame | int
"""A frame, or the time stamp of one that is lost."""


class Concealment:
    """Makes up lost frames.

    They wait for the next good frame: motion from the good one before to it is found as an encoder finds it, and the
    pictures between are rendered from both as token frames are. At the end, and where more than `LONGEST_MOVE` frames
    are lost in a row, the last good frame is repeated; at the start the first good one.

    Attributes:
        blank: what is shown where no frame at all can be decoded.
    """

    def __init__(self, model: LoadedModel, blank: Frame) -> None:
        self.blank = blank
        self._model = model
        self._before: Frame | None = None
        self._lost: list[int] = []

    def fill(self, shown: Iterable[Shown]) -> Iterator[Frame]:
        """Yield every frame in display order, those that are made up marked as concealed."""
        for item in shown:
            if isinstance(item, Frame):
                yield from self._bridge(item)
                yield item
                self._before = item
            else:
                self._lost.append(item)
                if len(self._lost) > LONGEST_MOVE and self._before is not None:
                    yield from self._repeat(self._before)
        yield from self._repeat(self._before or self.blank)

    def _bridge(self, after: Frame) -> Iterator[Frame]:
        """The lost frames up to a good one."""
        before = self._before
        if self._lost and before is not None:
            yield from self._move(before, after)
        else:
            yield from self._repeat(before or after)

    def _repeat(self, frame: Frame) -> Iterator[Frame]:
        lost, self._lost = self._lost, []
        for pts in lost:
            yield replace(frame, pts=pts, concealed=True)

    def _move(self, before: Frame, after: Frame) -> Iterator[Frame]:
        lost, self._lost = self._lost, []
        height, width = before.y.shape
        with torch.inference_mode(), self._model.autocast():
            pictures = self._between(before, after, len(lost))
        for pts in lost:
            with torch.inference_mode(), self._model.autocast():
                frame = to_frames(next(pictures), width, height, [pts])[0]
            yield replace(frame, concealed=True)

    def _between(self, before: Frame, after: Frame, count: int) -> Iterator[Picture]:
        known = self._ends(before, after, count + 1)
        steps = sorted((s for level in token_levels([(0, count + 1)]) for s in level), key=lambda step: step.position)
        token = known[count + 1].token
        for step in steps:
            known[step.position] = Known(Token(*(step.place * part for part in token)), known[0].symbols)
        nothing = SymbolReader(self._model.tables, b"")  # rendering reads no symbols
        return Executor(self._model.network, nothing).render(steps, known, self._qindices())

    def _ends(self, before: Frame, after: Frame, distance: int) -> dict[int, Known]:
        """Both good frames as references, the second one with its motion from the first."""
        network, device = self._model.network, self._model.device
        first, second = (to_picture([frame], device) for frame in (before, after))
        height, width = first.luma.shape[-2:]
        still = Token.zeros(1, height, width, network.config, first.luma)
        none = network.no_symbols(first)
        start = network.reference(first, still, none)
        place = torch.zeros(1, device=device)
        token = network.encode_token(second.luma, [start], still, place, self._qindices().token)
        end = network.reference(second, token, none)
        return {0: Known(still, still, start), distance: Known(token, still, end)}

    def _qindices(self) -> Qindices:
        index = torch.tensor([QINDEX], device=self._model.device)
        return Qindices(index, torch.zeros_like(index), index)
