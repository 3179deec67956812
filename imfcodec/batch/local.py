"""Workers on this machine: processes with one thread each."""

from collections.abc import Callable, Iterator
from functools import partial

from imfcodec.batch.engines import Engine
from imfcodec.batch.work import FileResult, Task, code_file
from imfcodec.workers import Worker, WorkerLostError, first_ready

Work = Callable[[Task], FileResult]


class LocalEngine(Engine):
    """See `Engine`. `work` is what a worker does with a task."""

    def __init__(self, jobs: int, work: Work = code_file) -> None:
        self.jobs = jobs
        self._work = partial(_results, work)
        self._idle: list[Worker] = []
        self._busy: dict[Worker, Task] = {}

    def start(self, task: Task) -> None:
        worker = self._idle.pop() if self._idle else Worker(self._work)
        self._busy[worker] = task
        worker.give(task)

    def wait(self) -> tuple[Task, FileResult | None]:
        worker = first_ready(self._busy)
        task = self._busy.pop(worker)
        try:
            result: FileResult = worker.take()
        except WorkerLostError:
            worker.kill()
            return task, None
        self._idle.append(worker)
        return task, result

    def close(self) -> None:
        workers = [*self._idle, *self._busy]
        self._idle, self._busy = [], {}
        for worker in workers:
            worker.kill()


def _results(work: Work, task: Task) -> Iterator[FileResult]:
    """The one message that comes of a task."""
    yield work(task)
