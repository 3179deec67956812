"""Packets to frames. Sees the file's bytes and nothing else."""

from collections.abc import Iterator, Sequence

import torch

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import LostPacket, PacketKind, VideoPacket
from imfcodec.codec.groups import Golden, Group
from imfcodec.codec.planes import padded_size, to_frames
from imfcodec.errors import CorruptStreamError
from imfcodec.frames import Frame
from imfcodec.latents.symbols import SymbolReader
from imfcodec.models.latent_token_encoder import Token
from imfcodec.nn.picture import Picture
from imfcodec.zoo import LoadedModel


class Decoder:
    """Decodes one video.

    Attributes:
        concealed_frames: frames made up for lost ones, so far.
    """

    def __init__(self, model: LoadedModel, header: StreamHeader) -> None:
        self.model = model
        self.concealed_frames = 0
        self._width, self._height = header.format.width, header.format.height
        width, height = padded_size(self._width, self._height)
        luma = torch.zeros(1, 1, height, width, device=model.device)
        self._like = Picture(luma, luma.new_zeros(1, 2, height // 2, width // 2))
        self._group: Group | None = None
        self._last: Frame | None = None

    def decode(self, packets: Iterator[VideoPacket | LostPacket]) -> Iterator[Frame]:
        """Yield frames in display order.

        A lost packet costs its own frames and all that build on it: the last good frame is repeated until the next
        key frame.

        Raises:
            CorruptStreamError: a packet that cannot follow the ones before it, or a payload no encoder writes.
        """
        latest: int | None = None
        for frame in self._frames(packets):
            if latest is None or frame.pts > latest:  # a damaged frame count may have covered too many
                latest = frame.pts
                yield frame

    def _frames(self, packets: Iterator[VideoPacket | LostPacket]) -> Iterator[Frame]:
        for packet in packets:
            if isinstance(packet, LostPacket):
                self._group = None
                yield from self._conceal(packet.pts)
            elif packet.kind is not PacketKind.KEY and self._group is None:
                if self._last is None and not self.concealed_frames:
                    raise CorruptStreamError("the stream does not start with a key frame; copy it again from its start")
                yield from self._conceal(packet.pts)
            else:
                yield from self._decode_packet(packet)

    def _conceal(self, pts: Sequence[int]) -> Iterator[Frame]:
        if self._last is None:
            self._last = to_frames(self._like, self._width, self._height, [0])[0]
        for time in pts:
            self.concealed_frames += 1
            yield Frame(self._last.y, self._last.u, self._last.v, time)

    def _decode_packet(self, packet: VideoPacket) -> Iterator[Frame]:
        position = 0
        pictures = self._pictures(packet, SymbolReader(self.model.tables, packet.payload))
        while True:
            with torch.inference_mode(), self.model.autocast():
                picture = next(pictures, None)
                if picture is None:
                    return
                pts = packet.pts[position : position + picture.luma.shape[0]]
                frames = to_frames(picture, self._width, self._height, pts)
            position += len(frames)
            self._last = frames[-1]
            yield from frames

    def _pictures(self, packet: VideoPacket, reader: SymbolReader) -> Iterator[Picture]:
        if packet.kind is PacketKind.KEY:
            self._group = Group.open(self.model.network, reader, packet.quality, None, self._like)
            yield self._group.anchor.picture
            return
        group = self._group
        assert group is not None, "checked by decode"
        if packet.kind is PacketKind.DELAY_GOLDEN:
            group.advance(group.golden(reader, packet.quality, group.distance + 1, None))
            yield group.anchor.picture
            return
        refined = reader.range.decode_flag()
        golden = None
        if packet.golden:
            golden = group.golden(reader, packet.quality, packet.frame_count, None)
            tokens = group.tokens_between(reader, packet.token_quality, golden, packet.frame_count, None)
        else:
            tokens = [group.token_after(reader, packet.token_quality, None) for _ in range(packet.frame_count)]
        yield from self._token_frames(group, packet, reader, tokens, golden, refined)
        if golden is not None:
            yield golden.reference.picture
            group.advance(golden)

    @staticmethod
    def _token_frames(
        group: Group,
        packet: VideoPacket,
        reader: SymbolReader,
        tokens: list[Token],
        golden: Golden | None,
        refined: bool,
    ) -> Iterator[Picture]:
        quality = packet.token_quality
        if refined:
            places = group.places(len(tokens), golden)
            for token, place in zip(tokens, places, strict=True):
                yield group.refined(reader, quality, token, golden, place, None)
        else:
            yield from group.render(tokens, golden, quality)
