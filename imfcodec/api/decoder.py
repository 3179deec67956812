"""Decoding as an object that may be kept: a stream that is open, and its frames."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from imfcodec.api.model import Model, as_model
from imfcodec.api.places import Location, open_source
from imfcodec.bitstream.container import StreamReader
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import AudioBatch, LostPacket, VideoPacket
from imfcodec.frames import AudioPacket, Frame, VideoFormat
from imfcodec.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from imfcodec.codec.decoder import Decoder as PacketDecoder

TakeAudio = Callable[[AudioPacket], None]


class Decoder:
    """An .imf stream, open for decoding; iterate over its frames, in display order. A context manager.

    Iteration goes on where it stopped; it loads the model when it asks for the first frame.

    Args:
        source: path or binary stream; a stream of the caller's stays open.
        model: a `Model`, its name or path; None finds the one the stream names.
        conceal: decode past damage, making up lost frames (`Frame.concealed`), instead of raising an error.
        limits: what the stream may ask for at most.

    Attributes:
        header: the stream's header.
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
        model: Model | str | None = None,
        conceal: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.model = as_model(model)
        self._limits, self._conceal = limits, conceal
        with ExitStack() as stack:
            file = stack.enter_context(open_source(source))
            self.size = os.fstat(file.fileno()).st_size if isinstance(source, str | Path) else None
            self._reader = StreamReader(file, conceal=conceal)
            self.header: StreamHeader = self._reader.header
            limits.check_format(self.header.format)
            limits.check_memory(self.header.format)
            self._stack = stack.pop_all()
        self.take_audio: TakeAudio | None = None
        self.bytes_read = self.lost_packets = 0
        self._decoder: PacketDecoder | None = None
        self._frames: Iterator[Frame] | None = None

    @property
    def format(self) -> VideoFormat:
        """Size, rate, colour and so on of the frames."""
        return self.header.format

    @property
    def concealed_frames(self) -> int:
        """Frames made up for lost ones, so far."""
        return self._decoder.concealed_frames if self._decoder else 0

    @property
    def last_duration(self) -> int | None:
        """Ticks the last frame is shown, known at the end; None stands for one frame."""
        return self._reader.last_duration

    def __iter__(self) -> "Decoder":
        return self

    def __next__(self) -> Frame:
        if self._frames is None:
            self._frames = self._start()
        return next(self._frames)

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
            from imfcodec.codec.decoder import Decoder as PacketDecoder

            self._decoder = PacketDecoder(self.model.load(self.header.model_id), self.header, conceal=self._conceal)

    def _start(self) -> Iterator[Frame]:
        self.load()
        assert self._decoder is not None
        return self._limits.counted(self.model.paced(self._decoder.decode(self._video_packets())))

    def _hand_on(self, sound: AudioBatch) -> None:
        if self.take_audio:
            for packet in sound.packets:
                self.take_audio(packet)

    def _video_packets(self) -> Iterator[VideoPacket | LostPacket]:
        for record in self._reader.records():
            self.bytes_read = record.offset + record.size
            if isinstance(record.item, AudioBatch):
                self._hand_on(record.item)
            elif record.item is not None:
                self.lost_packets += isinstance(record.item, LostPacket)
                yield record.item
