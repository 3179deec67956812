"""Asking for a rate, a size, a quality of picture or a coded size, and getting it."""

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from imfcodec import api
from imfcodec.bitstream.container import StreamReader
from imfcodec.bitstream.packet import VideoPacket
from imfcodec.codec.encoder import Encoder
from imfcodec.errors import UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import AudioPacket, AudioTrack
from imfcodec.video.filters import has_filter
from imfcodec.video.likeness import LikenessMeter
from imfcodec.video.scaling import resized

VIDEO = talking_face_format(64, 64, Fraction(5))
COUNT = 12
FIXED = {"golden_interval": 5}


@pytest.fixture(scope="module")
def model():
    """The default model, loaded once for all tests here."""
    return api.Model(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def frames():
    """Two seconds of a talking face, 64x64."""
    return list(talking_face(VIDEO, COUNT))


@pytest.fixture
def encode(tiny, frames):
    """Encode the frames; returns stats, stream and what was said."""

    def run(frames=frames, video=VIDEO, model=tiny, **options):
        target, said = io.BytesIO(), []
        encoder = api.Encoder(api.EncodeOptions(**options), model=model, say=said.append)
        return encoder.encode_clip(api.Clip(video, iter(frames)), target), target.getvalue(), said

    return run


def likeness(name, frames, stream, model, video=VIDEO):
    """Mean likeness of a stream's frames, measured apart."""
    meter = LikenessMeter(name, video)
    for pair in zip(frames, api.decode_frames(io.BytesIO(stream), model=model), strict=True):
        meter.add(*pair)
    return meter.mean()


def test_a_bitrate_is_met_everything_counted(encode):
    wanted = encode(quality=37, **FIXED)[0].kbps
    stats, stream, said = encode(bitrate=round(1000 * wanted), **FIXED)
    assert stats.byte_count == len(stream) and stats.frames == COUNT
    assert stats.kbps == pytest.approx(wanted, rel=0.03)
    assert 2 <= stats.passes <= 6 and not said


def test_a_size_is_met_with_decisions_taken_over(encode, frames):
    """Where the encoder chooses the order of frames, the last pass keeps to an earlier one's."""
    wanted = encode(frames[:11], quality=40)[0].byte_count
    stats, stream, said = encode(frames[:11], target_size=wanted)
    assert len(stream) == pytest.approx(wanted, rel=0.03) and not said
    assert stats.frames == 11


def test_first_passes_are_made_at_reduced_effort(encode, frames, monkeypatch):
    presets, tune = [], Encoder.__init__

    def noting(self, model, settings, *args, **options):
        presets.append(settings.preset)
        tune(self, model, settings, *args, **options)

    monkeypatch.setattr(Encoder, "__init__", noting)
    encode(frames[:3], bitrate=20_000, preset="slow")
    assert presets[0] == "fast" and presets[-1] == "slow"


@pytest.mark.parametrize(("name", "tolerance"), [("psnr", 0.2), ("ssim", 0.005)])
def test_a_likeness_is_met(encode, model, frames, name, tolerance):
    value = round(likeness(name, frames[:9], encode(frames[:9], model=model, quality=44, **FIXED)[1], model), 3)
    _, stream, said = encode(frames[:9], model=model, **{f"target_{name}": value}, **FIXED)
    assert likeness(name, frames[:9], stream, model) == pytest.approx(value, abs=tolerance) and not said


def test_out_of_reach_gives_the_nearest_and_one_line(encode, frames):
    few = frames[:8]
    lowest, _, _ = encode(few, quality=0, **FIXED)
    stats, _, said = encode(few, bitrate=200, **FIXED)
    assert stats.byte_count == lowest.byte_count
    (line,) = said
    least = lowest.byte_count * 8 / lowest.duration_seconds / 1000
    assert "0.20 kbit/s is out of reach" in line and f"{least:.2f} kbit/s is the least" in line


@pytest.mark.parametrize("structure", ["offline", "low-delay"])
def test_sound_that_takes_the_rate_is_named_in_the_one_line(tiny, frames, structure):
    track = AudioTrack("aac", 48_000, 1, Fraction(1, 48_000), bytes([0x11, 0x88]))
    packets = [AudioPacket(number * 9_600, 9_600, bytes(1_000)) for number in range(4)]
    said = []
    options = api.EncodeOptions(bitrate=6_000, structure=structure, vbv=100 if structure == "low-delay" else None)
    clip = api.Clip(VIDEO, iter(frames[:4]), track, iter(packets), frame_count_hint=4)
    api.Encoder(options, model=tiny, say=said.append).encode_clip(clip, io.BytesIO())
    (line,) = said
    assert "40.00 kbit/s of it is sound" in line and "--audio opus:RATE" in line and "--audio none" in line


def _later(frames):
    """The frames back to front, as what follows them."""
    return [replace(frame, pts=len(frames) + number) for number, frame in enumerate(reversed(frames))]


def test_low_delay_keeps_to_a_rate_in_one_pass(encode, frames):
    """At no moment more bits wait than the buffer holds, with those of the packet that is being sent."""
    rate = 5_000
    stats, stream, said = encode([*frames, *_later(frames)], bitrate=rate, vbv=rate, structure="low-delay")
    assert stats.passes == 1 and not said
    level, drained = 0.0, rate / float(VIDEO.frame_rate)
    for record in StreamReader(io.BytesIO(stream)).records():
        if isinstance(record.item, VideoPacket):
            level = max(0.0, level + 8 * record.size - drained)
            assert level <= rate * 1.02
    assert stats.kbps == pytest.approx(rate / 1000, rel=0.25)


def test_sources_that_come_once_are_gone_over_again(face_y4m, tiny):
    """A pipe gives the stream its file gives."""
    options = api.EncodeOptions(bitrate=12_000, golden_interval=5)
    streams = []
    for source in (face_y4m, io.BytesIO(face_y4m.read_bytes())):
        target = io.BytesIO()
        api.encode(source, target, options, model=tiny)
        streams.append(target.getvalue())
    assert streams[0] == streams[1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"bitrate": 9000, "target_psnr": 30}, "--bitrate and --target-psnr exclude each other"),
        ({"bitrate": 1}, "--bitrate 1 is not within 100..1000000000 bit/s"),
        ({"vbv": 1000}, "--vbv 1000 needs --bitrate and --structure low-delay"),
        ({"min_fps": 0}, "--min-fps 0 is not within"),
        ({"coded_size": "half"}, "--coded-size half is not auto, WIDTHxHEIGHT or a share"),
        ({"coded_size": "3/2"}, "--coded-size 3/2 is not auto"),
        ({"coded_size": "8x8"}, "--coded-size 8x8 is not within 16x16 to"),
    ],
)
def test_bad_values_name_option_and_range(wrong, words):
    with pytest.raises(UsageError, match=words):
        api.EncodeOptions(**wrong)


def test_measures_this_ffmpeg_lacks_are_refused(encode, frames):
    if has_filter("libvmaf"):
        pytest.skip("this FFmpeg has libvmaf")
    with pytest.raises(UsageError, match="has no filter 'libvmaf'"):
        encode(frames[:1], target_vmaf=80)


@pytest.mark.parametrize(("size", "coded"), [("1/2", (34, 32)), ("48x32", (48, 32)), ("1", (67, 65))])
def test_coded_and_shown_size(encode, tiny, size, coded):
    """The decoder scales to the size of the source, odd ones too; `native` leaves the coded size."""
    video = replace(VIDEO, width=67, height=65)
    clip = list(resized(talking_face(VIDEO, 3), 67, 65))
    _, stream, _ = encode(clip, video, coded_size=size, **FIXED)
    with api.Decoder(io.BytesIO(stream), model=tiny) as shown, api.Decoder(io.BytesIO(stream), native=True) as native:
        assert (shown.format.width, shown.format.height) == (67, 65)
        assert (native.format.width, native.format.height) == coded
    small = list(api.decode_frames(io.BytesIO(stream), model=tiny, native=True))
    large = list(api.decode_frames(io.BytesIO(stream), model=tiny))
    assert [frame.y.shape for frame in small] == [coded[::-1]] * 3
    for one, other in zip(large, resized(small, 67, 65), strict=True):
        assert one.pts == other.pts and np.array_equal(one.y, other.y) and one.y.shape == (65, 67)


def test_a_size_above_the_source_is_refused(encode, frames):
    with pytest.raises(UsageError, match="128x64 is not within 16x16 to 64x64"):
        encode(frames[:1], coded_size="128x64")
