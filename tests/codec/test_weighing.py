"""Places that count differently: weights of frames, symbols spared, and what that gains."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from imfcodec.bitstream.header import StreamHeader
from imfcodec.codec.analysis import ChunkTrial
from imfcodec.codec.decoder import Decoder
from imfcodec.codec.encoder import Encoder
from imfcodec.codec.planes import to_weights
from imfcodec.codec.settings import EncoderSettings
from imfcodec.codec.weighing import Sparing, weighed
from imfcodec.errors import UsageError
from imfcodec.evaluation.quality import psnr
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame
from imfcodec.latents.estimate import CodeLengths
from imfcodec.latents.sparing import SparingCoder
from imfcodec.models.coding import Table
from imfcodec.nn.picture import Picture
from imfcodec.zoo import load_model

INSIDE = (slice(32, 96), slice(32, 96))


@pytest.fixture(scope="module")
def model():
    return load_model()


def test_weights_are_means_over_places_of_y_from_one_down_to_its_share():
    """Padding counts as little as anything."""
    weight = np.zeros((20, 40), np.uint8)
    weight[:8, :20] = 255
    plane = np.zeros((40, 80), np.uint8)
    weights = to_weights(Frame(plane, plane, plane, 0, weight=weight), 4, torch.device("cpu"))
    assert weights.shape == (1, 1, 4, 8)
    assert weights[0, 0, 0].tolist() == pytest.approx([1, 1, 0.25 + 0.75 / 2, *[0.25] * 5])
    assert float(weights[0, 0, 1:].max()) == 0.25


def test_no_weights_where_all_places_count_alike():
    plane = np.zeros((64, 64), np.uint8)
    frame = Frame(plane, plane, plane, 0)
    assert to_weights(frame, 4, torch.device("cpu")) is None
    assert to_weights(replace(frame, weight=plane), 1, torch.device("cpu")) is None
    assert weighed(torch.ones(1, 1, 64, 64), None).mean() == 1


class Kept:
    """A coder that keeps what it is given."""

    def code(self, values, rows, table):
        self.values = values
        return values.round()


def test_symbols_are_spared_where_they_count_less(model):
    """The upper places count: what is coded there stays; below it comes nearer to zero, and never farther."""
    kept, values = Kept(), torch.randn(1, 8, 2, 2) * 2
    weights = torch.ones(1, 1, 4, 4)
    weights[:, :, 2:] = 1 / 64
    coder = SparingCoder(kept, CodeLengths(model.tables[Table.GAUSSIAN], torch.device("cpu")), weights)
    coder.code(values, torch.full_like(values, 30), Table.GAUSSIAN)
    assert torch.equal(kept.values[:, :, 0], values[:, :, 0])
    below, rounded = kept.values[:, :, 1], values[:, :, 1].round()
    assert torch.allclose(below, below.round(), atol=1e-6)
    assert bool((below.abs() < rounded.abs() + 1e-6).all()) and float(below.abs().sum()) < float(rounded.abs().sum())
    coder.code(values, torch.zeros_like(values), Table.HYPER)
    assert kept.values is values, "z stays"


def test_a_search_without_weights_changes_nothing(model):
    kept = Kept()
    assert Sparing(model.network, model.tables, {})._spare(kept, ()) is kept


def face(count, weight=None):
    """A face in the middle, and around it noise that moves."""
    video, noise = talking_face_format(128, 128, Fraction(25)), np.random.default_rng(0)
    texture = noise.normal(0, 25, (128, 160)).cumsum(1) / 3
    for number, frame in enumerate(talking_face(video, count)):
        luma = (frame.y / 2 + 50 + texture[:, number : number + 128] % 60).clip(16, 235).astype(np.uint8)
        luma[INSIDE] = frame.y[INSIDE]
        yield replace(frame, y=luma, weight=weight)


def measure(model, quality, weight=None, preset="medium", count=5):
    """Bytes, and PSNR inside."""
    settings = EncoderSettings(quality=quality, preset=preset, golden_interval=4)
    packets = list(Encoder(model, settings).encode(face(count, weight)))
    video = talking_face_format(128, 128, Fraction(25))
    decoded = Decoder(model, StreamHeader(video, model.model_id)).decode(iter(packets))
    inside = [psnr(a.y[INSIDE], b.y[INSIDE]) for a, b in zip(face(count), decoded, strict=True)]
    return sum(len(packet.payload) for packet in packets), float(np.mean(inside))


def test_a_region_gains_a_decibel_at_equal_rate(model):
    weight = np.zeros((128, 128), np.uint8)
    weight[INSIDE] = 255
    size, inside = measure(model, 45, weight)
    (low, low_inside), (high, high_inside) = measure(model, 20), measure(model, 45)
    assert low < size < high
    share = math.log(size / low) / math.log(high / low)
    assert inside > low_inside + share * (high_inside - low_inside) + 1


def test_weights_that_are_whole_change_nothing(model):
    whole = np.full((8, 8), 255, np.uint8)
    assert measure(model, 30, whole, count=2) == measure(model, 30, count=2)


def test_a_frame_is_refined_where_it_counts(model):
    weight = np.zeros((128, 128), np.uint8)
    weight[INSIDE] = 255
    plain, refined = measure(model, 30, weight, count=2), measure(model, 30, weight, "slow", count=2)
    assert refined != plain and refined[1] > plain[1] - 0.3


def test_trials_weigh_errors(model):
    """What is wrong where nothing counts costs its share alone."""
    trial = ChunkTrial(model.network, model.tables, None, {1: _plain(0.0)}, {1: torch.full((1, 1, 4, 4), 0.25)})
    assert trial._error_of(_plain(0.5), 1) == pytest.approx(0.25 * 0.25)


def _plain(level):
    return Picture(torch.full((1, 1, 64, 64), level), torch.zeros(1, 2, 32, 32))


def test_strength_has_a_range():
    with pytest.raises(UsageError, match=r"--roi-strength 0.5 is not within 1\.\.1000"):
        EncoderSettings(roi_strength=0.5)
