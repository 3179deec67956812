"""Frames to packets and back, with the weights that ship."""

import contextlib
import threading
from fractions import Fraction

import numpy as np
import pytest
import torch

from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import LostPacket, PacketKind
from imfcodec.codec import groups
from imfcodec.codec.decoder import Decoder
from imfcodec.codec.encoder import STRUCTURES, Encoder, EncoderSettings, is_scene_cut
from imfcodec.entropy.coder import RangeDecoder
from imfcodec.errors import CorruptStreamError, UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame, VideoFormat
from imfcodec.zoo import LoadedModel, load_model


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model()


def header(model: LoadedModel, width: int, height: int) -> StreamHeader:
    return StreamHeader(VideoFormat(width, height, Fraction(25), Fraction(1, 25)), model.model_id)


def face(width: int, height: int, count: int) -> list[Frame]:
    return list(talking_face(talking_face_format(width, height, Fraction(25)), count))


def encode(model: LoadedModel, frames: list[Frame], **settings):
    return list(Encoder(model, EncoderSettings(**settings)).encode(iter(frames)))


def decode(model: LoadedModel, packets, width: int, height: int) -> list[Frame]:
    return list(Decoder(model, header(model, width, height)).decode(iter(packets)))


def psnr(a: Frame, b: Frame) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.y.astype(float) - b.y) ** 2)))


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return face(128, 128, 22)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("quality", [20, 95])
def test_frames_come_back_in_order_and_alike(model, frames, structure, quality):
    packets = encode(model, frames, structure=structure, quality=quality, golden_interval=8)
    decoded = decode(model, packets, 128, 128)
    assert [f.pts for f in decoded] == [f.pts for f in frames]
    assert np.mean([psnr(a, b) for a, b in zip(frames, decoded, strict=True)]) > (24 if quality == 20 else 32)


def test_quality_costs_bytes_and_gives_decibels(model, frames):
    points = []
    for quality in (10, 50, 95):
        packets = encode(model, frames, quality=quality)
        decoded = decode(model, packets, 128, 128)
        mean = np.mean([psnr(a, b) for a, b in zip(frames, decoded, strict=True)])
        points.append((sum(len(p.payload) for p in packets), mean))
    assert points == sorted(points) and len({size for size, _ in points}) == 3


def test_chunks_are_halved_where_golden_frames_do_not_tell_what_is_between(model, frames):
    shown, u, v = frames[0].y, frames[0].u, frames[0].v
    hidden = shown.copy()
    hidden[32:64, 32:96] ^= 255
    clips = {
        "still": [Frame(shown, u, v, pts) for pts in range(33)],
        "blinking": [Frame(hidden if 5 <= pts % 16 < 12 else shown, u, v, pts) for pts in range(33)],
    }
    lengths = {}
    for name, clip in clips.items():
        packets = encode(model, clip, quality=20)
        lengths[name] = [p.frame_count for p in packets]
        assert [f.pts for f in decode(model, packets, 128, 128)] == list(range(33))
    assert lengths["still"] == [1, 16, 16] and max(lengths["blinking"]) < 16
    assert [p.frame_count for p in encode(model, clips["blinking"], golden_interval=16)] == [1, 16, 16]


@pytest.mark.parametrize(("width", "height"), [(16, 16), (97, 51), (64, 200)])
def test_any_size(model, width, height):
    frames = face(width, height, 5)
    decoded = decode(model, encode(model, frames, golden_interval=4), width, height)
    assert [(f.y.shape, f.u.shape) for f in decoded] == [(f.y.shape, f.u.shape) for f in frames]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_short_clips(model, count):
    frames = face(64, 64, count)
    assert len(decode(model, encode(model, frames, golden_interval=8), 64, 64)) == count


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_encoder_and_decoder_agree_to_the_sample(frames, monkeypatch, structure, dtype):
    model = load_model(dtype=dtype)
    anchors: list[torch.Tensor] = []
    advance = groups.Group.advance

    def spy(self, golden):
        anchors.append(golden.reference.picture.luma.clone())
        advance(self, golden)

    monkeypatch.setattr(groups.Group, "advance", spy)
    packets = encode(model, frames, structure=structure, golden_interval=7)
    encoded = len(anchors)
    decode(model, packets, 128, 128)
    assert encoded == len(anchors) - encoded == 3
    for ours, theirs in zip(anchors[:encoded], anchors[encoded:], strict=True):
        assert torch.equal(ours, theirs)


def test_a_scene_cut_opens_a_group(model):
    first = face(64, 64, 6)
    second = [Frame(255 - f.y, f.u, f.v, f.pts + 6) for f in first]
    assert is_scene_cut(first[-1], second[0]) and not is_scene_cut(first[0], first[1])
    kinds = [p.kind for p in encode(model, first + second, golden_interval=16)]
    assert kinds == [PacketKind.KEY, PacketKind.CHUNK, PacketKind.KEY, PacketKind.CHUNK]


def test_key_interval_opens_groups(model):
    packets = encode(model, face(64, 64, 12), key_interval=4, golden_interval=3)
    assert sum(p.kind is PacketKind.KEY for p in packets) == 3


@pytest.mark.parametrize(
    "wrong", [{"quality": 101}, {"structure": "sideways"}, {"golden_interval": 1}, {"key_interval": 0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError):
        EncoderSettings(**wrong)


def test_memory_is_one_chunk(model):
    """The encoder never runs more than a chunk ahead of the packets it has given out."""
    taken = 0

    def source():
        nonlocal taken
        for frame in face(64, 64, 40):
            taken += 1
            yield frame

    given = 0
    for packet in Encoder(model, EncoderSettings(golden_interval=8)).encode(source()):
        assert taken - given <= 8 + 2
        given += packet.frame_count


class TestLosses:
    def test_a_lost_chunk_is_covered_until_the_next_key(self, model):
        packets = encode(model, face(64, 64, 20), key_interval=10, golden_interval=4)
        lost = packets[1]
        packets[1] = LostPacket(lost.kind, lost.frame_count, "test", lost.pts)
        decoder = Decoder(model, header(model, 64, 64))
        decoded = list(decoder.decode(iter(packets)))
        assert [f.pts for f in decoded] == list(range(20))
        assert decoder.concealed_frames == 9
        assert np.array_equal(decoded[5].y, decoded[0].y) and not np.array_equal(decoded[10].y, decoded[0].y)

    def test_time_never_runs_backwards(self, model):
        packets = encode(model, face(64, 64, 6), key_interval=3, golden_interval=2)
        lost = LostPacket(PacketKind.CHUNK, 9, "a damaged count", tuple(range(1, 10)))
        stamps = [f.pts for f in decode(model, [packets[0], lost, *packets[2:]], 64, 64)]
        assert stamps == sorted(set(stamps))

    def test_a_stream_without_its_key_frame_is_refused(self, model):
        with pytest.raises(CorruptStreamError, match="key frame"):
            decode(model, encode(model, face(64, 64, 4), golden_interval=3)[1:], 64, 64)

    def test_damaged_payloads_never_crash(self, model):
        packets = encode(model, face(64, 64, 6), golden_interval=5)
        random = np.random.default_rng(1)
        for _ in range(30):
            damaged = []
            for packet in packets:
                payload = bytearray(packet.payload)
                payload[random.integers(len(payload))] ^= 1 << random.integers(8)
                damaged.append(type(packet)(**{**packet.__dict__, "payload": bytes(payload)}))
            with contextlib.suppress(CorruptStreamError):
                assert len(decode(model, damaged, 64, 64)) == 6


class TestExactSymbols:
    """What selects probability tables is computed in integers: nothing in floating point can change a symbol."""

    @pytest.fixture(scope="class")
    def packets(self, model):
        return encode(model, face(128, 128, 18), quality=85, golden_interval=8)

    @staticmethod
    def symbols(model, packets, monkeypatch) -> list[list[int]]:
        """All symbols read while decoding."""
        read: list[list[int]] = []
        plain = RangeDecoder.decode

        def spy(self, rows, tables):
            values = plain(self, rows, tables)
            read.append(values.tolist())
            return values

        with monkeypatch.context() as patch:
            patch.setattr(RangeDecoder, "decode", spy)
            decode(model, packets, 128, 128)
        return read

    def test_noise_on_every_float_output_changes_no_symbol(self, packets, monkeypatch):
        model = load_model()
        expected = self.symbols(model, packets, monkeypatch)
        noisy = 0

        def add_noise(module, inputs, output):
            nonlocal noisy
            noisy += 1
            return output * (1 + 1e-3 * torch.randn_like(output))

        for module in model.network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear | torch.nn.LayerNorm):
                module.register_forward_hook(add_noise)
        assert self.symbols(model, packets, monkeypatch) == expected
        assert noisy > 100

    @pytest.mark.parametrize("threads", [1, 2, 4])
    def test_threads(self, model, packets, monkeypatch, threads):
        torch.set_num_threads(1)
        expected = self.symbols(model, packets, monkeypatch)
        torch.set_num_threads(threads)
        assert self.symbols(model, packets, monkeypatch) == expected

    def test_batch_1_and_batch_8(self, model, monkeypatch):
        frames, read = face(128, 128, 18), []
        for batch in (1, 8):
            monkeypatch.setattr(groups, "BATCH_PIXELS", batch * 128 * 128)
            packets = encode(model, frames, quality=50, golden_interval=16)
            read.append((packets, self.symbols(model, packets, monkeypatch)))
        (packets, alone), (_, together) = read
        assert len(alone) == len(together)
        for batch in (1, 8):
            monkeypatch.setattr(groups, "BATCH_PIXELS", batch * 128 * 128)
            assert self.symbols(model, packets, monkeypatch) == alone

    def test_bfloat16_networks(self, packets, model, monkeypatch):
        expected = self.symbols(model, packets, monkeypatch)
        assert self.symbols(load_model(dtype="bfloat16"), packets, monkeypatch) == expected


def test_two_decoders_at_once(model, frames):
    """Decoders share the model and nothing else."""
    packets = encode(model, frames[:9], golden_interval=8)
    alone = decode(model, packets, 128, 128)
    results: dict[int, list[Frame]] = {}
    threads = [
        threading.Thread(target=lambda i=i: results.update({i: decode(model, packets, 128, 128)})) for i in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in results.values():
        assert all(np.array_equal(a.y, b.y) for a, b in zip(alone, other, strict=True))
    assert len(results) == 2
