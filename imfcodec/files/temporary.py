"""Temporary files and folders beside a target: private while their process lives, recognised and removed after it."""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path

_ATTEMPTS = 10
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Temporary:
    """A new file or folder in the folder of `target`, locked until it is closed or its process ends.

    Attributes:
        path: its name, 48 bytes long.
        descriptor: of the open file or folder.
    Raises (while constructing):
        OSError: it cannot be made.
    """

    def __init__(self, target: Path, *, folder: bool = False) -> None:
        remove_leftovers(target)
        for _ in range(_ATTEMPTS):
            self.path = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.part")
            # What replaces something is nobody else's to read until it has the same mode bits, at the end.
            mode = 0o700 if os.path.exists(target) else 0o777
            try:
                self.descriptor = _make_folder(self.path, mode) if folder else os.open(self.path, _CREATE, mode & 0o666)
            except FileExistsError:
                continue
            if _is_ours(self.descriptor):
                return
            os.close(self.descriptor)
        raise FileExistsError(errno.EEXIST, "no temporary name is free")

    def take_mode(self, target: Path) -> None:
        """Take over the mode bits of what is to be replaced, where there is something and the file system has them."""
        with suppress(OSError):
            os.fchmod(self.descriptor, stat.S_IMODE(target.stat().st_mode))

    def sync(self) -> None:
        """Have the system write it to the disk; OSError where that fails."""
        sync(self.descriptor)

    def remove(self) -> None:
        """Remove what is there under the temporary name."""
        with suppress(OSError):
            _remove(self.path)


def sync(descriptor: int) -> None:
    """Have the system write an open file to the disk; OSError where that fails."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that know no such thing
            raise


def remove_leftovers(target: Path) -> None:
    """Remove what processes that are gone left beside `target`; what a living one writes is locked and stays."""
    with suppress(OSError), os.scandir(target.parent) as entries:
        for name in [entry.name for entry in entries if entry.name.startswith(_prefix(target))]:
            _remove_unlocked(target.with_name(name))


def _prefix(target: Path) -> str:
    return f".imfcodec-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}-"


def _make_folder(path: Path, mode: int) -> int:
    os.mkdir(path, mode)
    return os.open(path, _LOOK | os.O_DIRECTORY)


def _is_ours(descriptor: int) -> bool:
    """Lock a new file. False where another run took it for a leftover in the instant before, and removes it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: there nothing is ever taken for a leftover
        return True
    return os.fstat(descriptor).st_nlink > 0


def _remove_unlocked(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, _LOOK)  # fails for a link somebody planted: that is left alone
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()
