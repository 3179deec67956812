"""The coded size that gives the best picture for its rate, found by coding some frames at several sizes.

What counts is the picture at the size of the source. Small pictures take few bits and lose detail, so which size is
best depends on rate and content: over all rates, the best ones are the convex hull of all sizes' curves.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import PacketKind
from imfcodec.codec.control import LOG_RATE_SLOPE, MAX_QUALITY, DialSearch, packet_bytes
from imfcodec.codec.decoder import Decoder
from imfcodec.codec.encoder import Encoder, operating_point
from imfcodec.codec.settings import EncoderSettings
from imfcodec.codec.sizes import Size, ladder
from imfcodec.codec.targets import DECIBELS_SLOPE
from imfcodec.frames import Frame, VideoFormat
from imfcodec.nn.quantize import bit_price
from imfcodec.video.scaling import resized
from imfcodec.zoo import LoadedModel

TRIAL_FRAMES = 9  # a key frame and a chunk
KEY_LIFE = 250  # frames that share the bits of a key frame
_DECIBELS_PER_LOG_RATE = DECIBELS_SLOPE / LOG_RATE_SLOPE
_TRIES = 3


class SizeChoice(NamedTuple):
    """What was chosen.

    Attributes:
        size: coded width and height.
        quality: that gives at this size a picture worth as much as the asked one at full size.
    """

    size: Size
    quality: float


class _Trial(NamedTuple):
    """What some frames came to: bits of a second, PSNR of luma at the source's size, frames coded in a second."""

    rate: float
    decibels: float
    fps: float


class SizeTrial:
    """Codes some frames of a video at several sizes.

    Args:
        frames: the trial frames, of full size, at least two.
        video: their format.
        min_fps: frames a second that coding must reach; None for any speed. The smallest size is taken if none does.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: EncoderSettings,
        frames: Sequence[Frame],
        video: VideoFormat,
        min_fps: float | None = None,
    ) -> None:
        self._model, self._frames, self._video, self._min_fps = model, frames, video, min_fps
        # A fixed order of frames is several times as fast, but says nothing of the speed to come.
        interval = settings.golden_interval if min_fps else len(frames) - 1
        self._settings = replace(settings, golden_interval=interval)

    def by_quality(self, quality: float) -> SizeChoice:
        """The best size for a quality: least squared error with the bits at the price this quality puts on them."""

        def cost(factor: Fraction, size: Size) -> tuple[float, float, _Trial]:
            coded = min(MAX_QUALITY, quality + self._worth(factor))
            trial = self._run(size, coded)
            pixels = float(self._video.width * self._video.height * self._video.frame_rate)
            error = 10 ** (-trial.decibels / 10)
            return error + self._price(quality) * trial.rate / pixels, coded, trial

        return self._best(cost)

    def by_rate(self, bits_per_second: float, start: float) -> SizeChoice:
        """The best size for a rate: the highest PSNR. `start` is a quality to begin with."""

        def cost(factor: Fraction, size: Size) -> tuple[float, float, _Trial]:
            search = DialSearch(math.log(bits_per_second), 0.1, LOG_RATE_SLOPE, start + self._worth(factor), _TRIES)
            trial = self._search(search, size, lambda trial: math.log(trial.rate))
            excess = math.log(trial.rate / bits_per_second)
            if search.estimate == MAX_QUALITY:
                excess = max(0.0, excess)  # more is not to be had at this size
            return _DECIBELS_PER_LOG_RATE * excess - trial.decibels, search.estimate, trial

        return self._best(cost)

    def by_decibels(self, decibels: float, start: float) -> SizeChoice:
        """The best size for a PSNR: the lowest rate."""

        def cost(factor: Fraction, size: Size) -> tuple[float, float, _Trial]:
            search = DialSearch(decibels, 0.3, DECIBELS_SLOPE, start + self._worth(factor), _TRIES)
            trial = self._search(search, size, lambda trial: trial.decibels)
            shortfall = decibels - trial.decibels
            return math.log(trial.rate) + shortfall / _DECIBELS_PER_LOG_RATE, search.estimate, trial

        return self._best(cost)

    def _best(self, cost: Callable[[Fraction, Size], tuple[float, float, _Trial]]) -> SizeChoice:
        """From small to large, as long as it gets better and is fast enough."""
        best: tuple[float, SizeChoice] | None = None
        for factor, size in ladder((self._video.width, self._video.height)):
            value, quality, trial = cost(factor, size)
            too_slow = self._min_fps is not None and trial.fps < self._min_fps
            if best and (too_slow or value >= best[0]):
                break
            best = value, SizeChoice(size, quality)
        assert best is not None, "a ladder has at least one size"
        return best[1]

    def _search(self, search: DialSearch, size: Size, figure: Callable[[_Trial], float]) -> _Trial:
        trials = []
        while (quality := search.propose()) is not None:
            trials.append(self._run(size, quality))
            search.learn(quality, figure(trials[-1]))
        return min(trials, key=lambda trial: abs(figure(trial) - search.goal))

    def _run(self, size: Size, quality: float) -> _Trial:
        coded = list(resized(self._frames, *size))
        start = time.monotonic()
        packets = list(Encoder(self._model, replace(self._settings, quality=quality)).encode(iter(coded)))
        seconds = time.monotonic() - start
        video = replace(self._video, width=size[0], height=size[1])
        header = StreamHeader(video, self._model.model_id, variable_rate=True)
        decoded = Decoder(self._model, header).decode(iter(packets))
        shown = resized(decoded, self._video.width, self._video.height)
        error = np.mean([_error(a, b) for a, b in zip(self._frames, shown, strict=True)])
        bits = {True: 0.0, False: 0.0}
        for packet in packets:
            bits[packet.kind is PacketKind.KEY] += 8 * packet_bytes(packet)
        rate = (bits[True] / KEY_LIFE + bits[False] / (len(coded) - 1)) * float(self._video.frame_rate)
        return _Trial(rate, -10 * math.log10(max(float(error), 1e-10)), len(coded) / seconds)

    def _price(self, quality: float) -> float:
        golden = operating_point(replace(self._settings, quality=quality)).quantisers.golden
        return float(bit_price(torch.tensor([golden])))

    def _worth(self, factor: Fraction) -> float:
        """By how much the quality must be higher at a share of the size for a bit to be worth the same error.

        Fewer pixels share the bits there: at 1/2 the error of a coded pixel counts four times.
        """
        finer = 2 * math.log(factor)
        low, high = (math.log(self._price(quality)) for quality in (40, 60))
        return finer / (high - low) * 20


def _error(one: Frame, other: Frame) -> float:
    """Mean squared error of luma, of samples 0..1."""
    return float(np.square(one.y.astype(np.float32) - other.y).mean()) / 255**2
