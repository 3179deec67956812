"""Sweeps: rows from real files, resuming, failures, and what our codec's rows are made of."""

import multiprocessing.dummy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import imfcodec
from imfcodec.api import EncodeStats
from imfcodec.errors import ImfError, UsageError
from imfcodec.evaluation import sweep
from imfcodec.evaluation.report import COPY_KEY_FRAME, ResultTable, read_table, write_table
from imfcodec.evaluation.sweep import (
    PEER_CRFS,
    SweepTask,
    cut_clip,
    describe_environment,
    find_clips,
    plan_own,
    plan_peers,
    run_sweep,
    run_task,
)
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.peercodecs import PEER_CODECS
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer

RATE = Fraction(25)
FRAMES = 10


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


def read_frames(path):
    with open_clip(path, audio=False) as clip:
        return list(clip.frames())


@pytest.fixture
def fake_codec(monkeypatch):
    """Stands in for the codec: 1000-byte streams, frames that come back darker by their index."""

    def encode(source, target, **options):
        assert options == {"quality": 50, "audio": "none", "device": "cpu", "threads": 1}
        target.write_bytes(bytes(1000))
        encode.source = source
        return EncodeStats(6, 0.24, 1000, {"keys": 600, "tokens": 300, "audio": 0, "container": 100}, 2.0)

    def decode(stream, target):
        assert stream.stat().st_size == 1000
        frames = read_frames(encode.source)
        with open_writer(target, talking_face_format(64, 64, RATE)) as writer:
            for index, frame in enumerate(frames):
                writer.write(replace(frame, y=frame.y - np.uint8(index)))

    monkeypatch.setattr(sweep.api, "encode", encode)
    monkeypatch.setattr(sweep, "decode_in_fresh_process", decode)


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


def test_plans_cover_clips_and_settings(clips, monkeypatch):
    """Peers at their crf values, ours at the qualities asked for, under the model's id."""
    found = find_clips(clips)
    tasks = plan_peers(found, ["x264", "x265"], 5)
    assert len(tasks) == 2 * (len(PEER_CRFS["x264"]) + len(PEER_CRFS["x265"]))
    models = [{"model_id": "ff" * 8, "default": False}, {"model_id": "0123456789abcdef", "default": True}]
    monkeypatch.setattr(sweep.api, "list_models", lambda: models)
    keys = [task.key for task in plan_own(found, [10, 90], 5)]
    assert keys[:2] == [("a.mkv", "imfcodec", "q10", "01234567"), ("a.mkv", "imfcodec", "q90", "01234567")]


def test_every_peer_has_five_crfs_within_its_range():
    """The sweep's constants fit the codecs'."""
    assert PEER_CRFS.keys() == PEER_CODECS.keys()
    for name, crfs in PEER_CRFS.items():
        assert len(set(crfs)) == 5 and all(0 <= crf <= PEER_CODECS[name].max_crf for crf in crfs)


def test_row_of_a_peer(clips):
    """Frames, seconds and rate follow from the clip and the bytes."""
    [row] = run_task(SweepTask(clips / "a.mkv", "x264", 36, 6))
    assert (row.clip, row.codec, row.setting, row.model, row.frames) == ("a.mkv", "x264", "crf36", "-", 6)
    assert row.seconds == pytest.approx(0.24) and row.kbps == pytest.approx(row.bytes * 8 / 240)
    assert 20 < row.psnr_y < 60 and 0.5 < row.ssim_y < 1


@pytest.mark.usefixtures("fake_codec")
def test_rows_of_our_codec(clips):
    """Whole-file bytes for the codec; key frame bytes and the repeated first frame for the baseline."""
    own, copy = run_task(SweepTask(clips / "a.mkv", "imfcodec", 50, 6, "0123abcd"))
    assert (own.codec, own.setting, own.model, own.bytes, own.encode_fps) == ("imfcodec", "q50", "0123abcd", 1000, 3.0)
    assert own.kbps == pytest.approx(8000 / 240)
    expected = [100.0, *(20 * np.log10(255 / error) for error in range(1, 6))]
    assert own.psnr_y == pytest.approx(np.mean(expected)) and own.psnr_u == 100
    assert (copy.codec, copy.setting, copy.model, copy.bytes) == (COPY_KEY_FRAME, "q50", "0123abcd", 600)
    frames = read_frames(clips / "a.mkv")[:6]
    errors = [np.mean((frame.y.astype(float) - frames[0].y) ** 2) for frame in frames[1:]]
    assert copy.psnr_y == pytest.approx(np.mean([100.0, *(10 * np.log10(255**2 / error) for error in errors)]))


def test_failed_decode_is_an_error_with_its_message(tmp_path):
    """The other process's last words are passed on."""
    (tmp_path / "bad.imf").write_bytes(b"not a stream")
    with pytest.raises(ImfError, match=r"decode failed with exit code [1-5]: imfcodec: "):
        sweep.decode_in_fresh_process(tmp_path / "bad.imf", tmp_path / "out.y4m")


def test_sweep_resumes_reports_and_goes_on_after_a_failure(clips, tmp_path):
    """Rows that stand are not made again; a broken clip costs its own rows only."""
    table_path = tmp_path / "rd.tsv"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    good = [SweepTask(clips / name, "x264", 40, 3) for name in ("a.mkv", "b.y4m")]
    finished = [replace(point, encode_fps=12345.0) for point in run_task(good[0])]
    write_table(table_path, ResultTable(("first 3 frames of each clip", "made earlier"), tuple(finished)))
    lines = []
    assert not run_sweep([*good, SweepTask(broken, "x264", 40, 3)], table_path, report=lines.append)
    table = read_table(table_path)
    assert [(point.clip, point.encode_fps == 12345) for point in table.points] == [("a.mkv", True), ("b.y4m", False)]
    assert table.comments == ("first 3 frames of each clip", "made earlier", describe_environment())
    assert len(lines) == 2 and any("broken.mp4 x264 crf40 -: failed, " in line for line in lines)


def test_redo_replaces_rows(clips, tmp_path, monkeypatch):
    """Each row stands once, newly made; rows of other tasks stay."""
    monkeypatch.setattr(sweep, "get_context", lambda method: multiprocessing.dummy)  # threads start at once
    monkeypatch.setattr(sweep, "_prepare_worker", lambda: None)
    task = SweepTask(clips / "a.mkv", "x264", 40, 3)
    path = tmp_path / "rd.tsv"
    [row] = run_task(task)
    other = replace(row, clip="other.mp4")
    write_table(path, ResultTable(("first 3 frames of each clip",), (replace(row, bytes=1), other)))
    assert run_sweep([task], path, redo=True, report=lambda line: None)
    found = {point.clip: point.bytes for point in read_table(path).points}
    assert found == {"a.mkv": row.bytes, "other.mp4": row.bytes}


def test_table_of_another_length_is_refused(clips, tmp_path):
    """Rows over 3 and over 5 frames do not belong side by side."""
    write_table(tmp_path / "rd.tsv", ResultTable(("first 3 frames of each clip",)))
    with pytest.raises(UsageError, match="first 3 frames of each clip, not first 5 frames"):
        run_sweep([SweepTask(clips / "a.mkv", "x264", 40, 5)], tmp_path / "rd.tsv")


@pytest.mark.parametrize("limits", [(), (3, 4)])
def test_tasks_need_one_frame_limit(clips, tmp_path, limits):
    """A table has one scope."""
    tasks = [SweepTask(clips / "a.mkv", "x264", 40, limit) for limit in limits]
    with pytest.raises(UsageError, match="one frame limit"):
        run_sweep(tasks, tmp_path / "rd.tsv")


def test_finished_sweep_does_nothing(clips, tmp_path):
    """The table stays as it is, to the byte."""
    task = SweepTask(clips / "a.mkv", "x264", 40, 3)
    path = tmp_path / "rd.tsv"
    write_table(path, ResultTable(("first 3 frames of each clip",), tuple(run_task(task))))
    before = path.read_bytes()
    assert run_sweep([task], path, report=pytest.fail)
    assert path.read_bytes() == before


def test_environment_names_versions_and_no_folder():
    """Versions and commit are there, where the package lies is not."""
    text = describe_environment()
    assert f"imfcodec {imfcodec.__version__} commit " in text and "torch " in text and "Python 3." in text
    assert str(Path(imfcodec.__file__).parent.parent) not in text and "\n" not in text
