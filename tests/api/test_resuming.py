"""Encodes that are ended and go on: the bytes of an undisturbed run, and only what is missing is encoded."""

from itertools import islice

import pytest

from imfcodec import api
from imfcodec.codec.encoder import Encoder
from imfcodec.errors import UsageError
from imfcodec.evaluation import demo
from imfcodec.evaluation.synthetic import talking_face_format

OPTIONS = api.EncodeOptions(quality=30, key_interval=8, golden_interval=4, audio="opus:12k")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """26 frames of 64x64 with sound."""
    path = tmp_path_factory.mktemp("clips") / "sound.mkv"
    demo.write_talking_face(path, talking_face_format(64, 64), 26)
    return path


@pytest.fixture(scope="module")
def undisturbed(source, tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("streams") / "whole.imf"
    api.encode(source, path, OPTIONS, model=tiny)
    return path.read_bytes()


@pytest.fixture
def end_after(monkeypatch):
    """Have encoders stop after some packets, as a signal does; returns how many frames they have taken."""
    encode, taken = Encoder.encode, []

    def start(packets):
        taken.clear()

        def counted(frames):
            for frame in frames:
                taken.append(frame.pts)
                yield frame

        def interrupted(self, frames):
            yield from islice(encode(self, counted(frames)), packets)
            if packets is not None:
                raise KeyboardInterrupt

        monkeypatch.setattr(Encoder, "encode", interrupted)
        return taken

    return start


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("verify", [False, True])
def test_goes_on_at_the_last_group(source, undisturbed, tiny, tmp_path, end_after, verify):
    """Ended twice, the second time with half a packet at the end."""
    target, said = tmp_path / "out.imf", []
    for packets in (5, 4):
        end_after(packets)
        with pytest.raises(KeyboardInterrupt):
            api.encode(source, target, OPTIONS, model=tiny, resume=True, verify=verify)
        (left,) = tmp_path.iterdir()
        assert left.name.startswith("out.imf.") and left.name.endswith(".unfinished")
    left.write_bytes(left.read_bytes()[:-7])
    taken = end_after(None)
    api.encode(source, target, OPTIONS, model=tiny, resume=True, verify=verify, say=said.append)
    assert target.read_bytes() == undisturbed
    assert names(tmp_path) == ["out.imf"]
    assert len(taken) == 26 - 16 and f"{target}: goes on after 16 frames of an unfinished run" in said


def test_other_options_start_anew(source, undisturbed, tiny, tmp_path, end_after):
    """What cannot be gone on with is not used, and goes with the last run."""
    target = tmp_path / "out.imf"
    end_after(5)
    with pytest.raises(KeyboardInterrupt):
        api.encode(source, target, OPTIONS, quality=90, model=tiny, resume=True)
    taken = end_after(None)
    api.encode(source, target, OPTIONS, model=tiny, resume=True)
    assert target.read_bytes() == undisturbed and len(taken) == 26
    assert names(tmp_path) == ["out.imf"]
    with pytest.raises(UsageError, match=r"out\.imf exists"):
        api.encode(source, target, OPTIONS, model=tiny, resume=True)


def test_what_is_left_may_be_anything(source, undisturbed, tiny, tmp_path, end_after):
    target = tmp_path / "out.imf"
    end_after(0)
    with pytest.raises(KeyboardInterrupt):
        api.encode(source, target, OPTIONS, model=tiny, resume=True)
    (left,) = tmp_path.iterdir()
    end_after(None)
    left.write_bytes(b"not a stream at all")
    api.encode(source, target, OPTIONS, model=tiny, resume=True)
    assert target.read_bytes() == undisturbed


def test_pipes_cannot_be_gone_on_with(source, tiny, tmp_path):
    with source.open("rb") as file, pytest.raises(UsageError, match="--resume needs a file"):
        api.encode(file, tmp_path / "out.imf", model=tiny, resume=True)
    with pytest.raises(UsageError, match="is no file"):
        api.encode(source, "/dev/null", model=tiny, resume=True)
    assert not list(tmp_path.iterdir())
