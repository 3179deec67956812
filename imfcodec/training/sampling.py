"""Drawing samples: which frames of which clip, cut where, and changed how. Nothing is read or computed of pixels here.

Clips are drawn by store first (equal shares unless weights are given), then by the root of their length. A photo is a
clip of one frame; for longer groups it is set in motion, see `Motion`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imfcodec.errors import InputError
from imfcodec.training.config import DataConfig
from imfcodec.training.dataset import StoredClip

Curve = npt.NDArray[np.float32]

BLOCK = 16  # luma pixels a place of a pair's features
CONTROLS = 4  # control points of a motion's displacement field, per side
CURVES = 4 + 2 * CONTROLS**2  # pan x and y, turn, growth, displacements


@dataclass(frozen=True)
class Colour:
    """A change of colour, the same for all frames of a group.

    Attributes:
        contrast, saturation: gains of luma and chroma about their middle.
        brightness: added to luma, in levels of 255.
        hue: rotation of chroma in radians.
    """

    contrast: float
    brightness: float
    saturation: float
    hue: float


@dataclass(frozen=True, eq=False)
class Motion:
    """Smooth motion of a photo: every quantity swings as amplitude * sin(2 pi (t / period + phase)), t in frames.

    Attributes:
        amplitude, period, phase: float32 [CURVES]; the quantities are pan x and y in luma pixels, turn in radians,
            log of the growth, and the displacements (x, then y) of CONTROLS x CONTROLS points in luma pixels.
    """

    amplitude: Curve
    period: Curve
    phase: Curve

    def at(self, times: Sequence[int]) -> Curve:
        """The quantities at some times, float32 [T, CURVES]."""
        turns = np.array(times, np.float32)[:, None] / self.period + self.phase
        return self.amplitude * np.sin(2 * np.pi * turns)


@dataclass(frozen=True)
class Sample:
    """How to make one sample.

    Attributes:
        clip: where from.
        times: frame numbers in the order of the group; for a photo in motion, times of its motion.
        top, left, side: the square window of the clip, luma pixels, even.
        scaled: side the window is scaled to; the sample's own size, or larger around a photo in motion.
        mirror: left and right are exchanged.
        colour, motion: None leaves the pixels as they are.
    """

    clip: StoredClip
    times: tuple[int, ...]
    top: int
    left: int
    side: int
    scaled: int
    mirror: bool
    colour: Colour | None
    motion: Motion | None


class Shelf:
    """Clips that are drawn by the root of their length."""

    def __init__(self, clips: Sequence[StoredClip]) -> None:
        self._clips = sorted(clips, key=lambda clip: (-len(clip), clip.name))
        self._negated = [-len(clip) for clip in self._clips]  # ascending, to be searched
        self._reach = np.cumsum(np.sqrt(np.negative(self._negated)))

    def count(self, span: int) -> int:
        """Number of clips with more than `span` frames."""
        return int(np.searchsorted(self._negated, -span, side="left"))

    def draw(self, generator: np.random.Generator, span: int) -> StoredClip:
        """One of the clips with more than `span` frames; there must be one."""
        last = self.count(span) - 1
        return self._clips[min(last, int(np.searchsorted(self._reach, generator.random() * self._reach[last])))]


class Sampler:
    """Draws samples from stores.

    Args:
        stores: the clips of each store; clips smaller than the crop are left out.
        config: size and chances.
        weights: share of each store, by default equal.
    Raises:
        InputError: no clip is as large as the crop.
    """

    def __init__(
        self, stores: Sequence[Sequence[StoredClip]], config: DataConfig, weights: Sequence[float] | None = None
    ) -> None:
        self._config = config
        large = [[clip for clip in clips if min(clip.height, clip.width) >= config.crop] for clips in stores]
        if not any(large):
            raise InputError(
                f"no training clip is as large as the crop, {config.crop}x{config.crop}; "
                "give larger videos, or lower data.crop"
            )
        self._shelves = [Shelf(clips) for clips in large]
        self._weights = np.array(weights if weights is not None else [1.0] * len(large))
        photos = [clip for clips in large for clip in clips if len(clip) == 1]
        self._photos = Shelf(photos) if photos else None
        self._photos_alone = all(len(clip) == 1 for clips in large for clip in clips)

    def check(self, offsets: Sequence[int]) -> None:
        """Raise InputError where no clip is long enough for a group."""
        span = max(offsets)
        if not self._photos_alone and not any(shelf.count(span) for shelf in self._shelves):
            raise InputError(f"no training clip large enough has the {span + 1} frames of a group; give longer videos")

    def draw(self, generator: np.random.Generator, offsets: Sequence[int]) -> Sample:
        """One sample for a group with these offsets; `check` them first."""
        config, span = self._config, max(offsets)
        still = span > 0 and self._photos is not None and (self._photos_alone or generator.random() < config.stills)
        clip = self._photos.draw(generator, 0) if still and self._photos else self._clip(generator, span)
        if clip.qindex >= 0:
            return _pair(generator, clip, config.crop)
        start = 0 if still else int(generator.integers(len(clip) - span))
        backwards = generator.random() < config.reverse
        times = tuple(start + (span - offset if backwards else offset) for offset in offsets)
        factor = self._factor(generator, clip)
        scaled = _scaled(clip, factor, config.crop, config.crop // 4 if still else 0)
        side = min(2 * round(scaled / factor / 2), clip.height, clip.width)
        return Sample(
            clip,
            times,
            top=2 * int(generator.integers((clip.height - side) // 2 + 1)),
            left=2 * int(generator.integers((clip.width - side) // 2 + 1)),
            side=side,
            scaled=scaled,
            mirror=bool(generator.random() < config.mirror),
            colour=_draw_colour(generator) if generator.random() < config.colour else None,
            motion=_draw_motion(generator, (scaled - config.crop) / 2) if still else None,
        )

    def _clip(self, generator: np.random.Generator, span: int) -> StoredClip:
        reach = np.cumsum([w * (shelf.count(span) > 0) for w, shelf in zip(self._weights, self._shelves, strict=True)])
        index = int(np.searchsorted(reach, generator.random() * reach[-1], side="right"))
        return self._shelves[index].draw(generator, span)

    def _factor(self, generator: np.random.Generator, clip: StoredClip) -> float:
        """By how much the window is enlarged; a window cannot be larger than its clip."""
        if generator.random() >= self._config.zoom:
            return 1.0
        low, high = self._config.zoom_range
        low = max(low, self._config.crop / min(clip.height, clip.width))
        return float(np.exp(generator.uniform(np.log(low), np.log(max(low, high)))))


def _pair(generator: np.random.Generator, clip: StoredClip, crop: int) -> Sample:
    """All pictures of a pair as they are, cut where its features can be cut as well."""
    top, left = (BLOCK * int(generator.integers((size - crop) // BLOCK + 1)) for size in (clip.height, clip.width))
    return Sample(clip, tuple(range(clip.frames)), top, left, crop, crop, mirror=False, colour=None, motion=None)


def _scaled(clip: StoredClip, factor: float, crop: int, room: int) -> int:
    """Side of the scaled window: the crop with some room around it for motion, as far as the clip reaches."""
    return min(crop + 2 * room, 2 * round(min(clip.height, clip.width) * factor / 2))


def _draw_colour(generator: np.random.Generator) -> Colour:
    contrast, brightness, saturation, hue = generator.uniform(-1, 1, 4)
    return Colour(float(1.25**contrast), float(20 * brightness), float(1.5**saturation), float(0.15 * hue))


def _draw_motion(generator: np.random.Generator, room: float) -> Motion:
    """From nearly none to several pixels a frame; `room` is what lies around the crop, in luma pixels."""
    amplitude = generator.normal(size=CURVES)
    amplitude[:2] = generator.uniform(-0.7, 0.7, 2) * room
    amplitude[2:4] *= 0.03
    amplitude[4:] *= generator.uniform(0, 3)
    return Motion(
        (amplitude * generator.uniform(0.1, 1)).astype(np.float32),
        np.exp(generator.uniform(np.log(24), np.log(160), CURVES)).astype(np.float32),
        generator.random(CURVES, np.float32),
    )
