"""Peer codecs: fair counts of bytes, one key frame, decoded pictures of the right kind."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from imfcodec.errors import UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame
from imfcodec.video.peercodecs import (
    PEER_CODECS,
    av1_without_delimiter,
    available_peer_codecs,
    decode_with_peer,
    encode_with_peer,
    find_peer_codec,
    h264_without_sei,
)

RATE = Fraction(25)
CRFS = {"x264": (25, 45), "x265": (25, 45), "vp9": (30, 60), "svt-av1-p4": (30, 60), "svt-av1-p2": (30, 60)}


@pytest.fixture(scope="module")
def faces():
    """Twelve frames with a cut in the middle, which a general encoder would answer with a key frame."""
    video = talking_face_format(128, 96, RATE)
    return [*talking_face(video, 6), *(Frame(255 - f.y, f.v, f.u, f.pts) for f in talking_face(video, 6, seed=3))]


@pytest.fixture(params=available_peer_codecs())
def peer(request):
    """Each codec this FFmpeg has."""
    return request.param


def luma_error(frames, decoded):
    return np.mean([np.mean((a.y.astype(float) - b.y) ** 2) for a, b in zip(frames, decoded, strict=True)])


def test_x264_is_always_there():
    """Every wheel of PyAV has it, and the results stand beside it."""
    assert "x264" in available_peer_codecs()


def test_higher_crf_is_smaller_and_worse(peer, faces):
    """Same frames at two rates; the decoder returns all of them in order."""
    results = []
    for crf in CRFS[peer]:
        packets = encode_with_peer(peer, faces, RATE, crf)
        decoded = decode_with_peer(peer, packets)
        assert [frame.pts for frame in decoded] == list(range(len(faces)))
        assert {(f.y.shape, f.u.shape, f.v.shape, f.y.dtype) for f in decoded} == {
            ((96, 128), (48, 64), (48, 64), np.dtype(np.uint8))
        }
        results.append((sum(map(len, packets)), luma_error(faces, decoded)))
    (fine_bytes, fine_error), (coarse_bytes, coarse_error) = results
    assert fine_bytes > coarse_bytes > 0 and fine_error < coarse_error


def test_one_key_frame(peer, faces):
    """Scene cuts and key frame intervals are off, as in our own streams."""
    decoder = av.CodecContext.create(find_peer_codec(peer).decoder, "r")
    packets = encode_with_peer(peer, faces, RATE, CRFS[peer][1])
    pictures = [picture for packet in packets for picture in decoder.decode(av.Packet(packet))]
    pictures += decoder.decode(None)
    assert [bool(picture.key_frame) for picture in pictures] == [True] + [False] * (len(faces) - 1)


@pytest.mark.parametrize("name", ["x264", "x265"])
def test_no_text_about_the_encoder_is_counted(name, faces):
    """x264 writes 0.7 kB of it into the first packet; x265 is told not to."""
    if name in available_peer_codecs():
        assert name.encode() not in b"".join(encode_with_peer(name, faces, RATE, 40))


@pytest.mark.parametrize("name", ["x264", "svt-av1-p4"])
def test_what_is_taken_off_is_not_missed(name, faces, monkeypatch):
    """Decoded pictures are the same with and without it."""
    if name not in available_peer_codecs():
        pytest.skip(f"this FFmpeg lacks {name}")
    trimmed = encode_with_peer(name, faces, RATE, 40)
    monkeypatch.setitem(PEER_CODECS, name, replace(PEER_CODECS[name], trim=bytes))
    whole = encode_with_peer(name, faces, RATE, 40)
    assert sum(map(len, whole)) > sum(map(len, trimmed))
    pairs = zip(decode_with_peer(name, whole), decode_with_peer(name, trimmed), strict=True)
    assert all(np.array_equal(a.y, b.y) and np.array_equal(a.u, b.u) for a, b in pairs)


def test_sei_units_are_left_out_with_their_start_codes():
    """Type 6 goes, whatever its reference bits; 3 and 4 byte start codes both occur."""
    parameter_set = b"\x00\x00\x00\x01\x67abc"
    sei = b"\x00\x00\x01\x06" + b"x" * 50
    slice_ = b"\x00\x00\x01\x65payload"
    assert h264_without_sei(parameter_set + sei + slice_) == parameter_set + slice_
    assert h264_without_sei(sei + slice_ + sei) == slice_
    assert h264_without_sei(sei) == b""


def test_temporal_delimiter_is_left_out_once():
    """It stands at the start only; the same bytes elsewhere are payload."""
    assert av1_without_delimiter(b"\x12\x00\x12\x00") == b"\x12\x00"
    assert av1_without_delimiter(b"\x0a\x12\x00") == b"\x0a\x12\x00"


@pytest.mark.parametrize("crf", [-1, 52])
def test_crf_outside_the_range_is_refused(faces, crf):
    """Before the encoder is opened."""
    with pytest.raises(UsageError, match="outside 0 to 51"):
        encode_with_peer("x264", faces, RATE, crf)


def test_unknown_codec_is_refused(faces):
    """The message lists the ones there are."""
    with pytest.raises(UsageError, match=r"'x266' is not available; choose from .*x264"):
        encode_with_peer("x266", faces, RATE, 30)


def test_codec_missing_in_ffmpeg_is_refused(monkeypatch):
    """A known codec that this build lacks is as unavailable as an unknown one."""
    monkeypatch.setattr(av, "codecs_available", {"libx264", "h264"})
    assert available_peer_codecs() == ("x264",) and "x265" in PEER_CODECS
    with pytest.raises(UsageError, match="'x265' is not available"):
        find_peer_codec("x265")


def test_odd_sizes_are_refused():
    """4:2:0 of these encoders has even sides."""
    frame = Frame(np.zeros((32, 33), np.uint8), *np.zeros((2, 16, 17), np.uint8), pts=0)
    with pytest.raises(UsageError, match="even sizes only, not 33x32"):
        encode_with_peer("x264", [frame], RATE, 30)


def test_no_frames_are_refused():
    """There is nothing to encode."""
    with pytest.raises(UsageError, match="no frames"):
        encode_with_peer("x264", [], RATE, 30)
