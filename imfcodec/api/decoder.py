"""Decoding as an object that may be kept: a stream that is open, and its frames."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from math import ceil, isfinite
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from imfcodec.api.model import Model, as_model
from imfcodec.api.places import Location, open_source
from imfcodec.bitstream.container import StreamReader, find_group
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import AudioBatch, LostPacket, VideoPacket
from imfcodec.errors import UsageError
from imfcodec.frames import AudioPacket, Frame
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.video.scaling import resized

if TYPE_CHECKING:
    from imfcodec.codec.decoder import Decoder as PacketDecoder
    from imfcodec.light.decoder import LightDecoder

TakeAudio = Callable[[AudioPacket], None]
Seconds = float | Fraction

_FINEST = 10**9  # seconds given as floats mean the simple fraction next to them


def exact(seconds: Seconds) -> Fraction:
    """The number that is meant by a float; UsageError where that is none."""
    if not isfinite(seconds):
        raise UsageError(f"{seconds} is no number of seconds")
    return seconds if isinstance(seconds, Fraction) else Fraction(seconds).limit_denominator(_FINEST)


class Decoder:
    """An .imf stream, open for decoding; iterate over its frames, in display order. A context manager.

    Iteration goes on where it stopped; it loads the model when it asks for the first frame.

    Args:
        source: path or binary stream; a stream of the caller's stays open.
        model: a `Model`, its name or path; None finds the one the stream names.
        conceal: decode past damage, making up lost frames (`Frame.concealed`), instead of raising an error.
        native: give frames of the coded size instead of scaling them to the shown size.
        limits: what the stream may ask for at most.

    Attributes:
        header: the stream's header.
        format: size, rate, colour and so on of the frames.
        size: bytes of the stream, None where it is no file.
        bytes_read: bytes of the stream taken so far.
        lost_packets: packets that had to be given up, so far.
        take_audio: called with each packet of sound where it stands between the frames; None leaves sound out.

    Raises (while opening and while iterating):
        InputError: the source cannot be read.
        CorruptStreamError: the stream is damaged (with `conceal`: its header is).
        LimitError: a size in the stream is above the limits.
        ModelError: the model the stream names is missing, or `model` is another one.
    """

    def __init__(
        self,
        source: Location,
        *,
        model: Model | str | Path | None = None,
        conceal: bool = False,
        native: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.model = as_model(model)
        self._limits, self._conceal = limits, conceal
        with ExitStack() as stack:
            file = stack.enter_context(open_source(source))
            self.size = os.fstat(file.fileno()).st_size if isinstance(source, str | Path) else None
            self._file, self._reader = file, StreamReader(file, conceal=conceal)
            self.header: StreamHeader = self._reader.header
            limits.check_format(self.header.format)
            limits.check_memory(self.header.format)
            self.format = self.header.format if native else self.header.shown_format
            limits.check_format(self.format)
            self._stack = stack.pop_all()
        self.take_audio: TakeAudio | None = None
        self.bytes_read = self.lost_packets = 0
        self._decoder: PacketDecoder | LightDecoder | None = None
        self._frames: Iterator[Frame] | None = None
        self._packets: Iterator[VideoPacket | LostPacket] = iter(())
        self._start_pts: int | None = None
        self._stop_pts: int | None = None
        self._made_up = 0

    @property
    def concealed_frames(self) -> int:
        """Frames made up for lost ones, so far."""
        return self._made_up + (self._decoder.concealed_frames if self._decoder else 0)

    @property
    def last_duration(self) -> int | None:
        """Ticks the last frame is shown, known at the end; None stands for one frame."""
        return self._reader.last_duration

    def __iter__(self) -> "Decoder":
        return self

    def __next__(self) -> Frame:
        if self._frames is None:
            self._frames = self._open()
        return next(self._frames)

    def seek(self, start: Seconds, stop: Seconds | None = None) -> None:
        """Go on with the first frame shown at `start` or later; the pixels are those of a full decode.

        In a file, reading goes on at the key frame of its group, and packets before that frame are decoded only as far
        as it builds on them.

        Args:
            start: seconds on the clock of the stream.
            stop: seconds; iteration ends with the last frame shown before, and reads nothing behind it.
        Raises:
            UsageError: `stop` is not after `start`, or a pipe is to go back.
            CorruptStreamError: the index is damaged.
        """
        if stop is not None and stop <= start:
            raise UsageError(f"a part from {float(start):g} to {float(stop):g} seconds is empty; let it end later")
        if not self._file.seekable():
            if self.bytes_read:
                raise UsageError("a pipe cannot go back; decode a file")
        elif group := find_group(self._file, self.header, self._ticks(start)):
            self._reader.seek(group)
        elif self.bytes_read:
            self._reader.seek(self._reader.start)
        self._start_pts, self._stop_pts = self._ticks(start), None if stop is None else self._ticks(stop)
        self._made_up, self._decoder, self._frames = self.concealed_frames, None, None

    def finish_sound(self) -> None:
        """Hand on the sound that plays until the next packet of frames; after the last frame of a part."""
        if self.header.audio:
            next(self._packets, None)

    def batches(self, size: int) -> Iterator[list[Frame]]:
        """Yield lists of `size` frames, the last one shorter where no more are left."""
        while batch := list(islice(self, size)):
            yield batch

    def close(self) -> None:
        """Close the file; a stream of the caller's stays open."""
        self._frames = iter(())
        self._stack.close()

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self) -> None:
        """Load the model now rather than with the first frame."""
        if self._decoder is None:
            self._decoder = self.model.open_decoder(self.header, conceal=self._conceal)

    def _open(self) -> Iterator[Frame]:
        self.load()
        assert self._decoder is not None
        self._packets = self._video_packets(self._decoder)
        wanted = self._within(self.model.paced(self._decoder.decode(self._packets)))
        return self._limits.counted(resized(wanted, self.format.width, self.format.height))

    def _within(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames of the part that was asked for."""
        start, stop = self._start_pts, self._stop_pts
        for frame in frames:
            if stop is not None and frame.pts >= stop:
                return
            if start is None or frame.pts >= start:
                yield frame
            if stop is not None and self._pts_after(frame) >= stop:
                return

    def _pts_after(self, frame: Frame) -> int:
        """The earliest time at which the frame after this one may be shown."""
        if self.header.variable_rate:
            return frame.pts + 1
        return self.header.pts_at(self.header.frame_from(frame.pts) + 1)

    def _ticks(self, seconds: Seconds) -> int:
        return ceil(exact(seconds) / self.format.time_base)

    def _hand_on(self, sound: AudioBatch) -> None:
        if self.take_audio:
            for packet in sound.packets:
                self.take_audio(packet)

    def _video_packets(self, decoder: "PacketDecoder | LightDecoder") -> Iterator[VideoPacket | LostPacket]:
        for record in self._reader.records():
            self.bytes_read = record.offset + record.size
            if isinstance(record.item, AudioBatch):
                self._hand_on(record.item)
            elif isinstance(record.item, LostPacket):
                self.lost_packets += 1
                yield record.item
            elif record.item is not None and self._is_before(record.item):
                decoder.pass_over(record.item)
            elif record.item is not None:
                yield record.item

    def _is_before(self, packet: VideoPacket) -> bool:
        """Whether only what builds on a packet is wanted of it; where damage is covered, all of it is looked at."""
        return self._start_pts is not None and packet.pts[-1] < self._start_pts and not self._conceal
