"""Limits on what a source may ask for: pixels, frames and memory, for every command that reads."""

from dataclasses import replace

import pytest

from imfcodec import api
from imfcodec.cli import run
from imfcodec.errors import LimitError
from imfcodec.frames import MAX_HEIGHT, MAX_WIDTH
from imfcodec.limits import BASE_BYTES, DEFAULT_LIMITS, Limits
from imfcodec.video.reader import open_clip


@pytest.fixture(scope="module")
def stream(face_y4m, tmp_path_factory):
    """Ten frames of 96x80."""
    path = tmp_path_factory.mktemp("streams") / "face.imf"
    api.encode(face_y4m, path, device="cpu")
    return path


@pytest.mark.parametrize("limits", [["--max-pixels", 96 * 80 - 1], ["--max-frames", 9]])
@pytest.mark.parametrize("command", ["encode", "decode", "info", "verify", "verify --decode", "compare"])
def test_each_command_keeps_them(capfd, face_y4m, stream, tmp_path, command, limits):
    """Exit code 4, one line, and nothing is written."""
    name, *options = command.split()
    files = {"encode": [face_y4m, tmp_path / "x.imf"], "decode": [stream, tmp_path / "x.y4m"]}
    files["compare"] = [face_y4m, face_y4m]
    quiet = ["--progress", "none"] if name in ("encode", "decode") else []
    code = run([str(part) for part in (name, *options, *quiet, *limits, *files.get(name, [stream]))])
    out, err = capfd.readouterr()
    assert (code, out, err.count("\n")) == (4, "", 1), err
    assert "limit" in err
    assert not list(tmp_path.iterdir())


def test_memory_is_refused_before_it_is_taken(face_y4m, face_format, stream, tmp_path):
    """By the size of the frames alone."""
    small = Limits(max_memory=BASE_BYTES)
    with pytest.raises(LimitError, match="MiB"):
        api.encode(face_y4m, tmp_path / "x.imf", limits=small)
    with pytest.raises(LimitError, match="MiB"):
        next(api.decode_frames(stream, limits=small))
    DEFAULT_LIMITS.check_memory(face_format)


def test_the_defaults_allow_all_that_can_be_coded(face_format):
    """The largest frame fits the memory too."""
    largest = replace(face_format, width=MAX_WIDTH, height=MAX_HEIGHT)
    DEFAULT_LIMITS.check_format(largest)
    DEFAULT_LIMITS.check_memory(largest)
    with pytest.raises(LimitError, match="above the limit of 8192 MiB"):
        DEFAULT_LIMITS.check_memory(largest, refining=True)


def test_frames_are_counted_as_they_come(face_y4m):
    """As many as allowed pass."""
    with open_clip(face_y4m, limits=Limits(max_frames=10)) as clip:
        assert sum(1 for _ in clip.frames()) == 10
    with open_clip(face_y4m, limits=Limits(max_frames=3)) as clip, pytest.raises(LimitError):
        list(clip.frames())


@pytest.mark.parametrize("size", ["0", "-1", "2X", "", "1e9", "9" * 20])
def test_sizes_that_are_none(capfd, size):
    assert run(["info", "--max-memory", size, "x.imf"]) == 2
