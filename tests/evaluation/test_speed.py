"""Speed and memory: what is timed is checked, the stages add up, and the codec is left as it was."""

import importlib.util
import time
from dataclasses import replace
from pathlib import Path

import pytest

from imfcodec.entropy.coder import RangeEncoder
from imfcodec.errors import ImfError
from imfcodec.evaluation import speed
from imfcodec.evaluation.speed import STAGES, SpeedCase, SpeedRow, Timing, measure_speed, peak_memory_mib
from imfcodec.evaluation.stages import timed_stages
from imfcodec.video.reader import open_clip

CASE = SpeedCase("imfcodec", 64, 64, 6, 20, repeats=2)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Everything happens here, which is quicker."""
    monkeypatch.setattr(speed, "_in_fresh_process", lambda function, *arguments: function(*arguments))


@pytest.fixture(scope="module")
def script():
    """The benchmark script as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / "speed.py"
    spec = importlib.util.spec_from_file_location("speed_script", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_our_codec_is_timed_stage_by_stage():
    """All stages take time and add up to that of a frame."""
    row = measure_speed(CASE)
    for timing in (row.encode, row.decode):
        assert set(timing.stages) == set(STAGES) and min(timing.stages.values()) > 0
        assert sum(timing.stages.values()) == pytest.approx(1000 / timing.fps)
        assert timing.peak_mib > 50
    cells = row.cells()
    assert (cells["codec"], cells["frames"]) == ("imfcodec", "6") and float(cells["decode_network_ms"]) > 0


def test_general_codecs_are_timed_as_a_whole():
    """No stages, and no memory, since the clip itself lies in it."""
    row = measure_speed(replace(CASE, codec="x264", level=36))
    assert row.encode.fps > 0 and row.decode.fps > 0
    assert (row.encode.peak_mib, row.decode.stages, row.cells()["encode_read_ms"]) == (None, {}, "")


@pytest.mark.parametrize(
    ("runs", "words"), [([(5, b"a")], "5 frames came out"), ([(6, b"a"), (6, b"b")], "two runs wrote different files")]
)
def test_wrong_output_is_not_timed(runs, words, tmp_path):
    """Frames that are missing, and runs that differ."""
    steps = iter(runs)

    def run():
        frames, content = next(steps)
        (tmp_path / "out").write_bytes(content)
        return frames, 1.0

    with pytest.raises(ImfError, match=words):
        speed._time_runs(CASE, run, tmp_path / "out")


def test_wrong_picture_is_refused(face_frames):
    """A decoder that answers with noise is quick."""
    speed._check_picture(CASE, face_frames, face_frames)
    with pytest.raises(ImfError, match="comes back with"):
        speed._check_picture(CASE, face_frames, [replace(face_frames[0], y=255 - face_frames[0].y)])


def test_first_of_several_runs_is_not_counted(tmp_path):
    """The median of the others is."""
    seconds = iter([100.0, 3.0, 1.0, 2.0])

    def run():
        (tmp_path / "out").write_bytes(b"same")
        return 6, next(seconds)

    timing = speed._time_runs(replace(CASE, repeats=4), run, tmp_path / "out")
    assert timing.fps == pytest.approx(3) and timing.stages["network"] == pytest.approx(1000 * 2 / 6)


def test_stages_are_timed_within_the_block_only(face_y4m):
    """Afterwards everything is as it was."""
    method = RangeEncoder.finish
    with timed_stages() as seconds, open_clip(face_y4m, audio=False) as clip:
        for _ in clip.frames():
            time.sleep(0.001)  # what the caller does between two frames is not reading
        assert 0 < seconds["read"] < 0.5 and seconds["entropy"] == 0
        RangeEncoder().finish()
        assert seconds["entropy"] > 0
    before = dict(seconds)
    assert RangeEncoder.finish is method
    RangeEncoder().finish()
    assert seconds == before


def test_start_up_is_that_of_whole_commands(monkeypatch):
    """The median of each."""
    times = iter([0.3, 0.1, 0.2, 3.0, 1.0, 2.0])
    monkeypatch.setattr(speed, "_run_command", lambda arguments: next(times))
    monkeypatch.setattr(speed.api, "encode", lambda *arguments, **options: None)
    assert list(speed.startup_seconds().values()) == [0.2, 2.0]


def test_peak_memory_is_plausible():
    """Python alone has 10 MiB, and there is less than a TiB."""
    assert 10 < peak_memory_mib() < 2**20


def test_script_plans_sizes_lengths_and_peers(script):
    """Two threads beside one; long clips once."""
    cases = list(script.plan(["sizes", "lengths"], 20, 4))
    assert len(cases) == 2 * 4 + 3 and {case.threads for case in cases[:2]} == {1, 2}
    assert [(case.frames, case.repeats) for case in cases[-3:]] == [(250, 1), (1000, 1), (4000, 1)]
    assert {case.codec for case in script.plan(["peers"], 20, 4)} >= {"x264"}


def test_script_replaces_rows_and_keeps_others(script, tmp_path, monkeypatch):
    """Table and Markdown are there after every case; a case that fails is told and counted."""

    def measure(case):
        if case.height == 720:
            raise ImfError("no memory")
        return SpeedRow(case, Timing(10, 800, dict.fromkeys(STAGES, 25)), Timing(20, None, {}))

    monkeypatch.setattr(script, "measure_speed", measure)
    monkeypatch.setattr(script, "startup_seconds", lambda: {"--help": 0.25})
    for part in ("sizes", "sizes", "lengths"):
        monkeypatch.setattr("sys.argv", ["speed.py", "--out", str(tmp_path), "--parts", part])
        assert script.main() == (1 if part == "sizes" else 0)
    comments, rows = script.read_table(tmp_path / "speed.tsv")
    assert len(rows) == 2 * 3 + 3 and len(comments) == 2 and comments[1] == "start-up: --help 0.25 s"
    text = (tmp_path / "speed.md").read_text()
    assert "| imfcodec | 1920x1080 | 17 | 20 | 2 threads | 10.00 | 800 | 20.00 | - |" in text
