"""The command line and the system around it: names, pipes, signals, closed streams, terminals."""

import fcntl
import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from imfcodec import api
from imfcodec.cli import run
from imfcodec.cli.printing import print_fields, print_table
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.progress import Progress, ProgressReporter
from imfcodec.video.reader import RawSpec, open_clip
from imfcodec.video.writer import open_writer

ROOT = Path(__file__).parent.parent
QUIET = ("--progress", "none")
FRAMES = 3


def write_face(path):
    video = talking_face_format(64, 64, Fraction(25))
    with open_writer(path, video) as writer:
        for frame in talking_face(video, FRAMES):
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Three frames of 64x64 as Y4M."""
    return write_face(tmp_path_factory.mktemp("clips") / "face.y4m")


@pytest.fixture(scope="module")
def long_clip(clip):
    """The same frames again and again, for seconds of work."""
    header, *frames = clip.read_bytes().split(b"FRAME")
    path = clip.with_name("long.y4m")
    path.write_bytes(b"FRAME".join([header, *(100 * frames)]))
    return path


@pytest.fixture(scope="module")
def stream(clip):
    """The same as an .imf stream."""
    api.encode(clip, clip.with_suffix(".imf"), device="cpu")
    return clip.with_suffix(".imf")


@pytest.fixture
def start(tmp_path):
    """Start a command line in an empty folder; standard output and error are pipes."""

    def command(*arguments, environment=None, **options):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
        line = [sys.executable, "-m", "imfcodec", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(line, cwd=tmp_path, env=environment, **pipes, **options)

    return command


@pytest.fixture
def finish(start):
    """Run a command line in a process of its own, in an empty folder."""

    def command(*arguments, data=b"", **options):
        process = start(*arguments, stdin=subprocess.PIPE, **options)
        out, err = process.communicate(data)
        return SimpleNamespace(code=process.returncode, out=out, err=err)

    return command


@pytest.fixture
def imf(capfdbinary, monkeypatch, tmp_path):
    """Run a command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code = run([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return command


def names(folder):
    return sorted(os.listdir(folder))


def frame_count(path):
    with open_clip(path) as opened:
        return sum(1 for _ in opened.frames())


@pytest.mark.parametrize("name", ["12:30 talk.mp4", "Talk: part 1.mkv", "100%.y4m", "x" * 251 + ".mp4", "café.mkv"])
def test_videos_of_any_name(stream, tmp_path, name):
    """No name is a protocol, a pattern or too long, coming and going."""
    api.decode(stream, tmp_path / name)
    assert names(tmp_path) == [name]
    assert frame_count(tmp_path / name) == FRAMES
    api.encode(tmp_path / name, tmp_path / "again.imf", device="cpu")


def test_names_that_are_no_text(finish, clip, tmp_path):
    """They are read, written and printed, whatever the terminal's encoding."""
    raw = os.fsdecode(b"caf\xe9")
    api.encode(clip, tmp_path / f"{raw}.imf", device="cpu")
    for encoding in ("utf-8:strict", "ascii:strict"):
        result = finish("verify", f"{raw}.imf", environment={"PYTHONIOENCODING": encoding})
        assert result.code == 0 and re.fullmatch(rb"caf.*.imf: intact, 3 frames\n", result.out)
    api.decode(tmp_path / f"{raw}.imf", tmp_path / f"{raw}.mkv")
    api.encode(tmp_path / f"{raw}.mkv", tmp_path / f"{raw}.imf", device="cpu", overwrite=True)
    assert names(os.fsencode(tmp_path)) == [b"caf\xe9.imf", b"caf\xe9.mkv"]


@pytest.mark.parametrize("name", ["100%", "12:30"])
def test_folders_of_any_name(stream, tmp_path, name):
    """A percent sign in the folder's name is none of the pattern."""
    api.decode(stream, f"{tmp_path}/{name}/")
    assert names(tmp_path / name) == ["00001.png", "00002.png", "00003.png"]


@pytest.mark.parametrize(
    "pattern,first",
    [("s_%03d.png", "s_001.png"), ("50%%_%d.png", "50%_1.png"), ("%%d%d%%.png", "%d1%.png")],
)
def test_percent_signs_in_a_series(stream, tmp_path, pattern, first):
    api.decode(stream, tmp_path / pattern)
    assert first in names(tmp_path)
    api.decode(stream, tmp_path / pattern, overwrite=True)
    assert len(names(tmp_path)) == FRAMES


@pytest.mark.parametrize("pattern", ["50%_%03d.png", "s%d_%03d.png", "%s.png", "%%d.png", "%999d.png"])
def test_percent_signs_that_are_none_of_a_number(imf, stream, tmp_path, pattern):
    """A usage error that names the character."""
    result = imf("decode", stream, pattern)
    assert result.code == 2
    assert b"%" in result.err and result.err.count(b"\n") == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", [".y4m", ".mkv", ".yuv"])
def test_pipes_as_sources(clip, stream, tmp_path, kind):
    """Whatever comes through a named pipe is read, once."""
    source = tmp_path / f"source{kind}"
    if kind == ".yuv":
        with open_clip(clip) as opened:
            source.write_bytes(b"".join(p.tobytes() for f in opened.frames() for p in (f.y, f.u, f.v)))
    else:
        api.decode(stream, source)
    data = source.read_bytes()
    pipe = tmp_path / f"pipe{kind}"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=pipe.write_bytes, args=(data,))
    feeder.start()
    raw = RawSpec(64, 64, Fraction(25)) if kind == ".yuv" else None
    assert api.encode(pipe, tmp_path / "out.imf", raw=raw, device="cpu").frames == FRAMES
    feeder.join()


def test_standard_input_by_its_name(finish, clip, stream, tmp_path):
    """/dev/stdin is a source for all commands that read once; those that read twice say so."""
    assert finish("encode", "/dev/stdin", "out.imf", *QUIET, data=clip.read_bytes()).code == 0
    assert finish("info", "/dev/stdin", data=stream.read_bytes()).code == 0
    assert finish("verify", "/dev/stdin", "--decode", data=stream.read_bytes()).code == 2
    broken = finish("encode", "/dev/stdin", "-y", "out.imf", data=b"nonsense")
    assert broken.code == 3 and b"/dev/stdin" in broken.err
    assert names(tmp_path) == ["out.imf"]


@pytest.mark.parametrize("suffix", ["", ".y4m", ".mkv", ".mp4"])
def test_pipes_as_targets(stream, tmp_path, suffix):
    """They are written to and stay pipes; a reader gets the whole video."""
    pipe, got = tmp_path / f"pipe{suffix}", tmp_path / f"got{suffix or '.y4m'}"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.write_bytes(pipe.read_bytes()))
    reader.start()
    api.decode(stream, pipe)
    reader.join()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert frame_count(got) == FRAMES


def test_figures_never_replace_a_source_or_the_stream(imf, clip, tmp_path):
    """Refused before anything is read or written, even with -y."""
    source = tmp_path / "source.y4m"
    source.write_bytes(clip.read_bytes())
    os.link(source, tmp_path / "hard")
    before = names(tmp_path)
    for arguments in (
        ("encode", "--stats", "s.imf", "source.y4m", "s.imf"),
        ("encode", "-y", "--stats", "hard", "source.y4m", "s.imf"),
        ("encode", "-y", "source.y4m", "./source.y4m"),
        ("compare", "-y", "--csv", "source.y4m", "hard", clip),
        ("compare", "--csv", "new", "--json", "./new", clip, clip),
    ):
        result = imf(*arguments)
        assert result.code == 2, result.err
    assert names(tmp_path) == before
    assert source.read_bytes() == clip.read_bytes()


def test_a_model_is_no_target(imf, clip, tmp_path):
    """It is an input too."""
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"precious")
    assert imf("encode", "-y", "--model", model.name, clip, model.name).code == 2
    assert model.read_bytes() == b"precious"


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_targets_that_cannot_be(imf, clip, stream, tmp_path, command):
    """The message has the target's own name, and nothing appears."""
    source, suffix = (clip, ".imf") if command == "encode" else (stream, ".y4m")
    (tmp_path / f"folder{suffix}").mkdir()
    for target, code in ((f"folder{suffix}/x/y{suffix}", 2), (f"missing/x{suffix}", 2), (f"/proc/x{suffix}", 1)):
        result = imf(command, source, target, *QUIET)
        assert (result.code, result.err.count(b"\n")) == (code, 1), result.err
        assert target.encode() in result.err and b".part" not in result.err
    assert names(tmp_path) == [f"folder{suffix}"]
    assert imf(command, source, "-y", f"folder{suffix}", *QUIET).code in (0, 2)


def heed_hang_ups():
    """Also where tests run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals_leave_nothing_half_written(start, clip, long_clip, tmp_path, number):
    """Nothing under the target's name, and nothing beside it; after a kill the next run sees to that."""
    (tmp_path / "out").mkdir()
    process = start("encode", "--progress", "json", long_clip, "out/x.imf", preexec_fn=heed_hang_ups)
    while not names(tmp_path / "out"):
        time.sleep(0.02)
    process.stderr.readline()  # some frames are done
    process.send_signal(number)
    process.communicate()
    wanted = {signal.SIGINT: 130, signal.SIGKILL: -9}
    assert process.returncode == wanted.get(number, 128 + number)
    if number == signal.SIGKILL:
        assert len(names(tmp_path / "out")) == 1
        api.encode(clip, tmp_path / "out" / "x.imf", device="cpu")
        assert names(tmp_path / "out") == ["x.imf"]
    assert [name for name in names(tmp_path / "out") if name != "x.imf"] == []


@pytest.mark.parametrize("source", ["-", "/dev/stdin"])
def test_an_interrupted_pipe_is_no_end_of_video(start, clip, tmp_path, source):
    """A signal that comes while FFmpeg waits for a pipe ends the run, and no short video is taken for whole."""
    process = start("encode", *QUIET, source, "x.imf", stdin=subprocess.PIPE)
    data = clip.read_bytes()
    frame = data.index(b"FRAME", data.index(b"FRAME") + 1)
    fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, 4096)
    process.stdin.write(data[:frame])  # comes back when nearly all of it has been read
    process.stdin.flush()
    time.sleep(0.5)
    process.terminate()
    assert process.wait(30) == 143
    process.communicate()
    assert names(tmp_path) == []


def test_hang_up_is_ignored_where_it_was(start, clip, tmp_path):
    """As nohup asks for."""
    process = start("encode", *QUIET, clip, "x.imf", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    time.sleep(0.5)
    process.send_signal(signal.SIGHUP)
    process.communicate()
    assert process.returncode == 0 and names(tmp_path) == ["x.imf"]


def test_closed_standard_streams(clip, tmp_path):
    """Work goes on without them; as source or target they are missed by name."""
    imf = f"cd {tmp_path}; PYTHONPATH={ROOT} {sys.executable} -m imfcodec"

    def shell(line):
        return subprocess.run(["sh", "-c", f"{imf} {line}"], capture_output=True, check=False)

    assert shell(f"encode {clip} x.imf <&- >&- 2>&-").returncode == 0
    assert shell("decode x.imf x.mp4 <&- >&- 2>&-").returncode == 0
    assert frame_count(tmp_path / "x.mp4") == FRAMES
    assert b"standard output is closed" in shell("decode x.imf - >&-").stderr
    assert b"standard input is closed" in shell("encode - y.imf <&-").stderr
    full = shell("info x.imf >/dev/full")
    assert full.returncode == 1 and b"standard output: No space" in full.stderr
    gone = shell("decode x.imf - | true; test $? = 0")
    assert gone.stderr.count(b"\n") <= 1 and b"rror" not in gone.stderr
    assert names(tmp_path) == ["x.imf", "x.mp4"]


def in_terminal(arguments, columns, **environment):
    """What a command writes to a terminal of so many columns, and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(environment, PYTHONPATH=str(ROOT))
        os.system(f"stty cols {columns}")
        os.execv(sys.executable, [sys.executable, "-m", "imfcodec", *map(str, arguments)])
    written = b""
    try:
        while data := os.read(terminal, 4096):
            written += data
    except OSError:  # how a terminal says that it is over
        pass
    os.close(terminal)
    return written.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("kind,escapes", [("xterm", True), ("dumb", False)])
def test_narrow_terminals(clip, tmp_path, kind, escapes):
    """Every line fits 20 columns; escape codes come only where they are understood, colours never."""
    written, code = in_terminal(["encode", clip, tmp_path / "x.imf"], 20, TERM=kind, NO_COLOR="1")
    assert code == 0, written
    lines = re.split(r"\r\x1b\[K|\r\n", written)
    assert max(map(len, lines)) < 20
    assert ("\x1b" in written) == escapes
    assert "\x1b[3" not in written


def test_names_do_not_command_the_terminal(capsys, tmp_path):
    """Not in errors, notes, reports or tables; line breaks stay where the text is ours, as in the help page."""
    name = "\x1b[31mred\x9b2J\u202efdp\x07"
    shown = r"\x1b[31mred\x9b2J\u202efdp\x07"
    assert run(["info", str(tmp_path / f"{name}.mkv")]) != 0
    report = ProgressReporter("lines", "encode", sys.stderr)
    report.say(f"{name}: left out: a track in {name}")
    print_fields({"language": name})
    print_table([{"language": name}, {"language": None}])
    assert run([]) == 2
    out, err = capsys.readouterr()
    assert out.count(shown) == 2 and err.count(shown) == 3 and err.count("\n") > 5
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out + err)
    header, row, _ = out.splitlines()[1:]
    assert len(header) == len(row), "columns stay in line"


def test_progress_goes_quiet_where_nobody_listens():
    """A closed or broken standard error does not end the work."""

    class Broken:
        def write(self, text):
            raise BrokenPipeError

        fileno = write

    for target in (None, Broken()):
        report = ProgressReporter("json", "encode", target)
        report(Progress(1, 0.5, 1.0, 100, 1.0))
        report.close()


def test_verify_prints_json(imf, stream, tmp_path):
    """For intact and for damaged streams, beside the exit code."""
    assert json.loads(imf("verify", stream, "--json").out)["intact"] is True
    assert json.loads(imf("verify", stream, "--json", "--decode").out)["decoded"] is True
    (tmp_path / "cut.imf").write_bytes(stream.read_bytes()[:-3])
    damaged = imf("verify", "cut.imf", "--json")
    assert damaged.code == 3
    assert json.loads(damaged.out)["intact"] is False


def test_threads_wait_without_spinning_by_command_alone(monkeypatch):
    """Unless the user says otherwise; functions leave the process as it is."""
    script = "import os, sys; from imfcodec.cli.process import prepare_process as p; p(); print(os.environ.get({!r}))"
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    clean = {**os.environ, "PYTHONPATH": str(ROOT)}
    policy = script.format("OMP_WAIT_POLICY")
    for given, wanted in (
        ({}, b"PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, b"ACTIVE"),
        ({"GOMP_SPINCOUNT": "9"}, b"None"),
    ):
        result = subprocess.run([sys.executable, "-c", policy], env={**clean, **given}, capture_output=True, check=True)
        assert result.stdout.strip() == wanted
