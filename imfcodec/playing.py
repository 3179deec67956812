"""Streams in a window: decoded into a pipe that a player on this machine reads."""

import os
import select
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imfcodec import api
from imfcodec.errors import OutputError, UsageError

PLAYERS = {
    "ffplay": ("-hide_banner", "-loglevel", "error", "-autoexit"),
    "mpv": ("--really-quiet", "--force-seekable=no"),
}
_END_SECONDS = 5.0
_POLL_SECONDS = 0.1


def find_player(wanted: str | None = None) -> list[str]:
    """The command that plays a file: `wanted`, a key of PLAYERS, or the first of them that is installed.

    Raises:
        UsageError: it is not installed, or none is.
    """
    for name in [wanted] if wanted else PLAYERS:
        path = shutil.which(name)
        if path:
            return [path, *PLAYERS[name]]
    missing = f"{wanted} is not installed" if wanted else f"none of {', '.join(PLAYERS)} is installed"
    raise UsageError(f"{missing}; install {'it' if wanted else 'one'}, or decode to .mp4 and open that")


def play(source: str | Path, *, player: Sequence[str] | None = None, **options: Any) -> None:
    """Decode a stream and show it as it comes, with its sound; returns when the window is closed.

    Args:
        source: an .imf file.
        player: command that plays the file named after it; None finds one.
        options: more of `api.decode`'s arguments.
    Raises:
        UsageError: no player is installed.
        CorruptStreamError, LimitError, ModelError: as `api.decode`.
    """
    command = player or find_player()
    with tempfile.TemporaryDirectory(prefix="imfcodec-") as folder:
        pipe = os.path.join(folder, "play.mkv")
        os.mkfifo(pipe)
        # A reader of our own, until the player ends: opening the pipe never waits, and writing ends with the player.
        ours = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        process = subprocess.Popen([*command, pipe], stdin=subprocess.DEVNULL)
        ended = threading.Event()
        watch = threading.Thread(target=_close_after, args=(process, ours, ended), daemon=True)
        watch.start()
        try:
            api.decode(source, pipe, **options)
            process.wait()
        except OutputError:
            if process.poll() is None:
                raise
        finally:
            ended.set()
            _end(process)
            watch.join(_END_SECONDS)


def _close_after(process: subprocess.Popen[bytes], descriptor: int, ended: threading.Event) -> None:
    """Close our end of the pipe once the player has ended, but not before the other end has been opened.

    That would wait for ever for a reader; something to read tells that it is open.
    """
    process.wait()
    while not ended.is_set() and not select.select([descriptor], [], [], _POLL_SECONDS)[0]:
        pass
    os.close(descriptor)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a player that still runs, as after an error."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
