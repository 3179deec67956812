"""Frames to packets and back, with the weights that ship."""

import contextlib
import io
import threading
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import torch

from imfcodec.bitstream.container import StreamReader, StreamWriter, list_packets
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import AudioBatch, LostPacket, PacketKind, Quantisers, VideoPacket
from imfcodec.codec.analysis import ChunkTrial
from imfcodec.codec.concealment import LONGEST_MOVE
from imfcodec.codec.decoder import Decoder, read_chunk
from imfcodec.codec.encoder import Encoder, OperatingPoint, operating_point
from imfcodec.codec.planes import to_picture
from imfcodec.codec.quantisers import to_qindices
from imfcodec.codec.settings import LONGEST_GROUP, STRUCTURES, EncoderSettings
from imfcodec.entropy.coder import RangeDecoder
from imfcodec.errors import CorruptStreamError, UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame, VideoFormat
from imfcodec.latents.symbols import SymbolReader, SymbolWriter
from imfcodec.models import executor as executors
from imfcodec.models.executor import Executor, Part
from imfcodec.models.structure import Chunk, plan
from imfcodec.zoo import LoadedModel, load_model

QUALITIES = (20, 95)


@pytest.fixture(scope="module")
def model(torch_device) -> LoadedModel:
    return load_model(device=torch_device)


def header(model: LoadedModel, width: int, height: int) -> StreamHeader:
    return StreamHeader(VideoFormat(width, height, Fraction(25), Fraction(1, 25)), model.model_id)


def face(width: int, height: int, count: int) -> list[Frame]:
    return list(talking_face(talking_face_format(width, height, Fraction(25)), count))


def encode(model: LoadedModel, frames: list[Frame], point=None, observe=None, **settings):
    return list(Encoder(model, EncoderSettings(**settings), point, observe).encode(iter(frames)))


def decode(model: LoadedModel, packets, width: int, height: int, observe=None) -> list[Frame]:
    return list(Decoder(model, header(model, width, height), observe).decode(iter(packets)))


def received(model: LoadedModel, packets: list[VideoPacket], lost: int) -> list[Frame]:
    """What comes of a 64x64 stream out of which a packet was cut, through a pipe."""
    sink = io.BytesIO()
    with StreamWriter(sink, header(model, 64, 64)) as writer:
        for packet in packets:
            writer.write_video(packet)
    data = sink.getvalue()
    gone = [info for info in list_packets(io.BytesIO(data)) if info.frames][lost]
    reader = StreamReader(io.BytesIO(data[: gone.offset] + data[gone.offset + gone.size :]), conceal=True)
    return list(
        Decoder(model, reader.header, conceal=True).decode(item for item in reader if not isinstance(item, AudioBatch))
    )


def psnr(a: Frame, b: Frame) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.y.astype(float) - b.y) ** 2)))


def splits(model: LoadedModel, packet: VideoPacket) -> tuple[bool, ...]:
    """The split flags at the start of a packet's payload."""
    return read_chunk(packet, 0, SymbolReader(model.tables, packet.payload)).splits


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return face(128, 128, 18)


@pytest.fixture(scope="module")
def coded(model, frames):
    """Packets of the clip by structure and quality."""
    return {
        (structure, quality): encode(model, frames, structure=structure, quality=quality, golden_interval=8)
        for structure in STRUCTURES
        for quality in QUALITIES
    }


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("quality", QUALITIES)
def test_frames_come_back_in_order_and_alike(model, frames, coded, structure, quality):
    decoded = decode(model, coded[structure, quality], 128, 128)
    assert [f.pts for f in decoded] == [f.pts for f in frames]
    assert np.mean([psnr(a, b) for a, b in zip(frames, decoded, strict=True)]) > (24 if quality == 20 else 32)


def test_quality_costs_bytes_and_gives_decibels(model):
    frames, points = face(64, 64, 6), []
    for quality in (10, 50.5, 95):
        packets = encode(model, frames, quality=quality)
        decoded = decode(model, packets, 64, 64)
        mean = np.mean([psnr(a, b) for a, b in zip(frames, decoded, strict=True)])
        points.append((sum(len(p.payload) for p in packets), mean))
    assert points == sorted(points) and len({size for size, _ in points}) == 3


@pytest.mark.parametrize("structure", STRUCTURES)
def test_operating_points_grow_with_quality_and_stay_in_range(structure):
    points = [operating_point(EncoderSettings(quality=q / 4, structure=structure)) for q in range(401)]
    for name in ("golden", "deeper", "token"):
        values = [getattr(point.quantisers, name) for point in points]
        assert min(values) >= 0 and max(values) <= 255
        assert name == "deeper" or values == sorted(values)
    assert [p.key for p in points] == sorted(p.key for p in points) and points[-1].key <= 255
    assert all(p.key >= p.quantisers.golden >= p.quantisers.token for p in points)
    assert [p.interval for p in points] == sorted((p.interval for p in points), reverse=True)
    assert {p.split for p in points} == {structure == "offline"}
    assert len({p.quantisers.golden for p in points}) > 150, "fractions of a quality count"
    fixed = operating_point(EncoderSettings(golden_interval=5, structure=structure))
    assert (fixed.interval, fixed.split) == (5, False)


def test_golden_frames_are_closer_where_they_do_not_tell_what_is_between(model):
    """By shorter chunks or by golden frames inside them."""
    (frame,) = face(64, 64, 1)
    shown, u, v = frame.y, frame.u, frame.v
    hidden = shown.copy()
    hidden[16:32, 16:48] ^= 255
    clips = {
        "still": [Frame(shown, u, v, pts) for pts in range(17)],
        "blinking": [Frame(hidden if 5 <= pts % 16 < 12 else shown, u, v, pts) for pts in range(17)],
    }
    golden = {}
    for name, clip in clips.items():
        packets = encode(model, clip, quality=20)
        assert sum(p.frame_count for p in packets) == 17
        golden[name] = sum(1 + sum(splits(model, packet)) for packet in packets[1:] if packet.golden)
        assert [f.pts for f in decode(model, packets, 64, 64)] == list(range(17))
    assert golden["still"] == 1 and golden["blinking"] > 2
    packets = encode(model, clips["blinking"], golden_interval=16)
    assert [p.frame_count for p in packets] == [1, 16] and splits(model, packets[1]) == (False,)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (97, 51), (64, 200)])
def test_any_size(model, width, height):
    frames = face(width, height, 5)
    decoded = decode(model, encode(model, frames, golden_interval=4), width, height)
    assert [(f.y.shape, f.u.shape) for f in decoded] == [(f.y.shape, f.u.shape) for f in frames]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_short_clips(model, count, structure):
    """A short rest is sent as token frames where the quality is low."""
    frames = face(64, 64, count)
    for quality in (20, 90):
        packets = encode(model, frames, quality=quality, structure=structure)
        assert len(decode(model, packets, 64, 64)) == count
        if structure == "offline" and count > 1:
            assert packets[1].golden == (count > 3 or quality == 90)


@pytest.mark.parametrize("interval", [3, 2, 1])
def test_every_interval_ends_with_a_golden_frame(model, interval):
    """At any quality; but for a short rest."""
    packets = encode(model, face(64, 64, 13), quality=20, golden_interval=interval)
    assert all(packet.golden for packet in packets[1:])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_encoder_and_decoder_agree_to_the_sample(torch_device, tolerance, frames, monkeypatch, structure, dtype):
    """On every golden frame that becomes an anchor."""
    model = load_model(dtype=dtype, device=torch_device)
    anchors: list[torch.Tensor] = []
    advance = Executor.advance

    def spy(self, golden):
        anchors.append(golden.reference.picture.luma.clone())
        return advance(self, golden)

    monkeypatch.setattr(Executor, "advance", spy)
    packets = encode(model, frames, structure=structure, golden_interval=5)
    encoded = len(anchors)
    decode(model, packets, 128, 128)
    assert encoded == len(anchors) - encoded == (4 if structure == "offline" else 3)
    for ours, theirs in zip(anchors[:encoded], anchors[encoded:], strict=True):
        assert (ours - theirs).abs().max() <= tolerance


def test_what_the_encoder_observes_is_what_the_decoder_does(model):
    """Steps, parts and bits of what is sent, none of the trials; with flags and checks they fill the payloads."""
    told = [], []

    def observer(notes):
        return lambda steps, part, bits: notes.append(([s.position for s in steps], part, round(bits, 3)))

    frames = face(64, 64, 8)
    packets = encode(model, frames, quality=70, observe=observer(told[0]))
    decode(model, packets, 64, 64, observer(told[1]))
    assert told[0] == told[1] and told[0][0][:2] == ([], Part.LATENT)
    bits, payload = sum(note[2] for note in told[0]), 8 * sum(len(p.payload) for p in packets)
    flags = sum(len(splits(model, packet)) for packet in packets[1:])
    assert bits + 8 * len(packets) + flags == pytest.approx(payload, abs=9 * len(packets))


def test_a_scene_cut_opens_a_group(model):
    first = face(64, 64, 6)
    second = [Frame(255 - f.y, f.u, f.v, f.pts + 6) for f in first]
    packets = encode(model, first + second, golden_interval=16)
    assert [p.kind for p in packets] == [PacketKind.KEY, PacketKind.CHUNK] * 2
    assert [p.frame_count for p in packets] == [1, 5, 1, 5]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_frame_that_costs_less_as_a_key_frame_opens_a_group(model, monkeypatch, structure):
    """At that frame, wherever it lies in the chunk that was looked at; nothing is lost or shown twice."""
    frames = [replace(f, y=f.y // 4 + (160 if f.pts >= 6 else 0)) for f in face(64, 64, 10)]

    def is_brighter(trial, position, anchor):
        return float((trial._frames[position].luma.mean() - anchor.reference.picture.luma.mean()).abs()) > 0.3

    monkeypatch.setattr(ChunkTrial, "prefers_key", is_brighter)
    choices = {"structure": structure, "scene_cuts": False}
    packets = encode(model, frames, **choices)
    starts = np.cumsum([0, *(packet.frame_count for packet in packets)])
    keys = [start for start, packet in zip(starts, packets, strict=False) if packet.kind is PacketKind.KEY]
    assert keys == ([0, 6] if structure == "offline" else [0, 8]), "low delay looks at golden frames alone"
    assert [time for packet in packets for time in packet.pts] == list(range(10))
    monkeypatch.setattr(ChunkTrial, "prefers_key", lambda *_: False)
    assert [packet.kind for packet in encode(model, frames, **choices)].count(PacketKind.KEY) == 1


def test_a_key_frame_is_preferred_to_a_prediction_that_misleads(model):
    """And the golden frame where the prediction is perfect."""
    (frame,) = face(64, 64, 1)
    still = to_picture([frame], model.device)
    noise = to_picture([replace(frame, y=np.random.randint(0, 256, frame.y.shape, np.uint8))], model.device)
    qindices = to_qindices(Quantisers(golden=100, deeper=16, token=25), model.device)
    qindex = torch.tensor([200], device=model.device)
    with torch.inference_mode():
        writer = SymbolWriter(model.tables)
        misleading = Executor(model.network, writer).key(qindex, noise, noise)
        good = Executor(model.network, writer).key(qindex, still, still)
        trial = ChunkTrial(model.network, model.tables, qindices, {1: still})
        assert not trial.prefers_key(1, good)
        trial = ChunkTrial(model.network, model.tables, qindices, {1: still})
        assert trial.prefers_key(1, misleading)


def test_a_rest_is_sent_as_token_frames_only_where_nothing_changes(model):
    """However short it is: a frame that no reference explains would be shown as what it is moved from."""
    (frame,) = face(64, 64, 1)
    still = to_picture([frame], model.device)
    noise = to_picture([replace(frame, y=np.random.randint(0, 256, frame.y.shape, np.uint8))], model.device)
    qindices = to_qindices(Quantisers(golden=200, deeper=16, token=145), model.device)
    with torch.inference_mode():
        writer = SymbolWriter(model.tables)
        anchor = Executor(model.network, writer).key(torch.tensor([200], device=model.device), still, still)
        for count in (1, 2):
            calm = ChunkTrial(model.network, model.tables, qindices, dict.fromkeys(range(count + 1), still))
            assert calm.prefers_tokens(count, anchor)
            cut = ChunkTrial(
                model.network, model.tables, qindices, dict.fromkeys(range(1, count + 1), noise) | {0: still}
            )
            assert not cut.prefers_tokens(count, anchor)


def test_low_delay_reads_no_frame_ahead(model):
    taken = 0

    def source():
        nonlocal taken
        for taken, frame in enumerate(face(64, 64, 6), 1):  # noqa: B007
            yield frame

    packets = Encoder(model, EncoderSettings(structure="low-delay")).encode(source())
    assert [taken for packet in packets] == [1, 2, 3, 4, 5, 6]


def test_key_interval_opens_groups(model):
    packets = encode(model, face(64, 64, 12), key_interval=4, golden_interval=3)
    assert sum(p.kind is PacketKind.KEY for p in packets) == 3


def test_groups_do_not_grow_without_end(model, monkeypatch):
    """Decoders of different precision drift apart until a key frame comes."""
    monkeypatch.setitem(LONGEST_GROUP, "low-delay", 3)
    packets = encode(model, face(64, 64, 7), structure="low-delay")
    assert [number for number, p in enumerate(packets) if p.kind is PacketKind.KEY] == [0, 3, 6]
    assert sum(p.kind is PacketKind.KEY for p in encode(model, face(64, 64, 7), key_interval=5)) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"quality": 100.5},
        {"quality": -1},
        {"quality": float("nan")},
        {"structure": "sideways"},
        {"golden_interval": 0},
        {"golden_interval": 33},
        {"key_interval": 0},
        {"preset": "slowest"},
        {"spatial": 1.0},
        {"preset": "slow", "temporal": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError):
        EncoderSettings(**wrong)


def test_an_operating_point_can_be_given(model):
    """Instead of that of the settings' quality; packets carry it."""
    point = OperatingPoint(key=77, quantisers=Quantisers(golden=66, deeper=5, token=44), interval=3, split=True)
    packets = encode(model, face(64, 64, 7), point)
    assert [p.frame_count for p in packets] == [1, 3, 3] and packets[0].key_qindex == 77
    assert all(p.quantisers == point.quantisers for p in packets)
    assert len(decode(model, packets, 64, 64)) == 7


def test_memory_is_one_chunk(model):
    """The encoder never runs more than a chunk ahead of the packets it has given out."""
    taken = 0

    def source():
        nonlocal taken
        for frame in face(64, 64, 26):
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
        assert [f.concealed for f in decoded] == [1 <= i < 10 for i in range(20)]

    def test_a_damaged_payload_is_concealed_where_that_is_asked_for(self, model):
        packets = encode(model, face(64, 64, 12), key_interval=8, golden_interval=4)
        packets[1] = replace(packets[1], payload=bytes(len(packets[1].payload)))
        with pytest.raises(CorruptStreamError):
            decode(model, packets, 64, 64)
        decoder = Decoder(model, header(model, 64, 64), conceal=True)
        decoded = list(decoder.decode(iter(packets)))
        assert [f.pts for f in decoded] == list(range(12)) and decoder.concealed_frames == 7
        whole = decode(model, [packets[0], *packets[3:]], 64, 64)
        assert np.array_equal(decoded[-1].y, whole[-1].y), "from the next key frame on nothing is lost"

    def test_a_lost_token_frame_of_low_delay_costs_those_up_to_the_next_golden_frame(self, model):
        packets = encode(model, face(64, 64, 9), structure="low-delay", golden_interval=4)
        lost = packets[2]
        packets[2] = LostPacket(lost.kind, 1, "test", lost.pts)
        decoder = Decoder(model, header(model, 64, 64), conceal=True)
        decoded = list(decoder.decode(iter(packets)))
        whole = decode(model, [*packets[:2], lost, *packets[3:]], 64, 64)
        same = [np.array_equal(a.y, b.y) for a, b in zip(whole, decoded, strict=True)]
        assert same[:2] == [True, True] and all(same[4:]) and decoder.concealed_frames == 2
        assert [i for i, f in enumerate(decoded) if f.concealed] == [2, 3]

    @pytest.mark.parametrize("change", ["missing", "doubled"])
    def test_token_frames_of_low_delay_that_nobody_misses_cost_no_golden_frame(self, model, change):
        """No packet says that a frame went missing, or came again: the payloads that follow do."""
        frames = face(64, 64, 14)
        packets = encode(model, frames, structure="low-delay", golden_interval=4, quality=60)
        again = packets[7:] if change == "missing" else packets[5:]
        stream = [replace(packet, pts=(number,)) for number, packet in enumerate(packets[:6] + again)]
        whole = decode(model, packets, 64, 64)
        decoder = Decoder(model, header(model, 64, 64), conceal=True)
        decoded = list(decoder.decode(iter(stream)))
        assert [f.pts for f in decoded] == list(range(len(stream)))
        later = len(stream) - len(packets)
        for number in (8, 9, 12):
            assert np.array_equal(decoded[number + later].y, whole[number].y)

    def test_lost_frames_are_moved_between_the_good_ones(self, model):
        """Closer to what was lost than repeating; at the end of a video there is nothing to move to."""
        frames = face(128, 128, 12)
        packets = encode(model, frames, quality=80, key_interval=8, golden_interval=7)
        lost = [LostPacket(packet.kind, packet.frame_count, "test", packet.pts) for packet in packets]
        decoded = list(Decoder(model, header(model, 128, 128)).decode(iter([packets[0], lost[1], packets[2], lost[3]])))
        assert [f.pts for f in decoded] == list(range(12))
        repeated = np.mean([psnr(decoded[0], frame) for frame in frames[1:8]])
        assert np.mean([psnr(a, b) for a, b in zip(decoded[1:8], frames[1:8], strict=True)]) > repeated + 0.5
        assert all(np.array_equal(decoded[8].y, f.y) for f in decoded[9:])
        assert [f.concealed for f in decoded] == [number not in (0, 8) for number in range(12)]

    def test_a_video_that_starts_with_a_loss_shows_its_first_good_frame(self, model):
        packets = encode(model, face(64, 64, 6), key_interval=3, golden_interval=2)
        lost = [LostPacket(packet.kind, packet.frame_count, "test", packet.pts) for packet in packets]
        decoded = list(Decoder(model, header(model, 64, 64)).decode(iter([*lost[:2], *packets[2:]])))
        assert [f.pts for f in decoded] == list(range(6))
        assert all(np.array_equal(f.y, decoded[3].y) for f in decoded[:3])
        nothing = list(Decoder(model, header(model, 64, 64)).decode(iter(lost)))
        assert [f.pts for f in nothing] == list(range(6)) and all(f.concealed for f in nothing)

    def test_long_losses_repeat_and_wait_for_nothing(self, model):
        """Frames of a live stream are not held back for longer than anybody can tell what moved."""
        key, *_ = encode(model, face(64, 64, 2))
        gap = LostPacket(None, 1000, "test", tuple(range(1, 1001)))
        shown = Decoder(model, header(model, 64, 64)).decode(iter([key, gap]))
        stamps = [frame.pts for frame in islice(shown, LONGEST_MOVE + 2)]
        assert stamps == list(range(LONGEST_MOVE + 2))

    def test_after_a_loss_of_unknown_size_nothing_counts_as_intact(self, model):
        packets = encode(model, face(64, 64, 9), key_interval=6, golden_interval=5)
        decoder = Decoder(model, header(model, 64, 64))
        decoded = list(decoder.decode(iter([packets[0], LostPacket(None, None, "test"), *packets[1:]])))
        assert [f.concealed for f in decoded] == [1 <= number < 6 for number in range(9)]
        sound = LostPacket(PacketKind.AUDIO, 0, "test")
        assert not any(
            f.concealed for f in Decoder(model, header(model, 64, 64)).decode(iter([packets[0], sound, *packets[1:]]))
        )

    def test_symbols_of_a_chunk_depend_on_no_other(self, model, monkeypatch):
        """Without the chunk before, the same symbols are read, whatever is shown."""
        packets = encode(model, face(64, 64, 9), golden_interval=4, quality=80)
        lost = LostPacket(packets[1].kind, 4, "test", packets[1].pts)
        whole = TestExactSymbols.symbols(model, packets, monkeypatch, 64)
        parts = [TestExactSymbols.symbols(model, part, monkeypatch, 64) for part in (packets[:1], packets[:2])]
        after = TestExactSymbols.symbols(model, [packets[0], lost, packets[2]], monkeypatch, 64)
        assert after == parts[0] + whole[len(parts[1]) :]

    def test_time_never_runs_backwards(self, model):
        packets = encode(model, face(64, 64, 6), key_interval=3, golden_interval=2)
        lost = LostPacket(PacketKind.CHUNK, 9, "a damaged count", tuple(range(1, 10)))
        stamps = [f.pts for f in decode(model, [packets[0], lost, *packets[2:]], 64, 64)]
        assert stamps == sorted(set(stamps))

    def test_a_stream_without_its_key_frame_is_refused(self, model):
        with pytest.raises(CorruptStreamError, match="key frame"):
            decode(model, encode(model, face(64, 64, 4), golden_interval=3)[1:], 64, 64)

    def test_damaged_payloads_are_noticed_and_never_crash(self, model):
        """A flipped bit that changes a symbol is told by the check at the end, but once in some hundred."""
        packets = encode(model, face(64, 64, 6), golden_interval=5)
        random, passed = np.random.default_rng(1), 0
        for _ in range(24):
            number = int(random.integers(len(packets)))
            payload = bytearray(packets[number].payload)
            payload[random.integers(len(payload))] ^= 1 << random.integers(8)
            damaged = [*packets[:number], replace(packets[number], payload=bytes(payload)), *packets[number + 1 :]]
            with contextlib.suppress(CorruptStreamError):
                assert len(decode(model, damaged, 64, 64)) == 6
                passed += 1
        assert passed <= 4

    def test_garbage_is_noticed(self, model):
        """At least 95 % of random payloads are refused; the others decode to something."""
        key, chunk = encode(model, face(64, 64, 4), golden_interval=3)
        random, refused, tries = np.random.default_rng(2), 0, 100
        for i in range(tries):
            payload = random.bytes(int(random.integers(0, 120)))
            damaged = [key, replace(chunk, payload=payload)] if i % 2 else [replace(key, payload=payload)]
            try:
                assert len(decode(model, damaged, 64, 64)) == (4 if i % 2 else 1)
            except CorruptStreamError:
                refused += 1
        assert refused >= 0.95 * tries

    def test_garbage_token_frames_of_low_delay_are_noticed(self, model):
        """Without any bits for it: a payload must be the one that an encoder makes of its symbols."""
        key, token = encode(model, face(64, 64, 2), structure="low-delay", golden_interval=8)
        assert token.kind is PacketKind.DELAY_TOKEN
        random, refused, tries = np.random.default_rng(3), 0, 60
        for _ in range(tries):
            payload = random.bytes(int(random.integers(1, 40)))
            with contextlib.suppress(CorruptStreamError):
                assert len(decode(model, [key, replace(token, payload=payload)], 64, 64)) == 2
                continue
            refused += 1
        assert refused >= 0.8 * tries
        with pytest.raises(CorruptStreamError):
            decode(model, [key, replace(token, payload=token.payload + b"\0")], 64, 64)

    @pytest.mark.parametrize("structure", STRUCTURES)
    def test_with_resilience_losing_any_packet_harms_nothing_behind_the_next_key_frame(self, model, structure):
        """Each packet in turn is cut out of the stream, which nobody says; frames keep their places."""
        frames = face(64, 64, 14)
        packets = encode(model, frames, structure=structure, golden_interval=4, resilience=True)
        starts = np.cumsum([0, *(packet.frame_count for packet in packets)])
        keys = [starts[n] for n, packet in enumerate(packets) if packet.kind is PacketKind.KEY]
        assert len(keys) > 2 and np.diff([*keys, 14]).max() <= (4 if structure == "low-delay" else 5)
        whole = decode(model, packets, 64, 64)
        for lost, start in enumerate(starts[:-1]):
            decoded = received(model, packets, lost)
            assert [frame.pts for frame in decoded] == list(range(14))
            end = min((key for key in keys if key > start), default=14)
            differs = [not np.array_equal(a.y, b.y) for a, b in zip(whole, decoded, strict=True)]
            assert not any(differs[:start]) and not any(differs[end:])
            assert all(frame.concealed for frame, other in zip(decoded, differs, strict=True) if other)

    def test_what_is_lost_in_low_delay_without_a_word_is_missed_at_once(self, model):
        """Its number of frames tells where the next golden frame lies, and whether one was lost."""
        frames = face(64, 64, 15)
        packets = encode(model, frames, structure="low-delay", golden_interval=4)
        assert [n for n, packet in enumerate(packets) if packet.kind is PacketKind.DELAY_GOLDEN] == [4, 8, 12]
        whole = decode(model, packets, 64, 64)
        for lost, harmed in ((5, range(5, 8)), (7, range(7, 8)), (8, range(8, 15))):
            decoded = received(model, packets, lost)
            assert [n for n, frame in enumerate(decoded) if frame.concealed] == list(harmed)
            same = [n for n in range(15) if np.array_equal(whole[n].y, decoded[n].y)]
            assert set(same) >= set(range(15)) - set(harmed)

    def test_a_golden_chunk_after_a_rest_of_token_frames_is_refused(self, model):
        """No encoder writes that; it must not end in an error of another kind."""
        frames = face(64, 64, 9)
        key, rest = encode(model, frames[:3], quality=20)
        assert not rest.golden
        pictures = {i: to_picture([frame], model.device) for i, frame in enumerate(frames)}
        writer = SymbolWriter(model.tables)
        with torch.inference_mode():
            chunk = Chunk(4, True, before=2)
            reader = SymbolReader(model.tables, key.payload)
            key_qindex = torch.tensor([key.key_qindex], device=model.device)
            known = {0: Executor(model.network, reader).key(key_qindex, pictures[0], None)}
            qindices = to_qindices(Quantisers(100, 10, 60), model.device)
            for level in plan(chunk):
                Executor(model.network, writer).run(level, known, qindices, pictures)
        crafted = VideoPacket(
            PacketKind.CHUNK, 4, (3, 4, 5, 6), writer.finish(check=True), Quantisers(100, 10, 60), golden=True
        )
        with pytest.raises(CorruptStreamError):
            decode(model, [key, rest, crafted], 64, 64)


@pytest.fixture(scope="module")
def mixed(model, frames):
    """A key frame and a chunk with golden frames from one side and both, of several depths, and token frames."""
    point = OperatingPoint(key=225, quantisers=Quantisers(golden=200, deeper=9, token=150), interval=8, split=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChunkTrial, "pays", lambda self, interval, depth, known: interval[0] < 3)
        packets = encode(model, frames[:9], point)
    assert splits(model, packets[1]) == (True, True, False, True, True)
    return packets


class TestExactSymbols:
    """What selects probability tables is computed in integers: nothing in floating point can change a symbol."""

    @staticmethod
    def symbols(model, packets, monkeypatch, side=128) -> list[list[int]]:
        """All symbols read while decoding."""
        read: list[list[int]] = []
        plain = RangeDecoder.decode

        def spy(self, rows, tables):
            values = plain(self, rows, tables)
            read.append(values.tolist())
            return values

        with monkeypatch.context() as patch:
            patch.setattr(RangeDecoder, "decode", spy)
            decode(model, packets, side, side)
        return read

    def test_noise_on_every_float_output_changes_no_symbol(self, torch_device, mixed, coded, monkeypatch):
        model = load_model(device=torch_device)
        streams = [mixed, coded["low-delay", 95]]
        expected = [self.symbols(model, stream, monkeypatch) for stream in streams]
        noisy = 0

        def add_noise(module, inputs, output):
            nonlocal noisy
            noisy += 1
            return output * (1 + 1e-3 * torch.randn_like(output))

        for module in model.network.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear | torch.nn.LayerNorm):
                module.register_forward_hook(add_noise)
        assert [self.symbols(model, stream, monkeypatch) for stream in streams] == expected
        assert noisy > 100

    @pytest.mark.parametrize("threads", [1, 2, 4])
    def test_threads(self, model, mixed, monkeypatch, threads):
        torch.set_num_threads(1)
        expected = self.symbols(model, mixed, monkeypatch)
        torch.set_num_threads(threads)
        assert self.symbols(model, mixed, monkeypatch) == expected

    def test_bfloat16_networks(self, torch_device, mixed, coded, model, monkeypatch):
        """The same symbols, and pictures that differ by little."""
        rough = load_model(dtype="bfloat16", device=torch_device)
        for stream in (mixed, coded["low-delay", 95]):
            expected = self.symbols(model, stream, monkeypatch)
            assert self.symbols(rough, stream, monkeypatch) == expected
            ours, theirs = (decode(m, stream, 128, 128) for m in (model, rough))
            for a, b in zip(ours, theirs, strict=True):
                assert psnr(a, b) > 38
            assert any(not np.array_equal(a.y, b.y) for a, b in zip(ours, theirs, strict=True))


def test_groups_of_pixels_hold_whole_frames(model, monkeypatch):
    """The size of groups is part of the format: the same in encoder and decoder, at least one frame."""
    frames = face(64, 64, 9)
    monkeypatch.setattr(ChunkTrial, "pays", lambda self, interval, depth, known: depth < 3)
    for pixels in (1, 2 * 64 * 64):
        monkeypatch.setattr(executors, "GROUP_PIXELS", pixels)
        packets = encode(model, frames, quality=60)
        decoded = decode(model, packets, 64, 64)
        assert np.mean([psnr(a, b) for a, b in zip(frames, decoded, strict=True)]) > 25


def test_two_decoders_at_once(model, coded):
    """Decoders share the model and nothing else."""
    packets = coded["offline", 20]
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
