"""Sweeps: rows from real files, resuming, failures, and what our codec's rows are made of."""

import multiprocessing.dummy
import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import imfcodec
from imfcodec.errors import UsageError
from imfcodec.evaluation import sweep
from imfcodec.evaluation.codecs import Codec, Downscaled, GeneralCodec
from imfcodec.evaluation.environment import describe_environment
from imfcodec.evaluation.report import CODEC, COPY_KEY_FRAME, ResultTable, read_table, write_table
from imfcodec.evaluation.sweep import SweepTask, cut_clip, find_clips, frame_file, plan_sweep, run_sweep, run_task
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer

RATE = Fraction(25)
FRAMES = 10
X264 = GeneralCodec("x264")


class Darkener(Codec):
    """Stands in for our codec: a 1000-byte packet, frames that come back darker by their index."""

    name, levels, model = CODEC, (50,), "0123abcd"

    def encode(self, frames, video, level):
        self.frames = frames
        return [bytes(1000)]

    def decode(self, packets, video):
        return [replace(frame, y=frame.y - np.uint8(index)) for index, frame in enumerate(self.frames)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two short clips and a file that is no video, in one folder."""
    folder = tmp_path_factory.mktemp("clips")
    video = talking_face_format(64, 64, RATE)
    for seed, name in enumerate(("a.mkv", "b.y4m")):
        with open_writer(folder / name, video) as writer:
            for frame in talking_face(video, FRAMES, seed):
                writer.write(frame)
    (folder / "notes.txt").write_text("no clip")
    return folder


@pytest.fixture(autouse=True)
def threads_instead_of_processes(monkeypatch):
    """Threads start at once."""
    monkeypatch.setattr(sweep, "get_context", lambda method: multiprocessing.dummy)
    monkeypatch.setattr(sweep, "_prepare_worker", lambda: None)


def read_frames(path):
    with open_clip(path, audio=False) as clip:
        return list(clip.frames())


def test_clips_are_found_by_suffix(clips, tmp_path):
    """In order of name; a folder without any is an error."""
    assert [path.name for path in find_clips(clips)] == ["a.mkv", "b.y4m"]
    with pytest.raises(UsageError, match="holds no video file"):
        find_clips(tmp_path)


def test_cut_clip_keeps_the_first_frames_exactly(clips, tmp_path):
    """Pixels are those of the original; a clip shorter than the limit stays whole."""
    original = read_frames(clips / "a.mkv")
    for limit, count in ((4, 4), (99, FRAMES)):
        target = tmp_path / f"{limit}.y4m"
        assert cut_clip(clips / "a.mkv", target, limit) == RATE
        frames = read_frames(target)
        assert len(frames) == count
        assert all(
            np.array_equal(a.y, b.y) and np.array_equal(a.u, b.u) for a, b in zip(frames, original, strict=False)
        )


def test_plan_covers_clips_codecs_and_levels(clips):
    """In this order; the keys are those of the rows."""
    half = Downscaled(GeneralCodec("x265"), 2)
    tasks = plan_sweep(find_clips(clips), [X264, half], 5)
    assert len(tasks) == 2 * (len(X264.levels) + len(half.levels))
    assert tasks[0].key == ("a.mkv", "x264", "crf51", "-") and tasks[5].key == ("a.mkv", "x265@1/2", "crf51", "-")


def test_tasks_travel_between_processes(clips):
    """Workers get them pickled."""
    for task in plan_sweep(find_clips(clips), [X264, Downscaled(X264, 4)], 5):
        assert pickle.loads(pickle.dumps(task)).key == task.key


def test_row_of_a_peer(clips):
    """Frames, seconds and rate follow from the clip and the bytes."""
    result = run_task(SweepTask(clips / "a.mkv", X264, 36, 6))
    [row] = result.points
    assert (row.clip, row.codec, row.setting, row.model, row.frames) == ("a.mkv", "x264", "crf36", "-", 6)
    assert row.seconds == pytest.approx(0.24) and row.kbps == pytest.approx(row.bytes * 8 / 240)
    assert 20 < row.psnr_y < 60 and 0.5 < row.ssim_y < 1
    assert row.psnr_y_p5 == result.report.percentile_5.psnr_y < row.psnr_y == result.report.mean.psnr_y
    assert row.psnr_rgb and row.ssim_y_8x8 and row.xpsnr_y is row.warping_error is row.ms_ssim_y is None


def test_rows_of_our_codec(clips, monkeypatch):
    """Whole-file bytes for the codec; key frame bytes and the repeated first frame for the baseline."""
    summary = type("Summary", (), {"bytes_by_kind": {"keys": 600}})
    monkeypatch.setattr(sweep.api, "probe", lambda stream: summary if len(stream.read()) == 1000 else None)
    own, copy = run_task(SweepTask(clips / "a.mkv", Darkener(), 50, 6)).points
    assert (own.codec, own.setting, own.model, own.bytes) == ("imfcodec", "q50", "0123abcd", 1000)
    assert own.kbps == pytest.approx(8000 / 240)
    expected = [100.0, *(20 * np.log10(255 / error) for error in range(1, 6))]
    assert own.psnr_y == pytest.approx(np.mean(expected)) and own.psnr_u == 100
    assert (copy.codec, copy.setting, copy.model, copy.bytes) == (COPY_KEY_FRAME, "q50", "0123abcd", 600)
    frames = read_frames(clips / "a.mkv")[:6]
    errors = [np.mean((frame.y.astype(float) - frames[0].y) ** 2) for frame in frames[1:]]
    assert copy.psnr_y == pytest.approx(np.mean([100.0, *(10 * np.log10(255**2 / error) for error in errors)]))


def test_sweep_resumes_reports_and_goes_on_after_a_failure(clips, tmp_path):
    """Rows that stand are not made again; a broken clip costs its own rows only."""
    table_path = tmp_path / "rd.tsv"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    good = [SweepTask(clips / name, X264, 40, 3) for name in ("a.mkv", "b.y4m")]
    finished = [replace(point, encode_fps=12345.0) for point in run_task(good[0]).points]
    write_table(table_path, ResultTable(("first 3 frames of each clip", "made earlier"), tuple(finished)))
    lines = []
    assert not run_sweep([*good, SweepTask(broken, X264, 40, 3)], table_path, report=lines.append)
    table = read_table(table_path)
    assert [(point.clip, point.encode_fps == 12345) for point in table.points] == [("a.mkv", True), ("b.y4m", False)]
    assert table.comments == ("first 3 frames of each clip", "made earlier", describe_environment())
    assert len(lines) == 2 and any("broken.mp4 x264 crf40 -: failed, " in line for line in lines)


def test_frames_are_written_beside_the_table(clips, tmp_path):
    """One CSV file a task, a line a frame; names of downscaled codecs make no folders."""
    codec = Downscaled(X264, 2)
    assert run_sweep(
        [SweepTask(clips / "a.mkv", codec, 40, 3)], tmp_path / "rd.tsv", frame_folder=tmp_path, report=lambda line: None
    )
    [row] = read_table(tmp_path / "rd.tsv").points
    assert frame_file(row) == "a.mkv_x264@1-2_crf40.csv"
    head, *lines = (tmp_path / frame_file(row)).read_text().splitlines()
    assert head.startswith("frame,psnr_y,") and len(lines) == 3


def test_table_of_another_length_is_refused(clips, tmp_path):
    """Rows over 3 and over 5 frames do not belong side by side."""
    write_table(tmp_path / "rd.tsv", ResultTable(("first 3 frames of each clip",)))
    with pytest.raises(UsageError, match="first 3 frames of each clip, not first 5 frames"):
        run_sweep([SweepTask(clips / "a.mkv", X264, 40, 5)], tmp_path / "rd.tsv")


@pytest.mark.parametrize("limits", [(), (3, 4)])
def test_tasks_need_one_frame_limit(clips, tmp_path, limits):
    """A table has one scope."""
    tasks = [SweepTask(clips / "a.mkv", X264, 40, limit) for limit in limits]
    with pytest.raises(UsageError, match="one frame limit"):
        run_sweep(tasks, tmp_path / "rd.tsv")


def test_finished_sweep_does_nothing(clips, tmp_path):
    """The table stays as it is, to the byte."""
    task = SweepTask(clips / "a.mkv", X264, 40, 3)
    path = tmp_path / "rd.tsv"
    write_table(path, ResultTable(("first 3 frames of each clip",), run_task(task).points))
    before = path.read_bytes()
    assert run_sweep([task], path, report=pytest.fail)
    assert path.read_bytes() == before


def test_environment_names_versions_and_no_folder():
    """Versions and commit are there, where the package lies is not."""
    text = describe_environment()
    assert f"imfcodec {imfcodec.__version__} commit " in text and "torch " in text and "Python 3." in text
    assert str(Path(imfcodec.__file__).parent.parent) not in text and "\n" not in text
