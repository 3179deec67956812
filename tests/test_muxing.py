"""Streams inside .mp4 and .mkv: they come back byte by byte, and others play the sound as if they were not there."""

import sys
from pathlib import Path

import av
import pytest

from imfcodec import api
from imfcodec.cli import run
from imfcodec.errors import CorruptStreamError, InputError, UsageError
from imfcodec.evaluation import demo
from imfcodec.evaluation.synthetic import talking_face_format
from imfcodec.muxing import demux, mux
from imfcodec.playing import find_player, play

FRAMES = 6
LONGEST_SECONDS = 120


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """A tiny talking face with sound, and without any."""
    folder = tmp_path_factory.mktemp("mux")
    demo.write_talking_face(folder / "source.mkv", talking_face_format(64, 64), FRAMES)
    settings = {"quality": 10, "device": "cpu", "threads": 1}
    api.encode(folder / "source.mkv", folder / "sound.imf", audio="opus:12k", **settings)
    api.encode(folder / "source.mkv", folder / "silent.imf", audio="none", **settings)
    return folder


def sounds(path):
    """Codec and sound packets of a file, as other programs see it."""
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
        return container.streams.audio[0].codec_context.name, packets


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_stream_comes_back_as_it_went_in(streams, tmp_path, suffix):
    carrier, back = tmp_path / f"film{suffix}", tmp_path / "back.imf"
    mux(streams / "sound.imf", carrier)
    demux(carrier, back)
    assert back.read_bytes() == (streams / "sound.imf").read_bytes()
    codec, packets = sounds(carrier)
    assert codec.startswith("opus") or codec == "libopus"
    assert len(packets) == api.probe(back).audio_packets > 0
    with pytest.raises(UsageError, match="exists already"):
        mux(streams / "sound.imf", carrier)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_damage_in_a_carrier_is_found(streams, tmp_path, suffix):
    carrier = tmp_path / f"film{suffix}"
    mux(streams / "sound.imf", carrier)
    whole = carrier.read_bytes()
    carrier.write_bytes(whole[:-20] + bytes([whole[-20] ^ 0x55]) + whole[-19:])
    with pytest.raises(CorruptStreamError, match=r"film|checksum|hash"):
        demux(carrier, tmp_path / "back.imf")
    for cut in (3, 40, len(whole) // 2, len(whole) - 5):
        carrier.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="carries no"):
            demux(carrier, tmp_path / "back.imf")
    assert not (tmp_path / "back.imf").exists()


def test_what_cannot_be_carried_or_taken_out(streams, tmp_path):
    with pytest.raises(UsageError, match="no sound"):
        mux(streams / "silent.imf", tmp_path / "film.mp4")
    with pytest.raises(UsageError, match=r"\.mp4 and \.mkv"):
        mux(streams / "sound.imf", tmp_path / "film.avi")
    with pytest.raises(InputError, match="carries no"):
        demux(streams / "source.mkv", tmp_path / "back.imf")
    assert not list(tmp_path.iterdir())


def test_decoding_takes_a_codec_and_the_extras_of_the_source(streams, extras, tmp_path):
    target = tmp_path / "film.mkv"
    options = ["--codec", "h264", "--crf", "30", "--extras-from", str(extras), "--device", "cpu", "--threads", "1"]
    assert run(["decode", str(streams / "sound.imf"), str(target), *options]) == 0
    with av.open(str(target)) as container:
        assert {stream.type for stream in container.streams} == {"video", "audio", "subtitle"}
        assert container.streams.video[0].codec_context.name == "h264"
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["one", "two"]


@pytest.fixture
def player(tmp_path):
    """A player that keeps what it is given; with "quit" it takes 100 bytes and ends, with "never" it opens nothing."""

    def make(mode):
        script = tmp_path / "player.py"
        script.write_text(
            "import shutil, signal, sys\n"
            f"signal.alarm({LONGEST_SECONDS})\n"
            f"kept, pipe = {str(tmp_path / 'kept.mkv')!r}, sys.argv[1]\n"
            f"if {mode!r} == 'quit': open(pipe, 'rb').read(100)\n"
            f"if {mode!r} == 'all': shutil.copyfileobj(open(pipe, 'rb'), open(kept, 'wb'))\n"
        )
        return [sys.executable, str(script)]

    return make


def test_a_player_gets_pictures_and_sound(streams, tmp_path, player):
    play(streams / "sound.imf", player=player("all"), device="cpu", threads=1)
    with av.open(str(tmp_path / "kept.mkv")) as container:
        assert sorted(stream.type for stream in container.streams) == ["audio", "video"]
        assert sum(1 for _ in container.decode(video=0)) == FRAMES


@pytest.mark.parametrize("mode", ["quit", "never"])
def test_a_player_that_is_closed_ends_the_decoding(streams, player, mode):
    play(streams / "sound.imf", player=player(mode), device="cpu", threads=1)


def test_no_player_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="none of ffplay, mpv is installed"):
        find_player()
    with pytest.raises(UsageError, match="mpv is not installed"):
        find_player("mpv")


def test_a_player_is_found_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "mpv").write_text("#!/bin/sh\n")
    (tmp_path / "mpv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(find_player()[0]).name == "mpv"
