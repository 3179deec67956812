"""Batches: what is to be done, the journal, workers that die, and the same bytes wherever a file is coded."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from fractions import Fraction
from pathlib import Path

import pytest

from imfcodec import api
from imfcodec.batch import Settings, list_jobs, open_engine, run_batch
from imfcodec.batch.engines import Engine
from imfcodec.batch.journal import JOURNAL_NAME
from imfcodec.batch.local import LocalEngine
from imfcodec.batch.runner import ATTEMPTS
from imfcodec.batch.work import FileResult, Task, code_file, name_model
from imfcodec.cli import run
from imfcodec.errors import InputError, ModelError, UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.files import AppendedLines
from imfcodec.video.writer import open_writer

SETTINGS = Settings("none", "0011", api.EncodeOptions(quality=30))
LONGEST_SECONDS = 120


def copy_length(task):
    """Work that takes no codec: "kill" in the source kills the worker, "bad" is bad input, the rest is written."""
    text = Path(task.source).read_text()
    if "kill" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "once" in text and not Path(f"{task.source}.tried").exists():
        Path(f"{task.source}.tried").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "sleep" in text:
        time.sleep(LONGEST_SECONDS)
    if "bad" in text:
        return FileResult(task.source, task.target, InputError.exit_code, "cannot be read")
    if Path(task.target).exists() and not task.overwrite:
        return FileResult(task.source, task.target, UsageError.exit_code, "exists")
    Path(task.target).write_text(text)
    return FileResult(task.source, task.target, 0, frames=2, byte_count=len(text), duration_seconds=1.0)


class Here(Engine):
    """Does tasks one by one in this process; `lose` names sources whose worker is lost."""

    def __init__(self, lose=()):
        self.jobs, self.tasks, self.done, self.lose = 2, deque(), [], list(lose)

    def start(self, task):
        assert len(self.tasks) < self.jobs
        self.tasks.append(task)

    def wait(self):
        task = self.tasks.popleft()
        self.done.append(Path(task.source).name)
        if Path(task.source).name in self.lose:
            self.lose.remove(Path(task.source).name)
            return task, None
        return task, copy_length(task)

    def close(self):
        self.tasks.clear()


@pytest.fixture
def folder(tmp_path):
    """Four small "videos", one of them in a folder of its own, and what is none."""
    videos = tmp_path / "videos"
    (videos / "more").mkdir(parents=True)
    for name in ("a.mp4", "b.mkv", "more/c.MOV", "d.webm"):
        (videos / name).write_text(f"video {name}")
    (videos / "notes.txt").write_text("no video")
    return videos


def facts(out):
    return [json.loads(line) for line in (out / JOURNAL_NAME).read_text().splitlines()]


def test_a_folder_is_walked_and_its_folders_are_kept(folder, tmp_path):
    jobs = list_jobs(folder, tmp_path / "out")
    names = [(os.path.relpath(job.source, folder), os.path.relpath(job.target, tmp_path / "out")) for job in jobs]
    assert names == [("a.mp4", "a.imf"), ("b.mkv", "b.imf"), ("d.webm", "d.imf"), ("more/c.MOV", "more/c.imf")]


def test_a_manifest_names_videos_and_streams(folder, tmp_path):
    manifest = folder / "list.txt"
    manifest.write_text(f"# two\na.mp4\n\nmore/c.MOV\tother/x.imf\r\n{tmp_path}/else/e.mp4\n")
    jobs = list_jobs(manifest, tmp_path / "out")
    assert [job.source for job in jobs] == [str(folder / "a.mp4"), str(folder / "more/c.MOV"), f"{tmp_path}/else/e.mp4"]
    assert [os.path.relpath(job.target, tmp_path / "out") for job in jobs] == ["a.imf", "other/x.imf", "e.imf"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no video"),
        ("a.mp4\na.mkv\n", "would both become"),
        ("a.mp4\t../x.imf\n", "lies outside"),
        ("/\n", "no name of a video"),
        ("a\0b.mp4\n", "is no text"),
        (f"{'a' * 260}.mp4\n", "choose another name"),
    ],
)
def test_manifests_that_cannot_be_meant(tmp_path, text, message):
    manifest = tmp_path / "list.txt"
    manifest.write_text(text)
    with pytest.raises(UsageError, match=message):
        list_jobs(manifest, tmp_path / "out")
    with pytest.raises(UsageError, match="is a video"):
        list_jobs(tmp_path / "list.mp4", tmp_path / "out")


def test_every_file_gets_a_result_and_one_that_fails_stops_no_other(folder, tmp_path):
    (folder / "b.mkv").write_text("bad")
    out, told, engine = tmp_path / "out", [], Here()
    totals = run_batch(list_jobs(folder, out), out, SETTINGS, engine, notify=told.append)
    assert (totals.files, totals.done, totals.failed, totals.exit_code) == (4, 3, 1, InputError.exit_code)
    assert totals.frames == 6 and totals.byte_count == sum(len(f"video {n}") for n in ("a.mp4", "d.webm", "more/c.MOV"))
    assert engine.done.count("b.mkv") == 1  # bad input is not tried again
    assert [result.exit_code for result in told] == [0, 3, 0, 0]
    assert [fact["event"] for fact in facts(out)].count("end") == 4


def test_a_lost_worker_costs_another_try_and_then_the_file(folder, tmp_path):
    engine = Here(lose=["a.mp4", *["d.webm"] * ATTEMPTS])
    totals = run_batch(list_jobs(folder, tmp_path / "out"), tmp_path / "out", SETTINGS, engine)
    assert engine.done.count("a.mp4") == 2 and engine.done.count("d.webm") == ATTEMPTS
    assert (totals.done, totals.failed, totals.exit_code) == (3, 1, 1)
    assert not (tmp_path / "out/d.imf").exists()


def test_a_killed_batch_goes_on_where_it_was(folder, tmp_path):
    """What is done stays; half a line of the journal, and a stream that was finished but not noted, do no harm."""
    out = tmp_path / "out"
    jobs = list_jobs(folder, out)
    run_batch(jobs[:2], out, SETTINGS, Here())
    with (out / JOURNAL_NAME).open("a") as journal:
        journal.write(json.dumps({"event": "begin", "source": jobs[2].source, "target": jobs[2].target}) + '\n{"eve')
    Path(jobs[2].target).write_text("finished as the batch was killed")
    (folder / "b.mkv").write_text("another video")
    engine = Here()
    totals = run_batch(jobs, out, SETTINGS, engine, resume=True)
    assert engine.done == ["b.mkv", "d.webm", "c.MOV"] and totals.earlier == 1
    assert (totals.done, totals.exit_code) == (4, 0)  # b.mkv has changed, and was its own stream's
    again = Here()
    assert run_batch(jobs, out, SETTINGS, again, resume=True).earlier == 4 and not again.done


def test_streams_of_others_are_kept(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.imf").write_text("somebody's")
    totals = run_batch(list_jobs(folder, out), out, SETTINGS, Here())
    assert totals.exit_code == UsageError.exit_code and (out / "a.imf").read_text() == "somebody's"
    run_batch(list_jobs(folder, out), out, SETTINGS, Here(), overwrite=True)
    assert (out / "a.imf").read_text() == "video a.mp4"


def test_bad_input_stays_failed_and_system_failures_are_tried_again(folder, tmp_path):
    (folder / "b.mkv").write_text("bad")
    out = tmp_path / "out"
    jobs = list_jobs(folder, out)
    run_batch(jobs, out, SETTINGS, Here(lose=["a.mp4"] * ATTEMPTS))
    engine = Here()
    totals = run_batch(jobs, out, SETTINGS, engine, resume=True)
    assert engine.done == ["a.mp4"] and (totals.done, totals.failed, totals.exit_code) == (3, 1, 3)


def test_a_batch_is_gone_on_with_only_as_it_was_begun(folder, tmp_path):
    out = tmp_path / "out"
    jobs = list_jobs(folder, out)
    run_batch(jobs, out, SETTINGS, Here())
    with pytest.raises(UsageError, match="--resume"):
        run_batch(jobs, out, SETTINGS, Here())
    with pytest.raises(UsageError, match="begun with quality 30, not 31"):
        run_batch(jobs, out, Settings("none", "0011", api.EncodeOptions(quality=31)), Here(), resume=True)
    lines = AppendedLines(out / JOURNAL_NAME)
    try:
        with pytest.raises(UsageError, match="another run"):
            run_batch(jobs, out, SETTINGS, Here(), resume=True)
    finally:
        lines.close()
    (out / JOURNAL_NAME).write_text("shopping list\n")
    with pytest.raises(InputError, match="no journal"):
        run_batch(jobs, out, SETTINGS, Here(), resume=True)


def within_seconds(engine, call):
    """Run what must not hang; ends the workers where it does."""
    guard = threading.Timer(LONGEST_SECONDS, engine.close)
    guard.start()
    try:
        return call()
    finally:
        guard.cancel()
        engine.close()


def test_local_workers_that_are_killed_are_replaced(folder, tmp_path):
    """One dies once, one always; the others' files are coded all the same."""
    (folder / "a.mp4").write_text("once")
    (folder / "b.mkv").write_text("kill")
    engine = LocalEngine(2, copy_length)
    jobs = list_jobs(folder, tmp_path / "out")
    totals = within_seconds(engine, lambda: run_batch(jobs, tmp_path / "out", SETTINGS, engine))
    assert (totals.done, totals.failed, totals.exit_code) == (3, 1, 1)
    assert (tmp_path / "out/a.imf").read_text() == "once"


def test_local_workers_end_with_the_batch(folder):
    """Closing does not wait for what they are doing."""
    source = folder / "a.mp4"
    source.write_text("sleep")
    engine = LocalEngine(1, copy_length)
    engine.start(Task(str(source), f"{source}.imf", SETTINGS, False))
    (worker,) = engine._busy
    process = worker._process
    start = time.monotonic()
    engine.close()
    assert process.exitcode == -signal.SIGKILL and time.monotonic() - start < LONGEST_SECONDS / 4


def test_a_batch_that_is_killed_leaves_no_worker_behind():
    script = (
        "import time; from imfcodec.batch.local import LocalEngine; engine = LocalEngine(1, time.sleep); "
        f"engine.start({10 * LONGEST_SECONDS}); "
        "print(*(worker.pid for worker in engine._busy), flush=True); time.sleep(600)"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root)
    guard = threading.Timer(LONGEST_SECONDS, process.kill)
    guard.start()
    try:
        worker = int(process.stdout.readline())
    finally:
        guard.cancel()
        process.kill()
        process.wait(LONGEST_SECONDS)
        process.stdout.close()
    end = time.monotonic() + LONGEST_SECONDS
    while is_running(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(process):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two tiny talking faces and a file that is none."""
    folder = tmp_path_factory.mktemp("batch")
    video = talking_face_format(64, 64, Fraction(25))
    for name, count in (("one.y4m", 3), ("two.y4m", 4)):
        with open_writer(folder / name, video) as writer:
            for frame in talking_face(video, count):
                writer.write(frame)
    (folder / "three.mp4").write_bytes(b"no video at all")
    return folder


def test_the_command_codes_what_encode_codes(clips, tmp_path, capsys):
    """Real workers: the same bytes as by hand, a line for each file, totals, the exit code of the file that fails."""
    out = tmp_path / "out"
    arguments = ["batch", str(clips), "--out", str(out), "--jobs", "1", "-q", "20", "--device", "cpu"]
    code = run([*arguments, "--verify", "--progress", "json"])
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert code == InputError.exit_code
    assert [Path(event["source"]).name for event in events[:-1]] == ["one.y4m", "three.mp4", "two.y4m"]
    assert [event["frames"] for event in events[:-1]] == [3, 0, 4]
    assert {name: events[-1][name] for name in ("event", "files", "done", "failed")} == {
        "event": "batch", "files": 3, "done": 2, "failed": 1,
    }  # fmt: skip
    api.encode(clips / "two.y4m", tmp_path / "two.imf", quality=20, device="cpu", threads=1)
    assert (out / "two.imf").read_bytes() == (tmp_path / "two.imf").read_bytes()
    assert run([*arguments, "--verify", "--resume"]) == InputError.exit_code
    assert "3 files: 2 done (2 of them earlier), 1 failed" in capsys.readouterr().err


def test_a_worker_with_other_weights_refuses(clips, tmp_path):
    name, _ = name_model(None)
    settings = Settings(name, "00" * 8)
    result = code_file(Task(str(clips / "one.y4m"), str(tmp_path / "one.imf"), settings, False))
    assert result.exit_code == ModelError.exit_code and "not 0000000000000000" in result.error
    assert not (tmp_path / "one.imf").exists()


def test_engines_that_are_not_there(monkeypatch):
    with pytest.raises(UsageError, match="--engine 'cloud' is unknown"):
        open_engine("cloud", 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="imfcodec\\[ray\\]"):
        open_engine("ray", 1)


@pytest.mark.skipif(os.environ.get("IMFCODEC_TEST_RAY") != "1", reason="Ray is tested with IMFCODEC_TEST_RAY=1")
def test_ray_gives_the_same_bytes_and_survives_a_killed_worker(clips, tmp_path):
    """In a process of its own, since Ray leaves threads behind; one of its two workers is killed on the way."""
    pytest.importorskip("ray")
    script = Path(__file__).with_name("ray_batch.py")
    result = subprocess.run([sys.executable, script, clips, tmp_path], timeout=300, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "killed a worker" in result.stdout
    for name in ("one.imf", "two.imf"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
