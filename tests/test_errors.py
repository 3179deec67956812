"""Everything public raises the project's errors and nothing else, in one line that names no temporary file."""

import io
import os
from fractions import Fraction

import pytest

from imfcodec import api, reports
from imfcodec.errors import ImfError
from imfcodec.evaluation.metrics import compare_files
from imfcodec.video.reader import RawSpec, open_clip

NAMES = ("", "a\0b", "x" * 300, "missing", "folder", "loop", "folder/../empty/x", "%05d.png", "folder/%d.png", "%.png")
PLACES = ("/dev/null", "/dev/full", "/proc/self/mem", "/proc/version/x", "/proc/x.imf", "/proc/x/", "/sys/x.y4m")
TARGETS = ("missing/x.imf", "missing/x.y4m", "folder.mp4", "empty/x.mkv", "missing/x/", "empty/%d.png")


class Failing(io.RawIOBase):
    """A stream that can neither be read nor written."""

    def readable(self):
        return True

    writable = readable

    def read(self, size=-1):
        raise OSError(5, "Input/output error")

    def write(self, data):
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with things that are no videos."""
    monkeypatch.chdir(tmp_path)
    for name in ("folder", "folder.imf", "folder.mp4"):
        os.mkdir(name)
    os.symlink("loop", "loop")
    (tmp_path / "empty").write_bytes(b"")


@pytest.fixture(scope="module")
def stream(face_y4m, tmp_path_factory):
    path = tmp_path_factory.mktemp("streams") / "face.imf"
    api.encode(face_y4m, path, device="cpu")
    return path


def fails(action, *arguments, **options):
    """Whether a call raises one of our errors, in one line."""
    with pytest.raises(ImfError) as caught:
        action(*arguments, **options)
    assert "\n" not in str(caught.value) and ".part" not in str(caught.value)
    assert not [name for name in os.listdir() if name.startswith(".")]
    return True


@pytest.mark.parametrize("source", [*NAMES, *PLACES])
def test_sources_that_are_none(face_y4m, source):
    assert fails(lambda: open_clip(source).close())
    assert fails(lambda: list(api.decode_frames(source)))
    assert fails(reports.describe_packets, source)
    assert fails(compare_files, source, face_y4m)
    for action in (api.encode, api.decode):
        assert fails(action, source, "out.imf" if action is api.encode else "out.y4m")
    assert fails(api.probe, source)
    assert fails(api.encode, face_y4m, "out.imf", model=source or "none")
    assert fails(api.encode, face_y4m, "out.imf", model=f"{source}.safetensors")


@pytest.mark.parametrize("target", [*NAMES[:3], *TARGETS, *PLACES[1:2], *PLACES[4:]])
@pytest.mark.parametrize("overwrite", [False, True])
def test_targets_that_cannot_be(face_y4m, stream, target, overwrite):
    assert fails(api.decode, stream, target, overwrite=overwrite)
    if not target.endswith((".png", "/")):
        assert fails(api.encode, face_y4m, target, overwrite=overwrite)


def test_streams_that_fail(face_y4m, stream):
    assert fails(api.encode, Failing(), "out.imf")
    assert fails(api.decode, Failing(), "out.y4m")
    assert fails(api.encode, face_y4m, Failing())
    assert fails(api.decode, stream, Failing())
    assert fails(api.probe, Failing())
    assert fails(api.encode, io.BytesIO(b""), "out.imf")


@pytest.mark.parametrize(
    "option",
    [
        {"quality": 101},
        {"structure": "none"},
        {"golden_interval": 33},
        {"key_interval": -1},
        {"audio": ""},
        {"device": "abacus"},
        {"threads": 0},
        {"raw": RawSpec(0, 0, Fraction(25))},
        {"raw": RawSpec(96, 80, Fraction(25), "nonsense")},
    ],
)
def test_options_that_do_not_fit(face_y4m, option):
    assert fails(api.encode, face_y4m, "out.imf", **option)


@pytest.mark.parametrize("option", [{"dtype": "float8"}, {"device": "cuda:99"}, {"threads": -1}])
def test_options_of_decode(stream, option):
    assert fails(api.decode, stream, "out.y4m", **option)
