"""The benchmark: groups of clips, what is shown at matched rate, bits over time, files, and the command."""

import csv
import json
import multiprocessing.dummy
from dataclasses import replace
from pathlib import Path

import pytest

from imfcodec import api, cli
from imfcodec.cli import measuring
from imfcodec.errors import InputError, UsageError
from imfcodec.evaluation import bench, codecs, sweep
from imfcodec.evaluation.bench import BenchOptions, group_clips, run_bench
from imfcodec.evaluation.codecs import ImfCodec, write_clip
from imfcodec.evaluation.media import choose_pair
from imfcodec.evaluation.report import CODEC, COPY_KEY_FRAME, RatePoint, read_table
from imfcodec.evaluation.results import BenchResult, write_csv, write_json
from imfcodec.evaluation.spending import PARTS, spending_over_time
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.reader import open_clip

VIDEO = talking_face_format(64, 64)
FRAMES = 11


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """One short clip in a folder called talk."""
    path = tmp_path_factory.mktemp("footage") / "talk" / "a.mkv"
    path.parent.mkdir()
    write_clip(path, list(talking_face(VIDEO, FRAMES)), VIDEO)
    return path


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Everything happens here, which is quicker."""
    monkeypatch.setattr(sweep, "get_context", lambda method: multiprocessing.dummy)
    monkeypatch.setattr(sweep, "_prepare_worker", lambda: None)
    monkeypatch.setattr(codecs, "decode_in_fresh_process", lambda stream, target: api.decode(stream, target))


def point(codec, kbps, psnr_y, clip="a.mp4", setting="s", model="-"):
    return RatePoint(clip, codec, setting, model, 10, 1.0, 100, float(kbps), psnr_y, 0.9, 40.0, 41.0, 1.0, 2.0)


OWN = [point(CODEC, kbps, psnr, model="aa") for kbps, psnr in ((4, 28.0), (10, 30.0), (30, 33.0))]


def test_best_peer_at_the_same_rate_is_shown():
    """Our middle point; of the peers near its rate the best, whatever cheaper or dearer ones have."""
    peers = [point("x264", 11, 29.0), point("x265", 9, 31.0), point("vp9", 20, 35.0), point(COPY_KEY_FRAME, 10, 50.0)]
    assert choose_pair([*OWN, *peers]) == [OWN[1], peers[1]]


def test_without_a_peer_at_that_rate_the_nearest_is_shown():
    """As a ratio: 18 is nearer to 10 than 5 is."""
    assert choose_pair([*OWN, point("x264", 5, 29.0), point("vp9", 18, 35.0)])[1].codec == "vp9"


def test_one_side_alone_is_no_pair():
    """Our point alone, or nothing."""
    assert choose_pair(OWN) == [OWN[1]] and choose_pair([point("x264", 10, 30.0)]) == []


@pytest.mark.parametrize("quality", [20, 80])
def test_bits_over_time_are_those_of_the_file(clip, quality):
    """Every packet's bits by part; golden frames have y, token frames tokens alone."""
    with open_clip(clip, audio=False) as source:
        frames = list(source.frames())
    [stream] = ImfCodec().encode(frames, VIDEO, quality)
    rows = spending_over_time(stream)
    assert sum(row[part] for row in rows for part in PARTS) == pytest.approx(8 * len(stream))
    assert min(row[part] for row in rows for part in PARTS) >= 0
    key, *chunks = rows
    assert key["key"] > 0 and sum(key[part] for part in ("latent", "golden_token", "token")) == 0
    assert all(chunk["key"] == 0 for chunk in chunks)
    assert chunks[0]["latent"] > 0 and chunks[0]["golden_token"] > 0
    ends = [row["start"] + row["duration"] for row in rows]
    assert [row["start"] for row in rows[1:]] == pytest.approx(ends[:-1]) and ends[-1] == pytest.approx(FRAMES / 25)


def test_groups_are_folders_and_files(clip, tmp_path):
    """A folder without video stands for those in it that hold some."""
    other = tmp_path / "b.mkv"
    other.write_bytes(clip.read_bytes())
    assert group_clips([clip.parent, other]) == {"talk": [clip], "clips": [other]}
    assert group_clips([clip.parent.parent]) == {"talk": [clip]}


def test_ambiguous_and_empty_inputs_are_refused(clip, tmp_path):
    """Tables and rows go by names."""
    (tmp_path / "talk").mkdir()
    (tmp_path / "talk" / "a.mkv").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="two folders"):
        group_clips([clip.parent, tmp_path / "talk"])
    with pytest.raises(UsageError, match="two clips"):
        group_clips([clip, tmp_path / "talk" / "a.mkv"])
    with pytest.raises(UsageError, match="holds no video"):
        group_clips([tmp_path / "empty"])
    with pytest.raises(InputError, match=r"none\.mkv: no such file"):
        run_bench([tmp_path / "none.mkv"], tmp_path / "out", BenchOptions(codecs=["x264"]))
    assert not (tmp_path / "out").exists()


def test_options_choose_codecs_and_levels():
    """Quick means two codecs at three levels; what is asked for goes first."""
    quick = BenchOptions(quick=True)
    assert [(codec.name, len(codec.levels)) for codec in quick.find_codecs()] == [("imfcodec", 3), ("x264", 3)]
    assert (quick.frame_limit, quick.workers, BenchOptions().frame_limit, BenchOptions().workers) == (33, 2, 250, 1)
    [own] = BenchOptions(codecs=["imfcodec"], qualities=[10, 90]).find_codecs()
    assert own.levels == (10, 90)
    with pytest.raises(UsageError, match="no codec 'x266'"):
        BenchOptions(codecs=["x266"]).find_codecs()


def test_benchmark_writes_all_its_files(clip, tmp_path):
    """Table, JSON, CSV, summary, pictures, page and videos agree; a second run goes on with the table."""
    for module in ("bjontegaard", "cv2", "markdown", "matplotlib", "plotly"):
        pytest.importorskip(module)
    options = BenchOptions(quick=True, frames=5, qualities=[20, 50, 60], title="Trial")
    lines = []
    assert run_bench([clip.parent], tmp_path / "out", options, lines.append)
    folder = tmp_path / "out" / "talk"
    assert len(lines) == 2 + 3 + 1 and lines[-1] == f"talk: {folder / 'page.html'}"
    points = read_table(folder / "results.tsv").points
    assert {p.codec for p in points} == {"imfcodec", "copy key frame", "x264"} and len(points) == 2 + 2 + 3
    assert all(p.xpsnr_y and p.warping_error is not None for p in points)
    written = json.loads((folder / "results.json").read_text())
    assert written["title"] == "Trial: talk" and len(written["points"]) == len(points)
    [media] = written["media"]
    names = ["original", "imfcodec", "x264"]
    assert list(media["videos"]) == names and media["captions"]["imfcodec"].startswith("q60: ")
    for path in media["videos"].values():
        with open_clip(folder / path, audio=False) as video:
            assert len(list(video.frames())) == media["frames"] == 5
    figures = written["frame_figures"]["a.mkv"]
    assert list(figures) == names[1:] and len(figures["x264"]["psnr_y"]) == 5
    assert "Trial: talk" in (folder / "page.html").read_text() and "BD-rate" in (folder / "summary.md").read_text()
    assert (folder / "psnr_y.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((folder / "frames").iterdir())) == 2 + 3
    assert run_bench([clip.parent], tmp_path / "out", options, lines.append) and len(lines) == 7


def test_quick_without_clips_draws_one(tmp_path, monkeypatch):
    """Only then: a benchmark of nothing is no benchmark."""
    seen = []
    monkeypatch.setattr(bench, "_bench_group", lambda name, clips, *rest: seen.append((name, clips)) or True)
    assert run_bench([], tmp_path, BenchOptions(quick=True, frames=2), print)
    [(name, [drawn])] = seen
    assert name == "clips" and drawn.parent == tmp_path and drawn.stat().st_size
    with pytest.raises(UsageError, match="--quick"):
        run_bench([], tmp_path, BenchOptions(), print)


def test_json_and_csv_hold_every_column(tmp_path):
    """None is null, and nothing between two commas; BD-rate without overlap says so."""
    points = (*OWN, *(replace(p, codec="x264", model="-", kbps=2 * p.kbps, lpips=0.25) for p in OWN))
    write_csv(tmp_path / "results.csv", points)
    write_json(tmp_path / "results.json", BenchResult("t", "e", (*points, point("vp9", 1, 9.0), point("vp9", 2, 9.5))))
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and (rows[0]["lpips"], rows[3]["lpips"], rows[0]["frames"]) == ("", "0.25", "10")
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["points"][0]["series"] == "imfcodec aa" and content["points"][0]["lpips"] is None
    found = {(r["anchor"], r["test"]): r["percent"] for r in content["bd_rate"] if r["metric"] == "psnr_y"}
    assert found[("x264", "imfcodec aa")] == pytest.approx(-50) and found[("vp9", "imfcodec aa")] is None
    assert ("imfcodec aa", "x264") not in found


def test_command_passes_its_options_on(tmp_path, monkeypatch):
    """Exit code 1 where something could not be coded."""
    calls = []
    monkeypatch.setattr(measuring, "require_extra", lambda module, extra: None)
    monkeypatch.setattr(bench, "run_bench", lambda *arguments: calls.append(arguments) or len(calls) == 1)
    words = ["bench", "a", "b.mp4", "--out", str(tmp_path), "--codecs", "imfcodec, x264", "--qualities", "5,70"]
    assert cli.run([*words, "--frames", "9", "--jobs", "2", "--title", "T", "--lpips", "net.pth"]) == 0
    inputs, out, options, _ = calls[0]
    assert (inputs, out) == ([Path("a"), Path("b.mp4")], tmp_path)
    assert options == BenchOptions(["imfcodec", "x264"], [5, 70], 9, 2, False, "T", Path("net.pth"))
    assert cli.run(["bench", "a"]) == 1 and calls[1][1] == Path("bench")


@pytest.mark.parametrize("text", ["5,high", "101", "5,,6", "-1"])
def test_command_refuses_qualities_that_are_none(text, capsys, monkeypatch):
    """One line, exit code 2."""
    monkeypatch.setattr(measuring, "require_extra", lambda module, extra: None)
    assert cli.run(["bench", "a", "--qualities", text]) == 2
    assert "is not a whole number from 0 to 100" in capsys.readouterr().err
