"""What a decoder will see, measured while a stream is being made."""

from collections import deque
from collections.abc import Iterable, Iterator

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import VideoPacket
from imfcodec.codec.decoder import Decoder
from imfcodec.frames import Frame
from imfcodec.video.likeness import LikenessMeter
from imfcodec.video.scaling import resized
from imfcodec.zoo import LoadedModel


class Monitor:
    """Decodes packets as they are made, and compares what is shown with the originals.

    Args:
        header: of the stream.
        meter: for pictures of the shown size.
    """

    def __init__(self, model: LoadedModel, header: StreamHeader, meter: LikenessMeter) -> None:
        self._decoder, self._meter = Decoder(model, header), meter
        self._originals: deque[Frame] = deque()

    def originals(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Pass the frames of the source on."""
        for frame in frames:
            self._originals.append(frame)
            yield frame

    def packets(self, packets: Iterable[VideoPacket]) -> Iterator[VideoPacket]:
        """Pass the packets on."""
        for packet in packets:
            decoded = self._decoder.decode(iter((packet,)))
            for frame in decoded:
                original = self._originals.popleft()
                height, width = original.y.shape
                (shown,) = resized([frame], width, height)
                self._meter.add(original, shown)
            yield packet
