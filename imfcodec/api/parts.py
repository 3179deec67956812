"""A part of a stream on its way to a target: its frames, from zero on, and the sound that belongs to them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from imfcodec.api.decoder import Decoder, Seconds
from imfcodec.api.sound import DecodedSound
from imfcodec.errors import UsageError
from imfcodec.frames import Frame


@dataclass(frozen=True)
class Part:
    """What to decode of a stream.

    Attributes:
        start: seconds; the first frame shown then or later is the first one, shown at 0. None is the start.
        stop: seconds on the clock of the stream; frames shown then or later are left out. None is the end.
        frames: how many frames at most, None for all.
    """

    start: Seconds | None = None
    stop: Seconds | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise UsageError(f"{self.frames} frames make no video; give 1 or more")
        if self.start is not None and self.start < 0:
            raise UsageError(f"a start at {float(self.start):g} seconds lies before the stream; give 0 or more")

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self == Part()

    def decode(self, stream: Decoder, sound: DecodedSound) -> Iterator[Frame]:
        """Yield the frames and hand the sound that plays with them to `sound`, both moved.

        Raises:
            UsageError: the stream ends before the part begins.
            Errors of `Decoder`.
        """
        stream.take_audio = sound.take
        if self.is_whole:
            yield from stream
            return
        if self.start is not None or self.stop is not None:
            stream.seek(self.start or 0, self.stop)
        sound.cut(None if self.start is None else math.inf, self.stop)  # nothing before the first frame
        frames = islice(stream, self.frames)
        first = last = next(frames, None)
        if first is None or last is None:
            raise UsageError(f"the stream has ended before {float(self.start or 0):g} seconds; start earlier")
        base = stream.format.time_base
        moved = 0 if self.start is None else first.pts
        sound.cut(None if self.start is None else moved * base, self.stop)
        yield replace(first, pts=first.pts - moved)
        for last in frames:
            yield replace(last, pts=last.pts - moved)
        end = (last.pts + stream.header.nominal_ticks) * base
        sound.cut(None if self.start is None else moved * base, end)
        stream.finish_sound()
