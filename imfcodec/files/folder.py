"""A numbered series of files in a folder, replaced as a whole."""

import ctypes
import errno
import os
import re
import stat
from pathlib import Path

from imfcodec.errors import UsageError
from imfcodec.files.targets import check_name, final_path, named_errors
from imfcodec.files.temporary import Temporary, remove_leftovers, sync

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE


class OutputFolder:
    """A series of files on its way into a folder: `write` them, then `commit` or `discard`.

    The series gets a folder of its own beside the target. At the end both folders change names in one step, where the
    system can do so (Linux), the folder is nobody's place to be and holds no other folders; files of others in it stay.
    Elsewhere the files are moved one by one.

    Args:
        folder: where the series goes; made when missing.
        own: what the names of the series look like; files of that kind are replaced, old ones removed.
        name: of the series, for messages.
        overwrite: replace a series that is there.
    Raises:
        UsageError: a series is there and `overwrite` is False, or the folder is a file or lies nowhere.
        OutputError: the system refuses to write there.
    """

    def __init__(self, folder: str | Path, own: re.Pattern[str], name: str, *, overwrite: bool) -> None:
        self._folder, self._own, self._name, self._overwrite = final_path(folder), own, name, overwrite
        check_name(folder)
        self._check_folder(Path(folder))
        self._check_free()
        # Beside the folder, or in it where it cannot change names: where its parent is not ours, or another disk.
        inside = self._folder / self._folder.name
        self._swaps = not os.path.exists(self._folder) or _can_change_names(self._folder)
        remove_leftovers(inside)
        remove_leftovers(self._folder)
        with named_errors(name):
            self._temporary = Temporary(self._folder if self._swaps else inside, folder=True)
        self._done = False

    def write(self, name: str, data: bytes) -> None:
        """Write one file of the series; OutputError where the system cannot."""
        with named_errors(self._name), open(self._temporary.path / name, "xb") as file:
            file.write(data)
            file.flush()
            sync(file.fileno())

    def commit(self) -> None:
        """Put the series in its place; errors as for a new one."""
        try:
            with named_errors(self._name):
                self._publish()
        finally:
            self.discard()

    def discard(self) -> None:
        """Give up and remove what was written, unless it was committed."""
        if not self._done:
            self._done = True
            self._temporary.remove()
            os.close(self._temporary.descriptor)

    def _check_folder(self, given: Path) -> None:
        if os.path.exists(self._folder) and not os.path.isdir(self._folder):
            raise UsageError(f"{given}: is a file; name a folder")
        if not os.path.isdir(self._folder.parent):
            around = self._folder.parent if given.is_symlink() else given.parent
            raise UsageError(f"{given}: the folder {around} does not exist; make it first")

    def _check_free(self) -> None:
        if not self._overwrite and any(self._own.fullmatch(name) for name in _names(self._folder)):
            raise UsageError(f"{self._name} exists already; name another folder or give -y to overwrite it")

    def _publish(self) -> None:
        if not self._folder.exists():
            try:
                return os.rename(self._temporary.path, self._folder)
            except OSError:  # somebody else was quicker
                if not self._folder.is_dir():
                    raise
        self._check_free()
        if not (self._swaps and self._swap()):
            self._move()

    def _swap(self) -> bool:
        """Let the folders change names; False, and nothing changed, where that cannot be."""
        new = self._temporary.path
        try:
            for name in self._others(self._folder):
                os.link(self._folder / name, new / name, follow_symlinks=False)
            os.chmod(new, stat.S_IMODE(self._folder.stat().st_mode))
            _exchange(new, self._folder)
        except OSError:
            return False
        for name in self._others(new):  # what came into the old folder in the meantime
            if not os.path.lexists(self._folder / name):
                os.rename(new / name, self._folder / name)
        return True

    def _move(self) -> None:
        names = [name for name in _names(self._temporary.path) if self._own.fullmatch(name)]
        for name in names:
            os.replace(self._temporary.path / name, self._folder / name)
        for name in set(_names(self._folder)) - set(names):
            if self._own.fullmatch(name):
                os.unlink(self._folder / name)

    def _others(self, folder: Path) -> list[str]:
        return [name for name in _names(folder) if not self._own.fullmatch(name)]


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _can_change_names(folder: Path) -> bool:
    """Whether a folder may become another one: not where this process, or another disk, has its place in it."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # removed under our feet
        return False
    if here == folder or folder in here.parents:
        return False
    return os.access(folder.parent, os.W_OK) and folder.stat().st_dev == folder.parent.stat().st_dev


def _exchange(one: Path, other: Path) -> None:
    """Let two files or folders change names in one step; OSError where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
