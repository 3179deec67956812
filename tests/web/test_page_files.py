"""What `page` writes and `serve` serves, and what they refuse."""

import json
import threading
import urllib.request
from pathlib import Path

import pytest

from imfcodec.cli import run
from imfcodec.errors import InputError, ModelError, UsageError
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer
from imfcodec.web.pages import write_page
from imfcodec.web.runtime import RUNTIME_FILES, find_runtime
from imfcodec.web.serving import PageServer

BITSTREAMS = Path(__file__).parents[2] / "bitstreams"
KEY, CHUNK = BITSTREAMS / "valid" / "key.imf", BITSTREAMS / "valid" / "chunk-4.imf"


@pytest.fixture
def stand_in(tmp_path) -> Path:
    """A folder with files named like those of onnxruntime-web."""
    folder = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    for name in RUNTIME_FILES:
        (folder / name).write_bytes(b"runtime")
    return folder


def test_a_page_holds_player_streams_model_and_runtime(exported, stand_in, tmp_path, capsys):
    folder = tmp_path / "page"
    line = ["page", str(KEY), str(CHUNK), str(folder), "--model", str(exported), "--runtime", str(stand_in)]
    assert run(line) == 0
    names = {path.name for path in folder.iterdir()}
    assert {"index.html", "page.mjs", "stream-1.imf", "stream-2.imf", *RUNTIME_FILES} < names
    listed = json.loads((folder / "streams.json").read_text())["streams"]
    assert [entry["name"] for entry in listed] == ["key.imf", "chunk-4.imf"]
    assert (folder / "stream-2.imf").read_bytes() == CHUNK.read_bytes()
    assert len([name for name in names if name.endswith(".onnx")]) == 7
    (folder / "mine.imf").write_bytes(b"mine")
    assert run(line) == 2 and "-y" in capsys.readouterr().err
    assert run([*line[:2], *line[3:], "-y"]) == 0
    assert (folder / "mine.imf").exists() and not (folder / "stream-2.imf").exists()
    own = folder / ".." / "page" / "stream-1.imf"
    assert run(["page", str(own), *line[3:], "-y"]) == 2, "it would be replaced"
    assert "another folder" in capsys.readouterr().err


def test_what_is_missing_is_named_with_the_cure(exported, stand_in, tmp_path, monkeypatch):
    target = tmp_path / "page"
    with pytest.raises(UsageError, match="npm install onnxruntime-web"):
        write_page([KEY], target, model=exported, runtime=tmp_path / "none")
    with pytest.raises(InputError, match=r"none\.imf"):
        write_page([tmp_path / "none.imf"], target, model=exported, runtime=stand_in)
    with pytest.raises(ModelError, match=r"model\.json"):
        write_page([KEY], target, model=tmp_path, runtime=stand_in)
    with pytest.raises(ModelError, match="--model DIR"):
        write_page([KEY], target, runtime=stand_in)
    other = BITSTREAMS / "faulty" / "model-id.imf"
    with pytest.raises(ModelError, match="was made with model"):
        write_page([other], target, model=exported, runtime=stand_in)
    assert not target.exists()


def test_streams_that_are_cut_off_or_damaged_are_refused(exported, stand_in, tmp_path, capsys):
    """As by `decode`: one line that names the stream, exit code 3, and no page."""
    data = CHUNK.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for number, wrong in enumerate((data[:-1], data[: len(data) // 2], bytes(flipped), data + b"more")):
        damaged = tmp_path / f"damaged-{number}.imf"
        damaged.write_bytes(wrong)
        line = ["page", str(KEY), str(damaged), str(tmp_path / "page")]
        line += ["--model", str(exported), "--runtime", str(stand_in)]
        assert run(line) == 3
        said = capsys.readouterr().err
        assert str(damaged) in said and said.count("\n") == 1
        assert not (tmp_path / "page").exists()
    assert run([*line, "--on-error", "conceal"]) == 6
    said = capsys.readouterr().err
    assert str(damaged) in said and "plays up to there" in said and said.count("\n") == 1
    assert (tmp_path / "page" / "stream-2.imf").read_bytes() == damaged.read_bytes()


def test_the_runtime_is_found_around_the_working_folder(stand_in, tmp_path, monkeypatch):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert [file.parent for file in find_runtime()] == [stand_in] * len(RUNTIME_FILES)


def test_the_server_isolates_the_page_and_names_types(tmp_path):
    (tmp_path / "page.mjs").write_text("export {};")
    with PageServer(tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"{server.url}page.mjs", timeout=10) as answer:
            assert answer.headers["Content-Type"] == "text/javascript"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        with pytest.raises(UsageError, match="--port"):
            PageServer(tmp_path, server.server_address[1])
        server.shutdown()


class TestVideosBeside:
    @pytest.fixture
    def line(self, exported, stand_in, tmp_path):
        return ["page", str(CHUNK), str(tmp_path / "page"), "--model", str(exported), "--runtime", str(stand_in)]

    def test_they_are_listed_with_their_names_and_rates(self, line, face_y4m, tmp_path):
        """Names are those of files, or given; odd ones are taken as they are."""
        odd = tmp_path / 'it\'s <a> "b"\t\x1b.mkv'
        with open_clip(face_y4m) as clip, open_writer(odd, clip.format) as writer:
            for frame in clip.frames():
                writer.write(frame)
        assert run([*line, "--beside", f"the original={face_y4m}", "--beside", str(odd)]) == 0
        (entry,) = json.loads((tmp_path / "page" / "streams.json").read_text())["streams"]
        assert [video["name"] for video in entry["beside"]] == ["the original", odd.name]
        for video in entry["beside"]:
            with open_clip(tmp_path / "page" / video["file"]) as clip:
                assert (clip.format.width, clip.format.height) == (96, 80)
        raw, lossless = (video["kbps"] for video in entry["beside"])
        assert raw == pytest.approx(96 * 80 * 1.5 * 8 * 25 / 1000, rel=0.01) and lossless < raw / 2

    @pytest.mark.parametrize(
        ("given", "code", "message"),
        [
            (["original=none.mp4"], 3, "none.mp4: no such file"),
            ([f"stream={KEY}"], 3, "imfcodec decode"),
            (["=none.mp4"], 2, "NAME=FILE"),
            (["name="], 2, "NAME=FILE"),
            (["a/none.mp4", "b/none.mp4"], 2, "two videos go by the name"),
        ],
    )
    def test_what_cannot_be_shown_is_said_in_a_line(self, line, given, code, message, tmp_path, capsys):
        assert run([*line, *(word for value in given for word in ("--beside", value))]) == code
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1
        assert not (tmp_path / "page").exists()

    def test_they_belong_to_one_stream(self, line, face_y4m, capsys):
        assert run([*line[:2], str(KEY), *line[2:], "--beside", str(face_y4m)]) == 2
        assert "write a page for each" in capsys.readouterr().err
