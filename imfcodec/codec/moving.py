"""Pictures between two good ones, for frames that were lost: what `codec.concealment` asks for, by torch."""

from collections.abc import Iterator, Sequence

import torch

from imfcodec.codec.concealment import QUANTISERS, moving_steps
from imfcodec.codec.planes import to_frames, to_picture
from imfcodec.codec.quantisers import to_qindices
from imfcodec.frames import Frame
from imfcodec.latents.symbols import SymbolReader
from imfcodec.models.executor import Executor, Known
from imfcodec.models.latent_token_encoder import Token
from imfcodec.nn.picture import Picture
from imfcodec.zoo import LoadedModel


class TorchMover:
    """A `Mover`: token frames rendered from both pictures, the motion from the one to the other shared out evenly."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._qindices = to_qindices(QUANTISERS, model.device)

    def __call__(self, before: Frame, after: Frame, stamps: Sequence[int]) -> Iterator[Frame]:
        height, width = before.y.shape
        with torch.inference_mode(), self._model.autocast():
            pictures = self._between(before, after, len(stamps))
        for pts in stamps:
            with torch.inference_mode(), self._model.autocast():
                frame = to_frames(next(pictures), width, height, [pts])[0]
            yield frame

    def _between(self, before: Frame, after: Frame, count: int) -> Iterator[Picture]:
        known = self._ends(before, after, count + 1)
        steps = moving_steps(count)
        token = known[count + 1].token
        for step in steps:
            known[step.position] = Known(Token(*(step.place * part for part in token)), known[0].symbols)
        nothing = SymbolReader(self._model.tables, b"")  # rendering reads no symbols
        return Executor(self._model.network, nothing).render(steps, known, self._qindices)

    def _ends(self, before: Frame, after: Frame, distance: int) -> dict[int, Known]:
        """Both good frames as references, the second one with its motion from the first."""
        network, device = self._model.network, self._model.device
        first, second = (to_picture([frame], device) for frame in (before, after))
        height, width = first.luma.shape[-2:]
        still = Token.zeros(1, height, width, network.config, first.luma)
        none = network.no_symbols(first)
        start = network.reference(first, still, none)
        place = torch.zeros(1, device=device)
        token = network.find_token(second.luma, [start], still, place, self._qindices.token)
        end = network.reference(second, token, none)
        return {0: Known(still, still, start), distance: Known(token, still, end)}
