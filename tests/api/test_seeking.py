"""Parts of a stream: the pixels of a full decode, read from the packets they need and no others."""

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from imfcodec import api
from imfcodec.bitstream.container import list_packets
from imfcodec.errors import UsageError
from imfcodec.video.reader import open_clip

TAIL_BYTES = 64 + 16  # the end packet is looked for in the last 64 bytes; the index before it


class Counting(io.BytesIO):
    """Bytes in memory that note which of them are read."""

    def __init__(self, data):
        super().__init__(data)
        self.seen = bytearray(len(data))

    def read(self, size=-1):
        start = self.tell()
        data = super().read(size)
        self.seen[start : start + len(data)] = b"\1" * len(data)
        return data


@pytest.fixture(scope="module")
def frames(grouped, tiny):
    """All frames of the stream, decoded from its start."""
    return list(api.decode_frames(grouped, model=tiny))


def same(some, others):
    """Whether frames are the same in every sample and time stamp."""
    assert [frame.pts for frame in some] == [frame.pts for frame in others]
    return all(
        np.array_equal(getattr(one, plane), getattr(other, plane))
        for one, other in zip(some, others, strict=True)
        for plane in "yuv"
    )


@pytest.mark.parametrize("number", [0, 3, 9, 10, 17, 20, 25])
def test_a_frame_costs_its_group_up_to_its_packet(grouped, frames, tiny, number):
    data = grouped.read_bytes()
    packets = [packet for packet in list_packets(io.BytesIO(data)) if packet.frames]
    source = Counting(data)
    with api.Decoder(source, model=tiny) as decoder:
        source.seen = bytearray(len(data))
        decoder.seek(number / 25, (number + 1) / 25)
        assert same(list(decoder), frames[number : number + 1])
    first = 0
    needed = bytearray(len(data))
    needed[-TAIL_BYTES:] = b"\1" * TAIL_BYTES
    for packet in packets:
        if first // 10 == number // 10 and first <= number:
            needed[packet.offset : packet.offset + packet.size] = b"\1" * packet.size
        first += packet.frames
    assert not [place for place in range(len(data)) if source.seen[place] > needed[place]]
    assert sum(source.seen) < len(data) * (0.7 if number < 20 else 0.5)


@pytest.mark.parametrize(("start", "stop"), [(0, 26), (0, 5), (8, 12), (12, 22), (23, 26)])
def test_a_part_is_that_of_a_full_decode(grouped, frames, tiny, start, stop):
    """Also after having read on, and back again."""
    with api.Decoder(grouped, model=tiny) as decoder:
        for _ in range(2):
            decoder.seek(Fraction(start, 25), Fraction(stop, 25))
            assert same(list(decoder), frames[start:stop])
        decoder.seek(Fraction(start, 25) - Fraction(1, 100))
        assert same(list(decoder), frames[start:])


@pytest.mark.parametrize("options", [{"structure": "low-delay"}, {"key_interval": 9}])
def test_every_structure_can_be_entered_midway(clip, tiny, options):
    """Token frames that later ones build on, tails of groups, golden frames inside chunks."""
    target = io.BytesIO()
    api.encode(clip, target, quality=20, model=tiny, edits=api.Edits(end=Fraction(15, 25)), **options)
    whole = list(api.decode_frames(io.BytesIO(target.getvalue()), model=tiny))
    with api.Decoder(io.BytesIO(target.getvalue()), model=tiny) as decoder:
        for number in (1, 7, 10, 14):
            decoder.seek(Fraction(number, 25), Fraction(number + 1, 25))
            assert same(list(decoder), whole[number : number + 1])


def test_variable_rate(clip, tiny):
    """The frame at or after a time, found by the time stamps of key frames; nothing is read behind the stop."""
    times = [0, 10, 15, 40, 41, 60, 80, 81, 90, 100]
    with open_clip(clip) as source:
        video = replace(source.format, time_base=Fraction(1, 100))
        shown = [replace(frame, pts=pts) for frame, pts in zip(source.frames(), times, strict=False)]
    target = io.BytesIO()
    encoder = api.Encoder(api.EncodeOptions(key_interval=4, golden_interval=2), model=tiny)
    encoder.encode_clip(api.Clip(video, iter(shown), variable_rate=True), target)
    whole = list(api.decode_frames(io.BytesIO(target.getvalue()), model=tiny))
    assert [frame.pts for frame in whole] == times
    source = Counting(target.getvalue())
    with api.Decoder(source, model=tiny) as decoder:
        for start, stop in ((0, 16), (16, 41), (41, 42), (42, 91), (100, 101)):
            decoder.seek(start * video.time_base, stop * video.time_base)
            assert same(list(decoder), [frame for frame in whole if start <= frame.pts < stop])


def test_pipes_go_forward_only(grouped, frames, tiny):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    with api.Decoder(Pipe(grouped.read_bytes()), model=tiny) as decoder:
        decoder.seek(0.5)
        assert same(list(decoder), frames[13:])
        with pytest.raises(UsageError, match="pipe cannot go back"):
            decoder.seek(0)


def test_empty_parts_are_refused(grouped, tiny):
    with api.Decoder(grouped, model=tiny) as decoder, pytest.raises(UsageError, match="from 1 to 1 seconds is empty"):
        decoder.seek(1, 1)
