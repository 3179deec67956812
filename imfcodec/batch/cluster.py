"""Workers on a Ray cluster, which sees the files under the same names as this machine."""

from typing import Any

from imfcodec.batch.engines import Engine
from imfcodec.batch.work import FileResult, Task, code_file
from imfcodec.errors import UsageError


class RayEngine(Engine):
    """See `Engine`.

    Args:
        jobs: tasks under way; each takes one CPU of the cluster.
        address: of a running cluster, or "auto"; None starts one here, which ends with the batch.
    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, jobs: int, address: str | None) -> None:
        try:
            import ray
        except ImportError:
            raise UsageError("--engine ray needs more packages; run pip install 'imfcodec[ray]'") from None
        self.jobs = jobs
        self._ray = ray
        place = {"address": address} if address else {"num_cpus": jobs, "include_dashboard": False}
        options: dict[str, Any] = {**place, "log_to_driver": False, "logging_level": "ERROR"}
        try:
            ray.init(**options)
        except Exception as error:  # of many kinds, most of them not Ray's own
            raise UsageError(f"--engine ray: no cluster at {address or 'this machine'}: {error}") from error
        self._code: Any = ray.remote(num_cpus=1, max_retries=0)(code_file)
        self._tasks: dict[Any, Task] = {}

    def start(self, task: Task) -> None:
        self._tasks[self._code.remote(task)] = task

    def wait(self) -> tuple[Task, FileResult | None]:
        (ready, *_), _ = self._ray.wait(list(self._tasks), num_returns=1)
        task = self._tasks.pop(ready)
        try:
            return task, self._ray.get(ready)
        except self._ray.exceptions.RayError:  # `code_file` raises nothing: worker, node or cluster is gone
            return task, None

    def close(self) -> None:
        for ready in self._tasks:
            self._ray.cancel(ready, force=True)
        self._tasks.clear()
        self._ray.shutdown()
