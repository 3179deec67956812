"""What the command sets for its whole process, and the functions behind it never touch."""

import io
import os
import resource
import signal
import sys
from types import FrameType

from imfcodec.cli.exits import EXIT_FAILURE, EXIT_SIGNAL
from imfcodec.interruption import end_with

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WAIT_SETTINGS = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}


def prepare_process() -> None:
    """Set up standard streams, signals and the way threads wait; comes before torch is loaded."""
    _fill_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    for number in _ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _end)
    # Threads that spin while they wait take the core from each other, and from everybody else, on a busy machine.
    if not _WAIT_SETTINGS & os.environ.keys():
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def limit_memory(size: int) -> None:
    """Have the system refuse this process more than `size` bytes of data."""
    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = size if highest == resource.RLIM_INFINITY else min(size, highest)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, highest))


def drop_unwritten() -> int:
    """Flush standard output at the end; exit code 1, and the rest dropped, where nobody takes it, else 0."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE


def _fill_closed_streams() -> None:
    """Keep the numbers of closed standard streams from going to files, which messages of libraries would end up in."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _end(number: int, frame: FrameType | None) -> None:
    """Leave as an interrupted run does: no half-written file stays behind. A second signal does not disturb that."""
    if number != signal.SIGINT:
        for other in _ENDING_SIGNALS:
            signal.signal(other, signal.SIG_IGN)
    end_with(KeyboardInterrupt() if number == signal.SIGINT else SystemExit(EXIT_SIGNAL + number), frame)
