"""Pictures between two good ones, for frames that were lost: `codec.moving` with an exported model."""

from collections.abc import Iterator, Sequence

from imfcodec.codec.concealment import QUANTISERS, moving_steps
from imfcodec.entropy.coder import RangeDecoder
from imfcodec.frames import Frame
from imfcodec.light.executor import Known, LightExecutor, Token
from imfcodec.light.model import LightModel
from imfcodec.light.planes import to_frame, to_picture


class LightMover:
    """A `codec.concealment.Mover`; see `codec.moving.TorchMover`."""

    def __init__(self, model: LightModel) -> None:
        self._model = model

    def __call__(self, before: Frame, after: Frame, stamps: Sequence[int]) -> Iterator[Frame]:
        height, width = before.y.shape
        first, second = to_picture(before), to_picture(after)
        nothing = RangeDecoder(b"")  # rendering reads no symbols
        executor = LightExecutor(self._model, nothing, *first.luma.shape[:1:-1])
        token = Token(*self._model.run("motion", first.luma, second.luma))
        known = {0: executor.recall(first), len(stamps) + 1: executor.recall(second, token)}
        steps = moving_steps(len(stamps))
        for step in steps:
            known[step.position] = Known(Token(token.g * step.place, token.u * step.place), known[0].symbols)
        pictures = executor.render(steps, known, QUANTISERS)
        for picture, pts in zip(pictures, stamps, strict=True):
            yield to_frame(picture, width, height, pts)
