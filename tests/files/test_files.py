"""Output files: complete or not there, whatever happens and whoever else writes."""

import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from imfcodec.errors import ImfError, OutputError, UsageError
from imfcodec.files import OutputFile, OutputFolder, check_distinct, check_target, write_beside
from imfcodec.files import folder as folder_module
from imfcodec.files import temporary as temporary_module

ROOT = Path(__file__).parents[2]
NUMBERED = re.compile(r"\d+\.png")


def contents(folder):
    """{name: bytes} of a folder, hidden files too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(path, data, **options):
    with write_beside(path, **options) as file:
        file.write(data)


def open_series(folder, *, overwrite=True):
    return OutputFolder(folder, NUMBERED, str(folder), overwrite=overwrite)


def write_series(folder, *files, overwrite=True):
    series = open_series(folder, overwrite=overwrite)
    for name in files:
        series.write(name, b"new")
    series.commit()


@pytest.fixture
def killed(tmp_path):
    """Start to write a target in another process and kill it half-way."""

    def kill(target):
        script = (
            "import sys, time; from imfcodec.files import write_beside\n"
            "with write_beside(sys.argv[1]) as file:\n"
            "    file.write(b'half'); file.flush(); print('ready', flush=True); time.sleep(60)"
        )
        process = subprocess.Popen([sys.executable, "-c", script, target], stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        process.communicate()

    return kill


def test_a_file_appears_when_it_is_complete(tmp_path):
    """Until the end only the old one is to be seen under the name, and after an exception it stays."""
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with write_beside(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert contents(tmp_path) == {"out": b"new"}
    with pytest.raises(KeyboardInterrupt), write_beside(target) as file:
        file.write(b"newer")
        raise KeyboardInterrupt
    assert contents(tmp_path) == {"out": b"new"}


@pytest.mark.parametrize(
    "name", ["x" * 255, "é" * 127, "12:30 talk", "100%", "-y", b"caf\xe9".decode(errors="surrogateescape")]
)
def test_any_name_the_system_takes(tmp_path, name):
    """Long, odd and undecodable names are written like others, as files and as folders of a series."""
    write(tmp_path / name, b"data")
    assert contents(tmp_path) == {name: b"data"}
    (tmp_path / name).unlink()
    write_series(tmp_path / name, "1.png")
    write_series(tmp_path / name, "2.png")
    assert contents(tmp_path / name) == {"2.png": b"new"}


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b", "ring", "folder", "new/"])
def test_names_nothing_can_be_written_to(tmp_path, monkeypatch, name):
    """A usage error, before anything is done."""
    monkeypatch.chdir(tmp_path)
    os.symlink("ring", "ring")
    os.mkdir("folder")
    with pytest.raises(UsageError):
        check_target(name, overwrite=True)
    with pytest.raises(UsageError):
        OutputFile(name)


def test_mode_bits_are_those_of_the_file_replaced(tmp_path):
    """A new file has those the umask leaves."""
    old, new, plain = (tmp_path / name for name in ("old", "new", "plain"))
    old.write_bytes(b"")
    old.chmod(0o640)
    plain.write_bytes(b"")
    for path in (old, new):
        with write_beside(path) as file:
            file.write(b"data")
            assert path is new or stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert new.stat().st_mode == plain.stat().st_mode


def test_links_are_followed(tmp_path):
    """The link stays, and the file it leads to is replaced or made."""
    (tmp_path / "far").mkdir()
    for name in ("there", "not_yet"):
        (tmp_path / name).symlink_to(tmp_path / "far" / name)
    (tmp_path / "far" / "there").write_bytes(b"old")
    for name in ("there", "not_yet"):
        write(tmp_path / name, b"new")
        assert (tmp_path / name).is_symlink()
    assert contents(tmp_path / "far") == {"there": b"new", "not_yet": b"new"}


def test_pipes_and_devices_are_written_in_place(tmp_path):
    """They are what they were afterwards, and nothing lies beside them."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(pipe, b"data", overwrite=False)
    assert os.read(reader, 100) == b"data"
    os.close(reader)
    write("/dev/null", b"data", overwrite=False)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_two_writers_of_one_name(tmp_path, monkeypatch):
    """Without `overwrite` there is one result and one error, with links and without them."""
    for name in ("linked", "renamed"):
        first, second = (OutputFile(tmp_path / name, overwrite=False) for _ in range(2))
        first.file.write(b"first")
        second.file.write(b"second")
        first.commit()
        with pytest.raises(UsageError, match=f"{name} exists"):
            second.commit()
        assert contents(tmp_path)[name] == b"first"
        monkeypatch.setattr(os, "link", raising(OSError(errno.EPERM, "no links here")))
    assert len(contents(tmp_path)) == 2


def raising(error):
    def fail(*arguments, **options):
        raise error

    return fail


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, killed):
    """And by it alone: not by runs to other targets, and never while its process lives."""
    killed(tmp_path / "out")
    assert len(contents(tmp_path)) == 1
    write(tmp_path / "other", b"")
    assert len(contents(tmp_path)) == 2
    living = OutputFile(tmp_path / "out")
    living.file.write(b"living")
    write(tmp_path / "out", b"next")
    assert contents(tmp_path).keys() - {"out", "other"} == {living._temporary.path.name}
    living.commit()
    assert contents(tmp_path) == {"out": b"living", "other": b""}


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    """Neither when a temporary file is made nor when leftovers are removed."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    names = iter(["planted", "free"])
    monkeypatch.setattr(temporary_module.secrets, "token_hex", lambda count: next(names))
    prefix = temporary_module._prefix(tmp_path / "out")
    (tmp_path / f"{prefix}planted.part").symlink_to(victim)
    write(tmp_path / "out", b"data")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "out").read_bytes() == b"data"


def test_errors_of_the_system_name_the_target(tmp_path):
    """A full disk, a closed pipe, a folder that cannot be written to: errors of the project's tree."""
    with pytest.raises(OutputError, match="/dev/full: cannot be written: No space"):
        write("/dev/full", b"data")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OutputError, match="Broken pipe"), write_beside(pipe) as file:
        os.close(reader)
        file.write(b"data")
    with pytest.raises(ImfError, match="/proc/self/out"):
        write("/proc/self/out", b"data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_full_disk_leaves_nothing(tmp_path):
    """The error names the target; the file that was there stays."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        write(tmp_path / "out", b"old")
        with pytest.raises(OutputError, match="out: cannot be written: No space"):
            write(tmp_path / "out", bytes(1 << 16))
        with pytest.raises(OutputError, match="No space"):
            open_series(tmp_path / "series").write("1.png", bytes(1 << 16))
        assert (tmp_path / "out").read_bytes() == b"old"
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_no_output_is_an_input_or_another_output(tmp_path, monkeypatch):
    """By whatever name: relative, links, hard links, one of a series, not there yet."""
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "source"
    source.write_bytes(b"")
    os.link("source", "hard")
    os.symlink("source", "soft")
    os.symlink("later", "promise")
    (tmp_path / "s%07.png").write_bytes(b"")
    for name in ("source", "./source", "hard", "soft", tmp_path / "source"):
        with pytest.raises(UsageError, match="is an input itself"):
            check_distinct([source], [name])
    for pair in (("new", "./new"), ("later", "promise"), ("s%02d.png", "s07.png"), ("s07.png", "s%02d.png")):
        with pytest.raises(UsageError, match="the same file"):
            check_distinct([], pair)
    with pytest.raises(UsageError), open("hard", "rb") as stream:
        check_distinct([stream], ["soft"])
    check_distinct([source, None, "/dev/null", "s%02d.png"], ["new", None, "/dev/null", "/dev/null", "t07.png"])


@pytest.mark.parametrize("way", ["swapped", "moved", "inside"])
def test_a_series_is_replaced_as_a_whole(tmp_path, monkeypatch, way):
    """Other files stay; a failure, or a series that is not to be replaced, leaves all as it was."""
    folder = tmp_path / "series"
    write_series(folder, "1.png", "2.png", "3.png")
    (folder / "notes.txt").write_bytes(b"keep")
    folder.chmod(0o750)
    if way == "moved":
        monkeypatch.setattr(folder_module, "_exchange", raising(OSError(errno.ENOSYS, "cannot")))
    if way == "inside":
        monkeypatch.chdir(folder)
    before = contents(folder)
    with pytest.raises(UsageError, match="exists already"):
        write_series(folder, "1.png", overwrite=False)
    failed = open_series(folder)
    failed.write("4.png", b"half")
    failed.discard()
    assert contents(folder) == before
    write_series(folder, "2.png", "4.png")
    assert contents(folder) == {"2.png": b"new", "4.png": b"new", "notes.txt": b"keep"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert list(tmp_path.iterdir()) == [folder]
    assert way != "inside" or os.listdir(".") == os.listdir(folder)


def test_a_folder_with_folders_in_it_keeps_them(tmp_path):
    """They cannot be in two places at once, so the pictures are moved one by one."""
    (tmp_path / "series" / "inner").mkdir(parents=True)
    (tmp_path / "series" / "1.png").write_bytes(b"old")
    write_series(tmp_path / "series", "2.png")
    assert sorted(os.listdir(tmp_path / "series")) == ["2.png", "inner"]


def test_two_series_of_one_name(tmp_path):
    """Without `overwrite` there is one result and one error."""
    first, second = (open_series(tmp_path / "series", overwrite=False) for _ in range(2))
    first.write("1.png", b"first")
    second.write("2.png", b"second")
    first.commit()
    with pytest.raises(UsageError, match="exists already"):
        second.commit()
    assert contents(tmp_path / "series") == {"1.png": b"first"}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_a_killed_process_left_is_removed(fresh_process, tmp_path):
    """As files are."""
    script = (
        "import os, re, sys; from imfcodec.files import OutputFolder\n"
        "OutputFolder(sys.argv[1], re.compile(r'\\d+.png'), 'x', overwrite=True).write('1.png', b'half'); os._exit(9)"
    )
    assert fresh_process("-c", script, tmp_path / "series").returncode == 9
    assert len(list(tmp_path.iterdir())) == 1
    write_series(tmp_path / "series", "2.png")
    assert contents(tmp_path / "series") == {"2.png": b"new"}
    assert len(list(tmp_path.iterdir())) == 1
