"""Workers on this machine: processes with one thread each."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait

from imfcodec.batch.engines import Engine
from imfcodec.batch.work import FileResult, Task, code_file

_SPAWN = multiprocessing.get_context("spawn")  # a forked torch may hang
_END_SECONDS = 10.0

Work = Callable[[Task], FileResult]


class LocalEngine(Engine):
    """See `Engine`. `work` is what a worker does with a task."""

    def __init__(self, jobs: int, work: Work = code_file) -> None:
        self.jobs = jobs
        self._work = work
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def start(self, task: Task) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._work)
        self._busy.append(worker)
        worker.start(task)

    def wait(self) -> tuple[Task, FileResult | None]:
        wait([worker.pipe for worker in self._busy])  # ready, too, when its worker is gone
        worker = next(worker for worker in self._busy if worker.pipe.poll())
        self._busy.remove(worker)
        task, result = worker.finish()
        if result is None:
            worker.kill()
        else:
            self._idle.append(worker)
        return task, result

    def close(self) -> None:
        workers = self._idle + self._busy
        self._idle, self._busy = [], []
        for worker in workers:
            worker.kill()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, work: Work) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self._task: Task | None = None
        self._process = _SPAWN.Process(target=_serve, args=(theirs, work), daemon=True)
        self._process.start()
        theirs.close()  # so that ours ends with the process

    def start(self, task: Task) -> None:
        self._task = task
        try:
            self.pipe.send(task)
        except OSError:  # it is gone, as `finish` will find
            return

    def finish(self) -> tuple[Task, FileResult | None]:
        assert self._task is not None
        try:
            return self._task, self.pipe.recv()
        except (EOFError, OSError):
            return self._task, None

    def kill(self) -> None:
        self._process.kill()
        self._process.join(_END_SECONDS)
        self.pipe.close()


def _serve(pipe: Connection, work: Work) -> None:
    """Work off tasks until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key pressed at the terminal: the batch ends its workers itself
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(work(task))


def _end_with_parent() -> None:
    """Do not go on for hours after a batch that was killed; half a file is known for what it is by the next run."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
    os._exit(1)
