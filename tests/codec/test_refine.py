"""Refinement by gradient descent through the decoder."""

import sys
from fractions import Fraction
from functools import partial

import pytest
import torch

from imfcodec.bitstream.header import StreamHeader
from imfcodec.cli.encoding import encode
from imfcodec.codec.consistency import MovedNeighbours, Movements, Similarities
from imfcodec.codec.decoder import Decoder
from imfcodec.codec.effort import PRESETS, Effort
from imfcodec.codec.encoder import Encoder
from imfcodec.codec.refine import Refiner, squared_error
from imfcodec.codec.settings import EncoderSettings
from imfcodec.errors import UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.latents.symbols import SymbolWriter
from imfcodec.models.coding import Role
from imfcodec.models.executor import Executor, Qindices
from imfcodec.models.structure import PAST_LEVEL, Step
from imfcodec.nn.picture import Picture
from imfcodec.nn.quantize import bit_price
from imfcodec.zoo import load_model

KEY = torch.tensor([120])


@pytest.fixture(scope="module")
def model():
    return load_model()


def code(model, pictures, refiner):
    """A key frame and a token frame, and what each costs: squared error, and rate at the refiner's price."""
    bits, shown, known = [], [], {}
    executor = Executor(model.network, SymbolWriter(model.tables), lambda *told: bits.append(told[2]), refiner)
    step = Step(1, Role.TOKEN, (0,), (0,), PAST_LEVEL, latent=False)
    qindices = Qindices(KEY, torch.zeros_like(KEY), KEY - 60)
    with torch.no_grad():
        known[0] = executor.key(KEY, pictures[0], pictures[0])
        executor.run((step,), known, qindices, {1: pictures[1]})
        shown = [known[0].reference.picture, *executor.render([step], known, qindices)]
    pixels = pictures[0].luma[0].numel()
    price = float(bit_price(KEY)) / pixels
    return [float(squared_error(a, b)) + price * c for a, b, c in zip(shown, pictures, bits, strict=True)]


def test_what_is_refined_never_costs_more(model, face_pictures):
    """Here from a bad start, so that much is to be gained with any weights."""
    pictures = [face_pictures[0], face_pictures[6]]
    encoder = model.network.dense_feature_encoder
    bad_start = encoder.register_forward_hook(lambda module, inputs, y: 0.7 * y)
    try:
        plain = code(model, pictures, None)
        refined = code(model, pictures, Refiner(model, Effort(token_steps=4, latent_steps=8), 120))
    finally:
        bad_start.remove()
    assert refined[0] < 0.98 * plain[0] and refined[1] != plain[1]
    assert code(model, pictures, Refiner(model, Effort(token_steps=4), 120))[0] == code(model, pictures, None)[0]


def test_the_best_rounded_value_on_the_way_is_kept(model):
    """Sample by sample; the second one starts at its best."""
    refiner = Refiner(model, Effort(token_steps=1), 120)
    target = Picture(torch.zeros(2, 1, 64, 64), torch.zeros(2, 2, 32, 32))
    seen = []

    def trial(values):
        rounded = values[0] + refiner._estimator.hardness * (values[0].round() - values[0]).detach()
        seen.append(rounded.detach().clone())
        return Picture(target.luma + rounded[:, :, None, None] / 100, target.chroma), rounded.new_zeros(2)

    start = [torch.tensor([[3.4], [0.1]])]
    price, term = torch.ones(2), lambda picture: torch.zeros(2)
    error = partial(squared_error, target=target)
    (best,) = refiner._descend(start, trial, error, price, term, 20, 0.3)
    assert start[0].tolist() == [[pytest.approx(3.4)], [pytest.approx(0.1)]], "the start stays as it is"
    assert abs(float(best[0].round())) < 2 and float(best[1].round()) == 0
    whole = [torch.allclose(values, values.round(), atol=1e-5) for values in seen]
    assert len(seen) == 21 and whole[0] and all(whole[12:])
    assert not any(whole[1:8]), "values are moved to their integers little by little"


@pytest.mark.parametrize("structure", ["offline", "low-delay"])
def test_a_refined_stream_is_read_by_the_same_decoder(model, monkeypatch, structure):
    """To the sample what the encoder built on, with all terms."""
    pytest.importorskip("cv2")
    monkeypatch.setitem(PRESETS, "slow", Effort(token_steps=2, latent_steps=2))
    video = talking_face_format(64, 64, Fraction(25))
    frames, anchors = list(talking_face(video, 6)), []
    advance = Executor.advance
    spy = lambda self, golden: anchors.append(golden.reference.picture.luma) or advance(self, golden)  # noqa: E731
    monkeypatch.setattr(Executor, "advance", spy)
    settings = EncoderSettings(60, structure, golden_interval=4, preset="slow", spatial=1.0, temporal=1.0)
    packets = list(Encoder(model, settings).encode(iter(frames)))
    encoded = len(anchors)
    decoded = list(Decoder(model, StreamHeader(video, model.model_id)).decode(iter(packets)))
    assert [frame.pts for frame in decoded] == [frame.pts for frame in frames]
    assert encoded and len(anchors) == 2 * encoded
    for ours, theirs in zip(anchors[:encoded], anchors[encoded:], strict=True):
        assert torch.equal(ours, theirs)


def test_similarities_see_what_is_like_what(model, face_pictures):
    term = Similarities(model.network, face_pictures[0])
    assert float(term(face_pictures[0])) == 0
    flat = Picture(*(torch.zeros_like(plane) for plane in face_pictures[0]))
    assert float(term(flat)) > 10 * float(term(face_pictures[1])) > 0


class TestMovements:
    STEP = Step(1, Role.TOKEN, (0, 2), (0, 2), 2, latent=False)

    @staticmethod
    def shifted(pixels: int) -> Picture:
        """Smooth noise moved to the right."""
        noise = torch.nn.functional.avg_pool2d(torch.rand(1, 1, 76, 96, generator=torch.manual_seed(1)), 13, 1)
        luma = (noise - 0.5)[..., :, 10 - pixels : 74 - pixels] * 3
        return Picture(luma.contiguous(), torch.zeros(1, 2, 32, 32))

    def test_frames_are_their_neighbours_moved(self):
        pytest.importorskip("cv2")
        originals = {position: self.shifted(3 * position) for position in range(3)}
        term = Movements().neighbours([self.STEP], originals, {0: originals[0], 2: originals[2]})
        moved, unmoved = float(term(originals[1])), float(term(originals[0]))
        assert moved < 0.01 < unmoved / 3
        flicker = Picture(originals[1].luma + 0.1, originals[1].chroma)
        assert float(term(flicker)) == pytest.approx(0.1, rel=0.1)

    def test_without_neighbours_there_is_nothing_to_hold_to(self):
        assert MovedNeighbours([[]])(self.shifted(0)).tolist() == [0]

    def test_without_opencv_there_is_one_line(self, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "cv2", None)
        with pytest.raises(UsageError, match=r"pip install 'imfcodec\[flow\]'"):
            Refiner(model, Effort(token_steps=1), 120, temporal=1.0)


def test_presets_rise_in_effort():
    names = ["fast", "medium", "slow", "placebo"]
    assert list(PRESETS) == names
    assert list({option.name: option for option in encode.params}["preset"].type.choices) == names
    assert [PRESETS[name].refines for name in names] == [False, False, True, True]
    assert PRESETS["placebo"].token_steps > PRESETS["slow"].token_steps
