"""The search for a quality, feedback within a pass, and the leaky bucket, on videos made of numbers."""

import math
import random
from dataclasses import dataclass, field

import pytest

from imfcodec.bitstream.packet import PacketKind, Quantisers, VideoPacket
from imfcodec.codec.choices import Choice, Choices
from imfcodec.codec.control import PACKET_BYTES, DialSearch, Feedback, LeakyBucket, Ledger, Steady, packet_bytes
from imfcodec.codec.targets import Aim, Target
from imfcodec.errors import UsageError

FPS = 25.0


def packet(byte_count: float, frames: int = 16, kind: PacketKind = PacketKind.CHUNK) -> VideoPacket:
    """A packet that counts for so many bytes."""
    payload = bytes(max(0, round(byte_count) - PACKET_BYTES))
    return VideoPacket(kind, frames, tuple(range(frames)), payload, Quantisers(0, 0, 0))


@dataclass
class Result:
    byte_count: int
    sound_bytes: int
    duration_seconds: float
    likeness: float | None
    ledger: Ledger
    choices: list[Choice] = field(default_factory=list)


class Video:
    """A video whose chunks take bytes by a law of their own, and whose likeness grows with quality."""

    def __init__(self, seed: int = 0, level: float = 300, slope: float = 0.045, sound: int = 0) -> None:
        chance = random.Random(seed)
        self.chunks = [level * math.exp(chance.gauss(0, 0.5)) for _ in range(20)]
        self.slope, self.sound = slope, sound
        self.taken_over: list[bool] = []

    def run(self, control, choices: Choices) -> Result:
        self.taken_over.append(choices.coming is not None)
        for number, level in enumerate(self.chunks):
            quality = control.quality()
            # Not quite the exponential that the search takes it for.
            size = level * math.exp(self.slope * quality + 0.001 * (quality - 30) ** 2 / 10)
            assert control.takes(packet(size + 3 * (number % 3)))
            choices.note(Choice(16, opens=number == 0))
        ledger = control.ledger
        likeness = 24 + 8 * math.log1p(ledger.mean_quality / 20)
        seconds = sum(ledger.frames) / FPS
        return Result(ledger.total + 60 + self.sound, self.sound, seconds, likeness, ledger, choices.made)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("asked", [9_000, 15_000, 40_000, 90_000])
def test_rates_are_met_within_three_percent_in_few_passes(seed, asked):
    video = Video(seed, sound=3_000)
    outcome = Aim(Target("bitrate", asked), video.run, start=40).reach()
    reached = outcome.result.byte_count * 8 / outcome.result.duration_seconds
    assert reached == pytest.approx(asked, rel=0.03)
    assert outcome.passes <= 4 and outcome.miss == ""
    assert video.taken_over[0] is False


def test_near_passes_take_over_what_was_decided():
    video = Video()
    start = 40
    near = video.run(Steady(start), Choices()).byte_count * 1.1
    video.taken_over.clear()
    outcome = Aim(Target("size", near), video.run, start).reach()
    assert outcome.result.byte_count == pytest.approx(near, rel=0.03)
    assert video.taken_over == [False, True]


@pytest.mark.parametrize(("asked", "bound", "quality"), [(500, "least", 0), (10**8, "most", 100)])
def test_out_of_reach_gives_the_nearest_and_says_so(asked, bound, quality):
    outcome = Aim(Target("bitrate", asked), Video().run, start=40).reach()
    assert outcome.result.ledger.mean_quality == quality
    assert f"is the {bound} for this video" in outcome.miss and "out of reach" in outcome.miss


@pytest.mark.parametrize("asked", [25, 30, 36])
def test_likeness_is_met(asked):
    outcome = Aim(Target("psnr", asked), Video().run, start=50).reach()
    assert outcome.result.likeness == pytest.approx(asked, abs=0.2)
    assert outcome.passes <= 5 and not outcome.miss


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("bitrate", 10, "--bitrate 10 is not within 100..1000000000 bit/s"),
        ("ssim", 1.5, "--target-ssim 1.5 is not within 0.1..0.999"),
        ("psnr", 99, "--target-psnr 99 is not within 10..60 dB"),
        ("vmaf", float("nan"), "--target-vmaf nan is not within 1..100"),
    ],
)
def test_bad_values_name_option_and_range(name, value, words):
    with pytest.raises(UsageError) as error:
        Target(name, value)
    assert str(error.value) == words


def test_search_ends_where_the_figure_jumps():
    """Between two qualities that are nearly the same there is nothing to find."""
    search = DialSearch(0.0, 0.01, 0.04, 50, tries=50)
    tried = []
    while (quality := search.propose()) is not None:
        tried.append(quality)
        search.learn(quality, -1.0 if quality < 37 else 1.0)
    assert not search.found and len(tried) < 25
    assert min(abs(quality - 37) for quality in tried) < 0.5


def test_feedback_keeps_its_quality_where_all_goes_as_expected():
    first = Steady(30)
    for size in (900, 200, 300, 250):
        first.takes(packet(size))
    again = Feedback(first.ledger, first.ledger.total)
    qualities = []
    for size in (900, 200, 300, 250):
        qualities.append(again.quality())
        again.takes(packet(size))
    assert qualities == pytest.approx([30] * 4) and packet_bytes(packet(900)) == 900


@pytest.mark.parametrize("rate", [8_000, 20_000])
def test_bucket_holds_the_rate_and_never_overflows(rate):
    """A moving picture that becomes busy and calm again: 40 seconds, after two of which the mean counts."""
    bucket = LeakyBucket(rate, rate, 60, lambda quality: 8, 1 / FPS)
    chance = random.Random(1)
    sent, levels = [], []
    for number in range(1000):
        busy = 2.0 if 300 <= number < 600 else 1.0
        kind = PacketKind.KEY if number == 0 else PacketKind.DELAY_GOLDEN if number % 8 == 0 else PacketKind.DELAY_TOKEN
        level = {PacketKind.KEY: 150, PacketKind.DELAY_GOLDEN: 25, PacketKind.DELAY_TOKEN: 6}[kind] * busy
        while True:
            coming = packet(level * math.exp(0.04 * bucket.quality() + chance.gauss(0, 0.1)), 1, kind)
            if bucket.takes(coming):
                break
        sent.append(8 * packet_bytes(coming))
        levels.append(bucket.level)
    assert bucket.overflows == 0 and max(levels) <= rate
    assert sum(sent[50:]) / (950 / FPS) == pytest.approx(rate, rel=0.03)


def test_sound_that_takes_most_of_a_rate_is_named_with_what_makes_it_smaller():
    """In one line with the miss; not where the pictures take more, nor where the rate is missed from below."""
    seconds = 12.8
    for name, scale in (("bitrate", 8 / seconds), ("size", 1)):
        target = Target(name, 3_000 * scale)
        miss = Aim(target, Video(sound=9_000).run, start=40).reach().miss
        assert "is the least for this video; " in miss and "\n" not in miss
        assert f"{target.describe(9_000 * scale)} of it is sound" in miss and "--audio opus:RATE" in miss
        assert "--audio" not in Aim(target, Video(sound=1_000).run, start=40).reach().miss
    assert "--audio" not in Aim(Target("bitrate", 1e8), Video(sound=10**8).run, start=40).reach().miss


def test_bucket_counts_what_does_not_fit_at_all():
    bucket = LeakyBucket(1000, 500, 30, lambda quality: 8, 1 / FPS)
    big = packet(4000, 1, PacketKind.KEY)
    while not bucket.takes(big):
        pass
    assert bucket.quality() == 0 and bucket.overflows == 1
