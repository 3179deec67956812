"""The batch: hands out what is to be done, tries again what was lost, and adds up."""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imfcodec.batch.engines import Engine
from imfcodec.batch.jobs import Job
from imfcodec.batch.journal import Journal
from imfcodec.batch.work import SYSTEM_FAILURE, FileResult, Settings, Task
from imfcodec.files import make_folder

ATTEMPTS = 3


@dataclass(frozen=True)
class BatchTotals:
    """What a batch did.

    Attributes:
        files: all of them.
        done: streams that are there, `earlier` of them from a run before.
        failed: files without a stream.
        frames, byte_count, duration_seconds: of the streams that are there.
        elapsed_seconds: wall time of this run.
        exit_code: 0, or the lowest of those of the files that have one.
    """

    files: int
    done: int
    earlier: int
    failed: int
    frames: int
    byte_count: int
    duration_seconds: float
    elapsed_seconds: float
    exit_code: int

    @property
    def kbps(self) -> float:
        """Kilobits per second of playing time."""
        return self.byte_count * 8 / 1000 / self.duration_seconds if self.duration_seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values for JSON."""
        return {**asdict(self), "kbps": self.kbps}


def run_batch(
    jobs: Sequence[Job],
    out: Path,
    settings: Settings,
    engine: Engine,
    *,
    resume: bool = False,
    overwrite: bool = False,
    notify: Callable[[FileResult], None] = lambda result: None,
) -> BatchTotals:
    """Code all files; one that fails keeps no other from being coded.

    What the system is to blame for (a killed worker, a full disk) is tried `ATTEMPTS` times, bad input once.

    Args:
        jobs: what to code, see `list_jobs`.
        out: folder of the journal, made if need be.
        settings: the same for all files.
        engine: where; the caller closes it.
        resume: go on with the batch that `out` holds, and leave what it has done.
        overwrite: replace a batch, and streams, that are there.
        notify: called with the result of every file as it comes; first with those that failed in a run before.
    Raises:
        UsageError: `out` holds a batch that is not to be gone on with or replaced, or one with other settings.
        InputError: its journal cannot be read.
        OutputError: the journal cannot be written.
    """
    start = time.monotonic()
    make_folder(out)
    with Journal(out, settings, resume=resume, overwrite=overwrite) as journal:
        known = [(job, journal.ended(job)) for job in jobs]
        waiting = deque(job for job, result in known if result is None)
        earlier = [result for _, result in known if result]
        for result in earlier:
            if not result.is_done:
                notify(result)
        fresh = _Batch(engine, journal, settings, overwrite, notify).run(waiting)
    return _add_up(earlier, fresh, time.monotonic() - start)


class _Batch:
    """One run over what is left to do."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        settings: Settings,
        overwrite: bool,
        notify: Callable[[FileResult], None],
    ) -> None:
        self._engine, self._journal, self._settings = engine, journal, settings
        self._overwrite, self._notify = overwrite, notify
        self._attempts: dict[str, int] = {}

    def run(self, waiting: deque[Job]) -> list[FileResult]:
        results: list[FileResult] = []
        under_way = 0
        while waiting or under_way:
            while waiting and under_way < self._engine.jobs:
                self._start(waiting.popleft())
                under_way += 1
            task, result = self._engine.wait()
            under_way -= 1
            result = result or _lost(task)
            if result.exit_code == SYSTEM_FAILURE and self._attempts[task.target] < ATTEMPTS:
                waiting.append(Job(task.source, task.target))
                continue
            self._journal.end(result)
            self._notify(result)
            results.append(result)
        return results

    def _start(self, job: Job) -> None:
        self._attempts[job.target] = self._attempts.get(job.target, 0) + 1
        had_it = self._journal.begin(job)
        make_folder(Path(os.path.dirname(job.target)))
        self._engine.start(Task(job.source, job.target, self._settings, self._overwrite or had_it))


def _lost(task: Task) -> FileResult:
    error = f"its worker was killed {ATTEMPTS} times; it may need more memory, or fewer jobs beside it"
    return FileResult(task.source, task.target, SYSTEM_FAILURE, error)


def _add_up(earlier: Sequence[FileResult], fresh: Sequence[FileResult], elapsed_seconds: float) -> BatchTotals:
    results = [*earlier, *fresh]
    done = [result for result in results if result.is_done]
    return BatchTotals(
        files=len(results),
        done=len(done),
        earlier=sum(result.is_done for result in earlier),
        failed=len(results) - len(done),
        frames=sum(result.frames for result in done),
        byte_count=sum(result.byte_count for result in done),
        duration_seconds=sum(result.duration_seconds for result in done),
        elapsed_seconds=elapsed_seconds,
        exit_code=min((result.exit_code for result in results if result.exit_code), default=0),
    )
