"""The command line on parts of videos: encode and decode with --ss and the like, trim, concat, thumbnail."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import click
import numpy as np
import pytest

from imfcodec import api
from imfcodec.cli import run
from imfcodec.cli.moments import Time
from imfcodec.codec.encoder import Encoder as FrameEncoder
from imfcodec.errors import UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer

QUIET = ("--progress", "none")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Nine frames of 64x64 as Y4M."""
    path = tmp_path_factory.mktemp("clips") / "face.y4m"
    video = talking_face_format(64, 64, Fraction(25))
    with open_writer(path, video) as writer:
        for frame in talking_face(video, 9):
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def stream(clip, tiny):
    """The same in groups of three frames."""
    target = clip.with_suffix(".imf")
    api.encode(clip, target, quality=20, key_interval=3, model=tiny)
    return target


@pytest.fixture(scope="module")
def small(tiny_file):
    """Options that say what to compute with."""
    return ("--model", tiny_file, "--device", "cpu", "--dtype", "float32")


@pytest.fixture
def imf(capfd, tmp_path, monkeypatch):
    """Run a command line in an empty folder; returns its exit code and what it says."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code = run([str(argument) for argument in arguments])
        return code, capfd.readouterr().err

    return command


def frames_of(path):
    with open_clip(path) as source:
        return list(source.frames())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7.3", Fraction(73, 10)), ("90", 90), ("1:30", 90), ("01:02:03.5", Fraction(37235, 10)), ("0:00.04", "1/25")],
)
def test_times_are_exact(text, seconds):
    assert Time().convert(text, None, None) == Fraction(seconds)


@pytest.mark.parametrize("text", ["", "-1", "1:60", "1:2:3:4", "1:99:00", "7,3", "x", "1e3", "1:"])
def test_what_is_no_time(text):
    with pytest.raises(click.BadParameter, match="is not a time such as"):
        Time().convert(text, None, None)


def test_encode_takes_a_part(imf, clip, small, tmp_path):
    edits = ("--ss", "0.08", "-t", "0:00.2", "--crop", "32x64+16+0", "--scale", "-2:32", "--fps", "50")
    assert imf("encode", "-q", 20, *edits, "--verify", *small, *QUIET, clip, "part.imf")[0] == 0
    summary = api.probe(tmp_path / "part.imf")
    video = summary.header.format
    assert (video.width, video.height, video.frame_rate, summary.total_frames) == (16, 32, 50, 10)


def test_encode_goes_on(imf, clip, stream, small, tmp_path, monkeypatch):
    """Exit code 130, and the rest from the same command."""
    encode = FrameEncoder.encode

    def interrupted(self, frames):
        yield from islice(encode(self, frames), 4)
        raise KeyboardInterrupt

    command = ("encode", "-q", 20, "--key-interval", 3, "--resume", *small, *QUIET, clip, "out.imf")
    with monkeypatch.context() as patched:
        patched.setattr(FrameEncoder, "encode", interrupted)
        assert imf(*command)[0] == 130
    assert not (tmp_path / "out.imf").exists()
    code, said = imf(*command)
    assert code == 0 and "out.imf: goes on after 3 frames" in said
    assert (tmp_path / "out.imf").read_bytes() == stream.read_bytes()


def test_decode_takes_a_part(imf, stream, small, tmp_path):
    """The frames of a full decode."""
    assert imf("decode", stream, "whole.y4m", *small, *QUIET)[0] == 0
    whole = frames_of(tmp_path / "whole.y4m")
    for name, options, kept in (
        ("one", ("--ss", "0.2", "--frames", 1), whole[5:6]),
        ("some", ("--ss", "0.04", "--to", "0.2"), whole[1:5]),
        ("rest", ("--ss", "0.04", "-t", "9"), whole[1:]),
        ("head", ("-t", "0.12"), whole[:3]),
    ):
        assert imf("decode", *options, stream, f"{name}.y4m", *small, *QUIET)[0] == 0
        frames = frames_of(tmp_path / f"{name}.y4m")
        assert [frame.pts for frame in frames] == list(range(len(kept)))
        assert all(np.array_equal(a.y, b.y) and np.array_equal(a.v, b.v) for a, b in zip(frames, kept, strict=True))


def test_trim_and_concat(imf, stream, small, tmp_path):
    assert imf("trim", "--to", "0.12", stream, "a.imf")[0] == 0
    code, said = imf("trim", "--ss", "0.12", stream, "b.imf")
    assert code == 0 and "6 frames, 0.24 s" in said
    assert imf("concat", "a.imf", "b.imf", "whole.imf")[0] == 0
    assert (tmp_path / "whole.imf").read_bytes() == stream.read_bytes()
    assert imf("concat", "a.imf", "b.imf", "whole.imf")[0] == 2
    assert imf("trim", "--ss", "0.04", "--to", "0.2", stream, "c.imf", *small)[0] == 0
    assert api.probe(tmp_path / "c.imf").total_frames == 4


def test_thumbnail(imf, stream, small, tmp_path):
    assert imf("thumbnail", stream, "a.png", *small)[0] == 0
    assert imf("thumbnail", "--at", "0.2", stream, "b.png", *small)[0] == 0
    assert imf("decode", stream, "shots/", *small, *QUIET)[0] == 0
    for name, number in (("a", 1), ("b", 6)):
        assert (tmp_path / f"{name}.png").read_bytes() == (tmp_path / "shots" / f"{number:05d}.png").read_bytes()
    code, said = imf("thumbnail", stream, "a.png")
    assert code == 2 and "a.png" in said
    assert imf("thumbnail", "--at", "9", stream, "c.png", *small)[0] == 2
    for at in (-1, float("nan")):
        with pytest.raises(UsageError, match="seconds"):
            api.thumbnail(stream, tmp_path / "c.png", at=at, model=Path(small[1]))
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("encode", "--ss", "x", "in", "out"), "'--ss': x is not a time"),
        (("encode", "--scale", "0x10", "in", "out"), "'--scale': 0x10 is not a size"),
        (("encode", "--crop", "10x10", "in", "out"), "'--crop': 10x10 is not a part"),
        (("encode", "--fps", "1001", "in", "out"), "'--fps': 1001 is not a rate above 0 and up to 1000"),
        (("encode", "--fps", "1/0", "in", "out"), "'--fps': 1/0 is not a rate"),
        (("encode", "--ss", "2", "--to", "1", "in", "out"), "must lie after --ss: from 2 to 1 s is nothing"),
        (("decode", "--to", "2", "-t", "1", "in", "out"), "--to and -t both say where to stop"),
        (("decode", "--frames", "0", "in", "out"), "'--frames'"),
        (("thumbnail", "in.imf", "out.jpg"), "out.jpg: a thumbnail is a .png file"),
    ],
)
def test_wrong_values_name_the_option(imf, arguments, said, tmp_path):
    code, message = imf(*arguments)
    assert code == 2 and said in message and message.count("\n") == 1
    assert not list(tmp_path.iterdir())
