"""Codecs behind one interface: names, rates, pictures that come back, and adapters from elsewhere."""

import numpy as np
import pytest

from imfcodec import api
from imfcodec.errors import ImfError, UsageError
from imfcodec.evaluation import codecs
from imfcodec.evaluation.codecs import (
    DOWNSCALED,
    PEER_LEVELS,
    Codec,
    Downscaled,
    GeneralCodec,
    ImfCodec,
    decode_in_fresh_process,
    default_codecs,
    default_model_id,
    find_codec,
    run_codec,
)
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.peercodecs import PEER_CODECS, available_peer_codecs

VIDEO = talking_face_format(128, 96)


@pytest.fixture(scope="module")
def faces():
    """Six frames."""
    return list(talking_face(VIDEO, 6))


def luma_error(frames, decoded):
    return np.mean([np.mean((a.y.astype(float) - b.y) ** 2) for a, b in zip(frames, decoded, strict=True)])


class Broken(Codec):
    """Loses a frame."""

    name, levels = "broken", (0,)

    def __init__(self, argument="-"):
        self.model = argument

    def encode(self, frames, video, level):
        self.frames = frames
        return [b"packet"]

    def decode(self, packets, video):
        return self.frames[1:]


def test_every_peer_has_five_levels_within_its_range():
    """Rates rise as the rate factor falls; the first is the lowest rate there is."""
    assert PEER_LEVELS.keys() == PEER_CODECS.keys()
    for name, levels in PEER_LEVELS.items():
        for codec in (GeneralCodec(name), Downscaled(GeneralCodec(name), 2), Downscaled(GeneralCodec(name), 4)):
            assert codec.levels[0] == levels[0] == PEER_CODECS[name].max_crf
            assert len(codec.levels) == 5 and sorted(codec.levels, reverse=True) == list(codec.levels)
            assert codec.levels[-1] >= 0


@pytest.mark.parametrize("name", available_peer_codecs())
def test_rate_is_the_length_of_the_packets(name, faces):
    """And the frames come back."""
    codec = find_codec(name)
    run = run_codec(codec, faces, VIDEO, codec.levels[1])
    assert run.byte_count == sum(map(len, run.packets)) > 0
    assert luma_error(faces, run.frames) < 300 and run.encode_seconds > 0 and run.decode_seconds > 0


def test_downscaled_codec_spends_less_and_gives_whole_pictures(faces):
    """At the same level; its name and settings say what it is."""
    codec = find_codec("x264@1/2")
    assert (codec.name, codec.setting(36)) == ("x264@1/2", "crf36")
    small, whole = (run_codec(each, faces, VIDEO, 30) for each in (codec, find_codec("x264")))
    assert small.byte_count < whole.byte_count and small.frames[0].y.shape == (96, 128)
    assert luma_error(faces, whole.frames) < luma_error(faces, small.frames) < 300


def test_sizes_that_do_not_divide_are_rounded_to_even_ones():
    """A quarter of 100x50 is 26x12."""
    video = talking_face_format(100, 50)
    frames = list(talking_face(video, 2))
    assert run_codec(find_codec("x264@1/4"), frames, video, 30).frames[0].y.shape == (50, 100)


def test_our_codec_is_measured_as_a_whole_file(faces, monkeypatch):
    """One packet that is an .imf file; decoding sees nothing else."""
    monkeypatch.setattr(codecs, "decode_in_fresh_process", lambda stream, target: api.decode(stream, target))
    codec = ImfCodec([20])
    run = run_codec(codec, faces, VIDEO, 20)
    [stream] = run.packets
    assert stream[:3] == b"IMF" and (codec.name, codec.setting(20), len(codec.model)) == ("imfcodec", "q20", 8)
    assert luma_error(faces, run.frames) < 300


def test_failed_decode_is_an_error_with_its_message(tmp_path):
    """The other process's last words are passed on."""
    (tmp_path / "bad.imf").write_bytes(b"not a stream")
    with pytest.raises(ImfError, match=r"decode failed with exit code [1-5]: imfcodec: "):
        decode_in_fresh_process(tmp_path / "bad.imf", tmp_path / "out.y4m")


def test_model_id_is_the_default_models(monkeypatch):
    """The first 8 digits."""
    models = [{"model_id": "ff" * 8, "default": False}, {"model_id": "0123456789abcdef", "default": True}]
    monkeypatch.setattr(codecs.api, "list_models", lambda: models)
    assert default_model_id() == "01234567"


def test_missing_frames_are_an_error(faces):
    """A codec that loses frames has no rate."""
    with pytest.raises(ImfError, match="broken q0 does not give back 6 frames"):
        run_codec(Broken(), faces, VIDEO, 0)


def test_defaults_are_all_there_is(monkeypatch):
    """Imfcodec first, the best peers downscaled too; what this FFmpeg lacks is left out."""
    names = default_codecs()
    assert names[0] == "imfcodec" and {find_codec(name).name for name in names} == set(names)
    monkeypatch.setattr(codecs, "available_peer_codecs", lambda: ("x264", "x265"))
    assert default_codecs() == ["imfcodec", "x264", "x265", *DOWNSCALED[:2]]


def test_own_adapters_are_found_by_module(monkeypatch):
    """With and without an argument."""
    assert find_codec(f"{__name__}:Broken").model == "-"
    assert find_codec(f"{__name__}:Broken=weights.pth").model == "weights.pth"


@pytest.mark.parametrize("name", ["x266", "", "x265@1/3", "imfcodec@", "no.such.module:A", "os:getcwd", "os:nothing"])
def test_unknown_codecs_are_refused(name):
    """Whatever is wrong with the name."""
    with pytest.raises(UsageError, match="codec"):
        find_codec(name)


def test_ssf2020_is_an_adapter():
    """Without a checkpoint its name says so; the frames come back in number and size, from the packets alone."""
    video = talking_face_format(160, 96)
    frames = list(talking_face(video, 3))
    name = "imfcodec.evaluation.ssf2020:Ssf2020"
    codec, other = find_codec(name), find_codec(name)
    packets = codec.encode(frames, video, 0)
    assert codec.name == "ssf2020 untrained" and len(packets) == 2 + 4 * 2
    decoded = other.decode(packets, video)
    assert [frame.y.shape for frame in decoded] == [(96, 160)] * 3 and decoded[0].u.shape == (48, 80)
