"""Pages about one stream and about two videos: what they say is what was measured, and they need nothing outside."""

import base64
import json
import re
from fractions import Fraction

import av
import pytest

from imfcodec import api
from imfcodec.cli import run
from imfcodec.errors import LimitError, UsageError
from imfcodec.evaluation import comparison
from imfcodec.evaluation.metrics import compare_files
from imfcodec.evaluation.spending import KINDS, PARTS
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.writer import open_writer

pytest.importorskip("plotly")

FRAMES = 7


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A folder with a tiny talking face as it was, `face.y4m`, and as a stream of two groups, `face.imf`."""
    folder = tmp_path_factory.mktemp("pages")
    video = talking_face_format(64, 64, Fraction(25))
    with open_writer(folder / "face.y4m", video) as writer:
        for frame in talking_face(video, FRAMES):
            writer.write(frame)
    settings = {"golden_interval": 3, "key_interval": 4, "device": "cpu", "dtype": "float32", "threads": 1}
    api.encode(folder / "face.y4m", folder / "face.imf", quality=30, **settings)
    return folder


def data_of(page):
    """What the page's scripts are handed."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def check_alone(page):
    """It points to its own parts alone, and the browser is told to fetch nothing."""
    text = page.read_text()
    frame = re.sub(r"<script>.*?</script>|<script type=.*?</script>", "", text, flags=re.DOTALL)
    assert "$" not in re.sub(r"<style>.*?</style>", "", frame, flags=re.DOTALL)
    assert "default-src 'none'" in frame and not re.search(r"(src|href)=\"(?!#)", frame)
    parts = set(re.findall(r'byId\("([a-z-]+)"\)', text))
    assert parts <= set(re.findall(r'id="([a-z-]+)"', text)), "scripts ask for what the page has not"


def test_the_page_of_a_stream_says_what_it_holds(clip, tmp_path, capsys):
    page = tmp_path / "face.html"
    stream, source = str(clip / "face.imf"), str(clip / "face.y4m")
    assert run(["info", stream, "--plot", str(page), "--reference", source]) == 0
    check_alone(page)
    data = data_of(page)
    frames = data["frames"]
    assert [frame["seconds"] for frame in frames] == pytest.approx([index / 25 for index in range(FRAMES)])
    assert [frame["kind"] for frame in frames].count("key") == api.probe(stream).key_frames == 2
    assert frames[0]["kind"] == "key" and {frame["kind"] for frame in frames} <= set(KINDS)
    bits = 8 * (clip / "face.imf").stat().st_size
    packets = data["media"]["spending"]
    assert sum(row[part] for row in packets for part in PARTS) == pytest.approx(bits, rel=1e-4)
    outside = bits - sum(frame["bits"] for frame in frames)
    assert 0 < outside < 0.2 * bits and outside < packets[0]["other"]
    assert all(0 <= frame["qindex"] <= 255 for frame in frames)
    report = compare_files(source, write_decoded(clip, tmp_path))
    assert [f["psnr_y"] for f in frames] == pytest.approx([f.psnr_y for f in report.frames], abs=0.01)
    assert [f["ssim_y"] for f in frames] == pytest.approx([f.ssim_y for f in report.frames], abs=1e-4)
    assert len(data["pictures"]) == FRAMES
    assert all(picture["source"].startswith("data:image/png;base64,iVBOR") for picture in data["pictures"])
    assert run(["info", stream, "--plot", str(page)]) == UsageError.exit_code, "it exists"
    assert run(["info", stream, "--plot", str(page), "-y"]) == 0
    assert "psnr_y" not in data_of(page)["frames"][0]


def write_decoded(clip, folder):
    api.decode(clip / "face.imf", folder / "face.mkv", device="cpu", dtype="float32", threads=1)
    return folder / "face.mkv"


def test_a_reference_of_another_video_is_refused(clip, tmp_path, capsys):
    other = tmp_path / "other.y4m"
    for size, count, message in ((48, FRAMES, "is 48x48, the stream 64x64"), (64, 3, "fewer frames")):
        video = talking_face_format(size, size, Fraction(25))
        with open_writer(other, video, overwrite=True) as writer:
            for frame in talking_face(video, count):
                writer.write(frame)
        arguments = ["info", str(clip / "face.imf"), "--plot", str(tmp_path / "page.html"), "--reference", str(other)]
        assert run(arguments) == UsageError.exit_code and message in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_the_page_of_two_videos_shows_both_and_their_curves(clip, tmp_path, capsys, monkeypatch):
    page = tmp_path / "pair.html"
    decoded = write_decoded(clip, tmp_path)
    assert run(["compare", str(clip / "face.y4m"), str(decoded), "--page", str(page)]) == 0
    check_alone(page)
    data = data_of(page)
    report = compare_files(clip / "face.y4m", decoded)
    assert data["curves"]["psnr_y"] == pytest.approx([frame.psnr_y for frame in report.frames], rel=1e-4)
    assert data["mean"]["ssim_y"] == pytest.approx(report.mean.ssim_y, rel=1e-4)
    assert data["media"]["frames"] == FRAMES and data["media"]["frameRate"] == 25
    assert [video["name"] for video in data["media"]["videos"]] == ["original", "distorted"]
    assert "face.mkv" in data["media"]["videos"][1]["caption"]
    for video in data["media"]["videos"]:
        assert embedded_frames(page, video["id"], tmp_path) == FRAMES
    monkeypatch.setattr(comparison, "MAX_VIDEO_BYTES", 1000)
    arguments = ["compare", str(clip / "face.y4m"), str(decoded), "--page", str(page), "-y"]
    assert run(arguments) == LimitError.exit_code and "shorter part" in capsys.readouterr().err


def embedded_frames(page, identity, folder):
    """How many frames a video of the page has."""
    content = re.search(rf'id="{identity}" data-type="video/mp4">([^<]+)</script>', page.read_text())[1]
    (folder / "embedded.mp4").write_bytes(base64.b64decode(content))
    with av.open(str(folder / "embedded.mp4")) as container:
        return sum(1 for _ in container.decode(video=0))
