"""Cutting and joining streams: packets are copied, and only what a cut splits is encoded again."""

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from imfcodec import api
from imfcodec.bitstream.container import StreamReader
from imfcodec.bitstream.packet import VideoPacket
from imfcodec.codec.analysis import ChunkTrial
from imfcodec.errors import UsageError
from imfcodec.evaluation import demo
from imfcodec.evaluation.synthetic import talking_face_format

TICK = Fraction(1, 25)


def payloads(stream):
    """Payload and frame count of every packet of frames."""
    packets = StreamReader(io.BytesIO(stream))
    return [(packet.payload, packet.frame_count) for packet in packets if isinstance(packet, VideoPacket)]


def decoded(stream, model):
    return list(api.decode_frames(io.BytesIO(stream), model=model))


@pytest.fixture(scope="module")
def whole(grouped):
    return grouped.read_bytes()


@pytest.fixture(scope="module")
def frames(whole, tiny):
    return decoded(whole, tiny)


@pytest.fixture
def cut(grouped, tiny):
    """Trim to frames start..stop; returns the stream."""

    def run(start, stop=None, model=tiny):
        target = io.BytesIO()
        stop = None if stop is None else stop * TICK
        stats = api.trim(grouped, target, start=start * TICK, stop=stop, model=model)
        assert stats.byte_count == len(target.getvalue())
        assert api.probe(io.BytesIO(target.getvalue())).total_frames == stats.frames
        return target.getvalue()

    return run


@pytest.mark.parametrize(("start", "stop"), [(0, None), (10, None), (0, 20), (10, 20), (10, 15), (20, 26)])
def test_cuts_between_packets_copy_them(cut, whole, frames, tiny, start, stop):
    """The pixels are those of the source, from zero on; no model is needed."""
    stream = cut(start, stop, model="nobody.safetensors")
    kept = decoded(stream, tiny)
    assert [frame.pts for frame in kept] == list(range((stop or 26) - start))
    assert all(np.array_equal(a.y, b.y) for a, b in zip(kept, frames[start:stop], strict=True))
    assert stream == whole if (start, stop) == (0, None) else set(payloads(stream)) < set(payloads(whole))


def test_a_group_that_a_cut_splits_is_encoded_again(cut, whole, frames, tiny, monkeypatch):
    """Its frames to the next group at the start, those of one chunk at the end; what lies between is copied."""
    monkeypatch.setattr(ChunkTrial, "prefers_key", lambda *_: False)  # a model of no training prefers anything
    stream = cut(7, 23)
    kept = decoded(stream, tiny)
    assert [frame.pts for frame in kept] == list(range(16))
    assert all(np.array_equal(a.y, b.y) for a, b in zip(kept[3:14], frames[10:21], strict=True))
    copied = payloads(whole)[payloads(whole).index(payloads(stream)[2]) :][:5]
    assert sum(count for _, count in copied) == 11  # the second group, and the key frame of the third
    assert payloads(stream) == [*again(frames[7:10], whole, tiny), *copied, *again(frames[21:23], whole, tiny)]
    assert payloads(cut(12, 14)) == again(frames[12:14], whole, tiny)


def again(frames, stream, model):
    """Payloads of frames encoded with the quantisers of a stream's first group."""
    from imfcodec.codec.encoder import Encoder, operating_point

    key = next(iter(StreamReader(io.BytesIO(stream))))
    point = replace(operating_point(api.EncodeOptions()), key=key.key_qindex, quantisers=key.quantisers)
    packets = Encoder(model.load(), api.EncodeOptions(), point).encode(iter(frames))
    return [(packet.payload, packet.frame_count) for packet in packets]


def test_parts_joined_are_the_whole(cut, whole, tiny, tmp_path):
    """Byte for byte, where the cuts fall on groups."""
    names = [tmp_path / f"{number}.imf" for number in range(3)]
    for name, (start, stop) in zip(names, [(0, 10), (10, 20), (20, None)], strict=True):
        name.write_bytes(cut(start, stop))
    target = tmp_path / "joined.imf"
    assert api.concat(names, target).frames == 26
    assert target.read_bytes() == whole
    turned = io.BytesIO()
    api.concat(names[::-1], turned)
    assert payloads(turned.getvalue()) == [item for name in names[::-1] for item in payloads(name.read_bytes())]


def test_streams_that_differ_do_not_join(grouped, tiny, face_y4m, tmp_path):
    """One line that names the file and what differs."""
    other, renamed = tmp_path / "size.imf", tmp_path / "model.imf"
    api.encode(face_y4m, other, model=tiny)
    data = bytearray(grouped.read_bytes())
    with pytest.raises(UsageError, match=r"size\.imf: the size is 96x80, that of .*grouped\.imf is 64x64"):
        api.concat([grouped, other], tmp_path / "joined.imf")
    from imfcodec.bitstream.container import StreamWriter

    reader = StreamReader(io.BytesIO(data))
    with renamed.open("wb") as file, StreamWriter(file, replace(reader.header, model_id=bytes(8))) as writer:
        for packet in reader:
            writer.write_video(packet)
    with pytest.raises(UsageError, match=r"model\.imf: the model is 0000000000000000, that of"):
        api.concat([grouped, renamed], tmp_path / "joined.imf")
    with pytest.raises(UsageError, match="is an input itself"):
        api.concat([grouped, other], other, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.imf", "size.imf"]


def test_sound_stays_with_the_pictures(tiny, tmp_path):
    """Trimmed and joined, every packet of sound is as far from its picture as before; a variable rate stays."""
    clip, source = tmp_path / "sound.mkv", tmp_path / "sound.imf"
    demo.write_talking_face(clip, talking_face_format(64, 64), 30)
    api.encode(clip, source, model=tiny, key_interval=10, golden_interval=10)
    parts = [tmp_path / "a.imf", tmp_path / "b.imf"]
    header = api.probe(source).header
    frame = 1 / header.format.frame_rate
    api.trim(source, parts[0], stop=10 * frame, model=tiny)
    api.trim(source, parts[1], start=10 * frame, model=tiny)
    joined = tmp_path / "joined.imf"
    api.concat(parts, joined)
    before, after = sound(source), sound(joined)
    assert len(before) > 20
    assert [data for _, data in after] == [data for _, data in before]
    base = header.audio.time_base
    assert max(abs(a - b) * base for (a, _), (b, _) in zip(after, before, strict=True)) < Fraction(1, 1000)


def sound(path):
    """Time and bytes of every packet of sound."""
    from imfcodec.bitstream.packet import AudioBatch

    batches = (item for item in StreamReader(io.BytesIO(path.read_bytes())) if isinstance(item, AudioBatch))
    return [(packet.pts, packet.data) for batch in batches for packet in batch.packets]


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (1, 1), (2, 1)])
def test_parts_that_are_none(grouped, tmp_path, start, stop):
    with pytest.raises(UsageError, match="is empty or before the stream"):
        api.trim(grouped, tmp_path / "x.imf", start=start, stop=stop)
    with pytest.raises(UsageError, match="has ended before 9 seconds"):
        api.trim(grouped, tmp_path / "x.imf", start=9)
    assert not list(tmp_path.iterdir())
