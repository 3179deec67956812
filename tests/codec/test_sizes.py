"""Coded sizes: what may be written, and what is chosen."""

from fractions import Fraction

import pytest

from imfcodec.codec.settings import EncoderSettings
from imfcodec.codec.size_trial import SizeTrial
from imfcodec.codec.sizes import coded_size, ladder
from imfcodec.frames import VideoFormat


@pytest.mark.parametrize(
    ("text", "size"),
    [("auto", None), ("640x360", (640, 360)), ("1/2", (960, 540)), ("1", (1920, 1080)), ("1/7", (274, 154))],
)
def test_what_may_be_written(text, size):
    assert coded_size(text, (1920, 1080)) == size


def test_sizes_to_choose_from():
    """Never below what the models are trained on; talking heads of 256x256 are left alone."""
    assert [size for _, size in ladder((1280, 720))] == [(426, 240), (640, 360), (854, 480), (1280, 720)]
    assert ladder((256, 256)) == [(Fraction(1), (256, 256))]
    assert ladder((67, 65)) == [(Fraction(1), (67, 65))]


class Numbers(SizeTrial):
    """A trial whose rates and errors follow a law: small sizes lose detail and save bits, larger ones take time."""

    def __init__(self, detail: float, min_fps: float | None = None) -> None:
        video = VideoFormat(1280, 720, Fraction(25), Fraction(1, 25))
        super().__init__(None, EncoderSettings(), [None] * 9, video, min_fps)
        self.detail, self.tried = detail, []

    def _run(self, size, quality):
        self.tried.append(size)
        share = size[1] / 720
        rate = 2000 * (size[0] * size[1] / 65536) * 2 ** (quality / 20)
        coding = 10 ** (-(26 + 0.14 * quality) / 10)
        lost = 10 ** (-self.detail / 10) * (1 / share**2 - 1)
        return self.outcome(rate, coding + lost, 2 / share**2)

    def outcome(self, rate, error, fps):
        import math

        from imfcodec.codec.size_trial import _Trial

        return _Trial(rate, -10 * math.log10(error), fps)


def test_low_rates_and_soft_pictures_are_coded_small():
    soft, sharp = Numbers(48), Numbers(33)
    heights = {
        (name, rate): trial.by_rate(rate, 40).size[1]
        for name, trial in (("soft", soft), ("sharp", sharp))
        for rate in (8_000, 2_000_000)
    }
    assert heights["soft", 8_000] <= heights["sharp", 8_000] < 720
    assert heights["soft", 8_000] < heights["soft", 2_000_000] <= heights["sharp", 2_000_000] == 720


def test_trials_stop_where_it_gets_worse():
    trial = Numbers(48)
    assert trial.by_rate(8_000, 40).size == (426, 240)
    assert set(trial.tried) == {(426, 240), (640, 360)}


def test_quality_rises_as_the_size_falls():
    """At half the size a bit must be worth four times the error of a pixel."""
    choice = Numbers(60).by_quality(10)
    assert choice.size[1] < 720 and choice.quality > 10
    assert Numbers(20).by_quality(10) == ((1280, 720), 10)


def test_likeness_is_reached_by_the_size_that_takes_least():
    assert Numbers(60).by_decibels(28, 40).size[1] < Numbers(30).by_decibels(34, 40).size[1] == 720


def test_no_size_that_is_too_slow():
    assert Numbers(20).by_quality(50).size == (1280, 720)
    assert Numbers(20, min_fps=4).by_quality(50).size == (854, 480)
    assert Numbers(20, min_fps=1000).by_quality(50).size == (426, 240)
