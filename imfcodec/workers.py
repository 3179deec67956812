"""Processes that work beside this one, each with a pipe to it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

_SPAWN = multiprocessing.get_context("spawn")  # a forked torch may hang
_END_SECONDS = 10.0

Work = Callable[[Any], Iterable[Any]]
"""What a worker does with a task: messages, sent as they are made. Like tasks and messages it can be pickled."""


class WorkerLostError(Exception):
    """A worker is gone: somebody or something killed its process."""


class Worker:
    """One process; it ends with this one, whatever that ends by.

    Args:
        work: what it does with each task.
    Attributes:
        pid: number of the process.
    """

    def __init__(self, work: Work) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, work), daemon=True)
        _start(self._process)
        theirs.close()  # so that ours ends with the process
        self.pid = self._process.pid

    def give(self, task: Any) -> None:
        """Hand over a task; it ends the one under way, of which messages may still come."""
        try:
            self._pipe.send(task)
        except OSError:  # it is gone, as `take` will find
            return

    def take(self) -> Any:
        """The next message.

        Raises:
            WorkerLostError: the process is gone.
        """
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerLostError from None

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        self._process.kill()
        self._process.join(_END_SECONDS)
        self._pipe.close()


def first_ready(workers: Iterable[Worker]) -> Worker:
    """Wait until there is a message of one of these workers, or one is lost, and return that one."""
    by_pipe = {worker._pipe: worker for worker in workers}
    ready = wait(list(by_pipe))
    return next(worker for pipe, worker in by_pipe.items() if pipe in ready)


def _start(process: Any) -> None:
    """Start a process that an interruption from the terminal does not reach even before it ignores them."""
    resource_tracker.ensure_running()  # would let interruptions through again once it has started
    with _interruptions_wait():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interruptions_wait() -> Iterator[None]:
    """Let an interruption come after what is done, also one that another thread took: a process that was not told all
    it needs by then would complain."""
    if threading.current_thread() is not threading.main_thread():  # they come to the main thread alone
        yield
        return
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _serve(pipe: Connection, work: Work) -> None:
    """Work off tasks until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key pressed at the terminal: the parent ends its workers itself
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        for message in work(task):
            pipe.send(message)
            if pipe.poll():  # another task, or the end
                break


def _end_with_parent() -> None:
    """Do not go on for hours after a parent that was killed."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
    os._exit(1)
