"""Regions of interest: frames with the weights of their places, from rectangles, a mask or a detector of faces."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imfcodec.errors import UsageError
from imfcodec.frames import Frame, Plane, VideoFormat
from imfcodec.limits import Limits
from imfcodec.video.notes import Notes
from imfcodec.video.reader import ClipReader, open_clip

FACE = "face"
_CASCADE = "haarcascade_frontalface_alt2.xml"  # comes with OpenCV
_SEARCH_LINES = 320  # faces are looked for at this height, at most
_SEARCH_EVERY = 8  # frames

Rectangle = tuple[int, int, int, int]
"""x, y, width and height in luma pixels."""


def check_regions(regions: Sequence[str]) -> None:
    """Raise UsageError unless they are rectangles "x,y,width,height", or a mask's path or "face" alone."""
    rectangles = [_rectangle(text) for text in regions]
    if None in rectangles and len(regions) > 1:
        raise UsageError(f"--roi {regions[rectangles.index(None)]} stands alone; rectangles alone may be repeated")


def with_weights(
    frames: Iterator[Frame], regions: Sequence[str], video: VideoFormat, limits: Limits, tell: Notes
) -> Iterator[Frame]:
    """Frames of a video with the weights of their places; as they are without regions.

    Args:
        regions: as `check_regions` takes them. A mask, picture or video, is laid over the frames one after the other,
            its grey level the weight; its last one stays.
        limits: of the mask.
        tell: is given a line where there is no face.
    Raises:
        UsageError: a rectangle reaches outside the frames, or OpenCV is not installed.
        Errors of `open_clip`.
    """
    if not regions:
        return frames
    if regions[0] == FACE:
        return _with_faces(frames, FaceFinder(), tell)
    rectangles = [rectangle for text in regions if (rectangle := _rectangle(text))]
    if not rectangles:
        return _with_mask(frames, open_clip(Path(regions[0]), audio=False, limits=limits))
    for x, y, width, height in rectangles:
        if x + width > video.width or y + height > video.height:
            raise UsageError(f"--roi {x},{y},{width},{height} reaches outside frames of {video.width}x{video.height}")
    weight = _drawn(rectangles, video.width, video.height)
    return (replace(frame, weight=weight) for frame in frames)


def _rectangle(text: str) -> Rectangle | None:
    """The rectangle that a text names; None for a name."""
    if not re.fullmatch(r"[-+\d.,\s]+", text):
        return None
    match = re.fullmatch(r"(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5})", text)
    x, y, width, height = map(int, match.groups()) if match else (0, 0, 0, 0)
    if not width or not height:
        raise UsageError(f"--roi {text} is not x,y,width,height in luma pixels, width and height at least 1")
    return x, y, width, height


def _drawn(rectangles: Sequence[Rectangle], frame_width: int, frame_height: int) -> Plane:
    weight = np.zeros((frame_height, frame_width), np.uint8)
    for x, y, width, height in rectangles:
        weight[y : y + height, x : x + width] = 255
    return weight


def _with_mask(frames: Iterator[Frame], mask: ClipReader) -> Iterator[Frame]:
    with mask:
        full, levels = mask.format.colour.full_range, mask.frames()
        weight = None
        for frame in frames:
            if (level := next(levels, None)) is not None:
                weight = level.y if full else _widened(level.y)
            yield replace(frame, weight=weight)


def _widened(luma: Plane) -> Plane:
    """Limited-range luma, 16..235, as 0..255."""
    return ((luma.astype(np.float32) - 16) * (255 / 219)).round().clip(0, 255).astype(np.uint8)


class FaceFinder:
    """Finds faces by OpenCV's cascade of Haar features (Viola and Jones, 2001).

    Raises:
        UsageError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError:
            raise UsageError("--roi face needs OpenCV; install it with: pip install 'imfcodec[roi]'") from None
        self._cv2: Any = cv2  # its type hints lack some of its functions
        self._cascade = self._cv2.CascadeClassifier(self._cv2.data.haarcascades + _CASCADE)

    def find(self, luma: Plane) -> list[Rectangle]:
        """The faces in a picture, uint8 [H, W]."""
        share = min(1.0, _SEARCH_LINES / len(luma))
        small = self._cv2.resize(luma, None, fx=share, fy=share, interpolation=self._cv2.INTER_AREA)
        smallest = len(small) // 8
        faces = self._cascade.detectMultiScale(small, minNeighbors=4, minSize=(smallest, smallest))
        return [(int(x), int(y), int(width), int(height)) for x, y, width, height in np.divide(faces, share)]


def _with_faces(frames: Iterator[Frame], finder: FaceFinder, tell: Notes) -> Iterator[Frame]:
    """A face counts where it was last seen; until then all places do."""
    weight = None
    for number, frame in enumerate(frames):
        if number % _SEARCH_EVERY == 0:
            faces = finder.find(frame.y)
            weight = _drawn(faces, *frame.y.shape[::-1]) if faces else weight
        yield replace(frame, weight=weight)
    if weight is None:
        tell(["no face was found: coded without --roi"])
