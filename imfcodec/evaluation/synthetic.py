"""A talking face with a voice, drawn by code: a source for the demo and the tests that needs no footage.

Positions are in units of half the picture's height, origin at the centre, x to the right and y down. Colours are
(Y, Cb, Cr) in limited range.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from imfcodec.frames import Colour, Frame, VideoFormat

SAMPLE_RATE = 48000
SYLLABLES_PER_SECOND = 4.5
PITCH_HZ = 115.0
FORMANTS = ((600.0, 180.0, 1.0), (1150.0, 250.0, 0.5), (2500.0, 400.0, 0.2))  # centre Hz, width Hz, gain

SKIN = (150.0, 112.0, 152.0)
LIPS = (105.0, 116.0, 166.0)
HAIR = (48.0, 124.0, 134.0)
SHIRT = (92.0, 146.0, 112.0)
EYE_WHITE = (205.0, 128.0, 128.0)
IRIS = (80.0, 142.0, 116.0)
BLACK = (24.0, 128.0, 128.0)
TEETH = (200.0, 124.0, 130.0)
WALL = (120.0, 122.0, 131.0)

Array = npt.NDArray[np.float32]
Tone = tuple[float | Array, float, float]


@dataclass(frozen=True)
class Pose:
    """How the face stands in one frame.

    Attributes:
        x, y: centre of the head.
        roll: radians, clockwise.
        turn: how far the features are shifted sideways on the head, as a share of its width.
        mouth: opening of the mouth, 0..1.
        eyes: opening of the eyes, 0..1.
    """

    x: float
    y: float
    roll: float
    turn: float
    mouth: float
    eyes: float


def talking_face_format(width: int = 256, height: int = 256, frame_rate: Fraction = Fraction(25)) -> VideoFormat:
    """Format of the frames `talking_face` draws: one tick a frame, BT.709 limited range."""
    return VideoFormat(width, height, frame_rate, 1 / frame_rate, colour=Colour(1, 1, 1))


def talking_face(video: VideoFormat, frame_count: int, seed: int = 0) -> Iterator[Frame]:
    """Draw `frame_count` frames of a head that speaks, blinks and sways before a textured wall.

    Args:
        video: size, rate and time base of the frames.
        seed: texture of the wall and rhythm of the speech; `voice` with the same seed fits the mouth.
    Returns:
        Frames with uint8 planes y [H, W] and u, v [ceil(H / 2), ceil(W / 2)], in display order.
    """
    canvas = _Canvas(video.width, video.height)
    wall = canvas.wall(seed)
    ticks = 1 / (video.frame_rate * video.time_base)
    for index in range(frame_count):
        canvas.start(wall)
        _draw_person(canvas, _pose(float(index / video.frame_rate), seed))
        yield canvas.frame(pts=round(index * ticks))


def voice(seconds: float, seed: int = 0) -> npt.NDArray[np.int16]:
    """Make a voice-like sound: harmonics under three formants, in syllables with pauses.

    Returns:
        int16 [round(seconds * SAMPLE_RATE)] mono samples.
    """
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = PITCH_HZ * (1 + 0.08 * np.sin(2 * np.pi * 0.7 * time) + 0.02 * np.sin(2 * np.pi * 5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    tone = np.zeros_like(time)
    for harmonic in range(1, 28):
        gain = sum(g * np.exp(-(((harmonic * PITCH_HZ - centre) / width) ** 2)) for centre, width, g in FORMANTS)
        tone += (gain + 0.05 / harmonic) * np.sin(harmonic * phase)
    breath = np.random.default_rng(seed).normal(0, 0.02, time.shape)
    sound = (tone / np.abs(tone).max(initial=1e-9) + breath) * loudness(time, seed)
    return np.clip(sound * 24000, -32768, 32767).astype(np.int16)


def loudness(time: npt.NDArray[np.float64], seed: int = 0) -> npt.NDArray[np.float64]:
    """Envelope of the voice, 0..1, at each of `time` (seconds): syllables of differing strength, some silent."""
    syllable = time * SYLLABLES_PER_SECOND
    strength = np.random.default_rng(seed).uniform(0.35, 1.0, 64)
    strength[5::9] = 0.0
    return strength[syllable.astype(int) % 64] * np.sin(np.pi * (syllable % 1.0)) ** 2


def _pose(time: float, seed: int) -> Pose:
    phase = 0.7 * seed
    blink = abs((time + 0.4 * seed) % 2.1 - 1.3)
    return Pose(
        x=0.05 * np.sin(1.3 * time + phase),
        y=-0.02 + 0.025 * np.sin(2.1 * time + 1 + phase),
        roll=0.06 * np.sin(0.9 * time + phase),
        turn=0.12 * np.sin(1.1 * time + 2 + phase),
        mouth=float(loudness(np.array([time]), seed)[0]),
        eyes=float(np.clip((blink - 0.04) / 0.08, 0.05, 1.0)),
    )


def _draw_person(canvas: "_Canvas", pose: Pose) -> None:
    body = _Place(canvas, 0.4 * pose.x, 0.95, 0.0)
    stripes = 8 * np.sign(np.sin(40 * body.x)).astype(np.float32)
    body.ellipse(0, 0.1, 0.85, 0.5, (SHIRT[0] + stripes, SHIRT[1], SHIRT[2]))
    body.ellipse(0, -0.38, 0.2, 0.25, (SKIN[0] - 30, SKIN[1], SKIN[2]))
    head = _Place(canvas, pose.x, pose.y, pose.roll)
    head.ellipse(0, -0.12, 0.5, 0.62, HAIR)
    for side in (-1, 1):
        head.ellipse(side * 0.43 - 0.1 * pose.turn, 0.05, 0.07, 0.12, (SKIN[0] - 15, SKIN[1], SKIN[2]))
    shade = SKIN[0] + 22 - 45 * ((head.x + 0.15) ** 2 + 0.5 * head.y**2) / 0.36
    head.ellipse(0, 0.02, 0.43, 0.56, (shade, SKIN[1], SKIN[2]))
    head.ellipse(0.1 * pose.turn, -0.5, 0.4, 0.17, HAIR)
    _draw_features(head, pose)


def _draw_features(head: "_Place", pose: Pose) -> None:
    shift = 0.4 * pose.turn
    for side in (-1, 1):
        x = side * 0.17 + shift
        head.ellipse(x, -0.2 - 0.02 * pose.mouth, 0.1, 0.018, HAIR)
        head.ellipse(x, -0.09, 0.08, 0.045 * pose.eyes, EYE_WHITE)
        head.ellipse(x + 0.1 * shift, -0.09, 0.034, 0.036 * pose.eyes, IRIS)
        head.ellipse(x + 0.1 * shift, -0.09, 0.016, 0.017 * pose.eyes, BLACK)
    head.ellipse(shift * 1.2, 0.07, 0.045, 0.13, (SKIN[0] + 18, SKIN[1], SKIN[2]))
    head.ellipse(shift * 1.2 + 0.03, 0.16, 0.05, 0.025, (SKIN[0] - 30, SKIN[1], SKIN[2]))
    opening = 0.012 + 0.085 * pose.mouth
    x, y, width = shift, 0.33 + 0.3 * opening, 0.15 - 0.03 * pose.mouth
    head.ellipse(x, y, width, opening + 0.03, LIPS)
    head.ellipse(x, y, width - 0.03, opening, BLACK)
    head.ellipse(x, y - 0.6 * opening, width - 0.05, 0.35 * opening, TEETH)


class _Canvas:
    """One picture being painted: float32 [3, H, W] with both sides rounded up to even."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        rows, columns = height + height % 2, width + width % 2
        self.unit = height / 2  # pixels
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
        self.x: Array = (x + 0.5 - width / 2) / np.float32(self.unit)
        self.y: Array = (y + 0.5 - height / 2) / np.float32(self.unit)
        self.planes: Array = np.zeros((3, rows, columns), np.float32)

    def wall(self, seed: int) -> Array:
        """Draw the background: a lit wall with a woven texture and a darker shelf. float32 [3, H, W]."""
        rng = np.random.default_rng(seed)
        luma = WALL[0] + 18 * self.x - 12 * self.y
        for _ in range(12):
            fx, fy, phase = rng.uniform(4, 40), rng.uniform(4, 40), rng.uniform(0, 6.28)
            luma = luma + 2.5 * np.sin(fx * self.x + fy * self.y + phase)
        luma = luma + rng.normal(0, 1.5, luma.shape) - 45 * ((self.y > -0.35) & (self.y < -0.25))
        return np.stack([luma, np.full_like(luma, WALL[1]), np.full_like(luma, WALL[2])]).astype(np.float32)

    def start(self, background: Array) -> None:
        """Begin a new frame on `background`, float32 [3, H, W]."""
        self.planes[:] = background

    def frame(self, pts: int) -> Frame:
        """Round the painted picture to an 8-bit 4:2:0 frame."""
        y = self.planes[0, : self.height, : self.width]
        chroma = self.planes[1:]
        chroma = (chroma[:, ::2, ::2] + chroma[:, 1::2, ::2] + chroma[:, ::2, 1::2] + chroma[:, 1::2, 1::2]) / 4
        luma, u, v = (np.clip(np.rint(plane), 16, 235).astype(np.uint8) for plane in (y, chroma[0], chroma[1]))
        return Frame(luma, u, v, pts)


class _Place:
    """A part of the picture with its own origin and roll, to paint ellipses on."""

    def __init__(self, canvas: _Canvas, x: float, y: float, roll: float) -> None:
        cos, sin = np.float32(np.cos(roll)), np.float32(np.sin(roll))
        across, down = canvas.x - np.float32(x), canvas.y - np.float32(y)
        self.canvas = canvas
        self.x: Array = cos * across + sin * down
        self.y: Array = cos * down - sin * across

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, tone: Tone) -> None:
        """Paint a filled ellipse with one pixel of smooth edge; `tone[0]` may be a luma picture."""
        radius = np.hypot((self.x - np.float32(x)) / half_width, (self.y - np.float32(y)) / half_height)
        cover = np.clip((1 - radius) * min(half_width, half_height) * self.canvas.unit + 0.5, 0, 1)
        rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
        if not len(rows):
            return
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        for plane, value in zip(self.canvas.planes, tone, strict=True):
            target = value[box] if isinstance(value, np.ndarray) else value
            plane[box] += cover[box] * (target - plane[box])
