"""One file coded by several processes: the bytes of one, whatever is decided, and nothing left when it ends."""

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from imfcodec import api
from imfcodec.api import side_by_side
from imfcodec.api.side_by_side import Ended, GroupCoder, SideBySide
from imfcodec.bitstream.container import StreamReader
from imfcodec.bitstream.packet import VideoPacket
from imfcodec.errors import InputError, UsageError, WorkerError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Clip, Frame
from imfcodec.video.writer import open_writer

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 60
OPTIONS = api.EncodeOptions(quality=30)
VIDEO = talking_face_format(64, 64, Fraction(25))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """18 frames of 64x64: a face, from 6 on upside down, from 12 on its negative."""
    path = tmp_path_factory.mktemp("clips") / "scenes.y4m"
    with open_writer(path, VIDEO) as writer:
        for frame in talking_face(VIDEO, 18):
            luma = frame.y if frame.pts < 6 else frame.y[::-1] if frame.pts < 12 else 255 - frame.y
            writer.write(Frame(luma.copy(), frame.u, frame.v, frame.pts))
    return path


@pytest.fixture(scope="module")
def model():
    """With the threads that jobs have by default."""
    return api.Model(str(ROOT / "bitstreams" / "tiny.safetensors"), device="cpu", threads=1)


def keys(path):
    """Numbers of the key frames."""
    with path.open("rb") as file:
        packets = [item for item in StreamReader(file) if isinstance(item, VideoPacket)]
    return [packet.pts[0] for packet in packets if packet.kind.name == "KEY"]


def test_jobs_make_the_bytes_of_one_process(scenes, model, tmp_path):
    """Its scene cut foretells the group at 12; others are opened by trial, which nobody foresees."""
    api.encode(scenes, tmp_path / "alone.imf", OPTIONS, model=model)
    assert {0, 12} < set(keys(tmp_path / "alone.imf"))
    stats = api.encode(scenes, tmp_path / "out.imf", OPTIONS, model=model, jobs=2)
    assert (tmp_path / "out.imf").read_bytes() == (tmp_path / "alone.imf").read_bytes() and stats.frames == 18


def test_a_job_goes_on_with_an_unfinished_run(scenes, model, tmp_path, monkeypatch):
    """In low delay, with groups of at most five frames beside the cut; begun without jobs, and verified by one."""
    options = {"options": OPTIONS, "structure": "low-delay", "key_interval": 5, "model": model}
    from imfcodec.codec.encoder import Encoder  # not on top: workers import this module, most of them without torch

    api.encode(scenes, tmp_path / "alone.imf", **options)
    encode = Encoder.encode

    def interrupted(self, frames):
        yield from islice(encode(self, frames), 14)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Encoder, "encode", interrupted)
        api.encode(scenes, tmp_path / "out.imf", **options, resume=True)
    said = []
    api.encode(scenes, tmp_path / "out.imf", **options, jobs=1, verify=True, resume=True, say=said.append)
    assert (tmp_path / "out.imf").read_bytes() == (tmp_path / "alone.imf").read_bytes()
    assert keys(tmp_path / "out.imf") == [0, 5, 10, 12, 17] and "goes on after 12 frames" in said[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"bitrate": 6000}, "not with --bitrate"), ({"bitrate": 6000, "structure": "low-delay"}, "not with --bitrate")],
)
def test_targets_are_refused_by_name(scenes, model, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        api.encode(scenes, tmp_path / "out.imf", model=model, jobs=2, **options)
    assert not list(tmp_path.iterdir())


def test_what_comes_once_is_refused(scenes, model, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with scenes.open("rb") as file, pytest.raises(UsageError, match="--jobs needs a file"):
        api.encode(file, tmp_path / "out.imf", model=model, jobs=2)
    with pytest.raises(UsageError, match="--jobs needs a file"):
        api.encode(tmp_path / "pipe", tmp_path / "out.imf", model=model, jobs=2)
    with pytest.raises(UsageError, match="--jobs needs a file"):
        api.Encoder(model=model, jobs=2).encode_clip(Clip(VIDEO, []), tmp_path / "out.imf")
    with pytest.raises(UsageError, match="0 jobs"):
        api.Encoder(model=model, jobs=0)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_killed_job_ends_the_run(scenes, model, tmp_path, monkeypatch):
    """With an error of one line, and no file."""
    wait = side_by_side.first_ready

    def wait_and_kill(workers):
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
        return wait(workers)

    monkeypatch.setattr(side_by_side, "first_ready", wait_and_kill)
    with pytest.raises(WorkerError, match=r"^a job was killed; .*--jobs") as caught:
        api.encode(scenes, tmp_path / "out.imf", OPTIONS, model=model, jobs=2)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_errors_of_a_job_come_through(model, tmp_path):
    header = side_by_side.StreamHeader(VIDEO, model.model_id)
    code = GroupCoder(tmp_path / "missing.y4m", OPTIONS, model, api.DEFAULT_LIMITS, header)
    ((number, error),) = code((7, 0))
    assert number == 7 and isinstance(error, InputError) and "no such file" in str(error)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition):
    """Wait until something holds; whether it does in time."""
    end = time.monotonic() + LONGEST_SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_an_interruption_at_the_terminal_ends_all_jobs(scenes, tmp_path):
    """It reaches every process there is, and one speaks of it."""
    arguments = ["encode", "--jobs", "2", "--keyint", "4", "--device", "cpu", "--progress", "none", scenes, "out.imf"]
    process = subprocess.Popen(
        [sys.executable, "-m", "imfcodec", *map(str, arguments)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert until(lambda: len(children(process.pid)) == 3)  # two jobs, and what tracks their resources
        jobs = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=LONGEST_SECONDS)
    finally:
        process.kill()
        process.wait(LONGEST_SECONDS)
    assert (process.returncode, said.split(b"\n")) == (130, [b"", b"imfcodec: interrupted", b""])
    assert until(lambda: not any(map(is_running, jobs))) and not list(tmp_path.iterdir())


class Tens:
    """Foretells groups of ten frames, up to 60."""

    def end_of(self, start):
        return start + 10 if start < 50 else None


def pieces(ends, task):
    """Work that takes no codec: three packets a group; one that begins where none does goes on for ever."""
    number, start = task
    if start == 20:
        time.sleep(0.2)  # so that others are done before it
    for piece in range(3):
        yield number, (start, piece, os.getpid())
    while start not in ends:
        time.sleep(0.01)
        yield number, (start, "in vain", os.getpid())
    yield number, Ended(ends[start])


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_groups_are_taken_where_the_one_before_has_ended(jobs):
    """The third ends early, as nobody foresaw; jobs that code in vain are given what is needed."""
    ends = {0: 10, 10: 20, 20: 23, 23: 33, 33: 40, 40: 50, 50: None}
    with SideBySide(jobs, partial(pieces, ends), Tens()) as groups:
        packets = list(groups.packets(0))
    assert [packet[:2] for packet in packets] == [(start, piece) for start in ends for piece in range(3)]
    assert len({pid for *_, pid in packets}) == jobs
