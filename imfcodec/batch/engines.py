"""Where the workers of a batch are: on this machine, or on a Ray cluster."""

from abc import ABC, abstractmethod

from imfcodec.batch.work import FileResult, Task
from imfcodec.errors import UsageError


class Engine(ABC):
    """Workers that take one task each at a time; a context manager, which ends them.

    Attributes:
        jobs: how many tasks may be under way.
    """

    jobs: int

    @abstractmethod
    def start(self, task: Task) -> None:
        """Give a task to a worker; fewer than `jobs` are under way."""

    @abstractmethod
    def wait(self) -> tuple[Task, FileResult | None]:
        """Wait for any task under way; its result is None where the worker was lost with it."""

    @abstractmethod
    def close(self) -> None:
        """End the workers, at once and whatever they are doing."""

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


def open_engine(name: str, jobs: int) -> Engine:
    """The engine called "local", "ray" or "ray:ADDRESS".

    Args:
        name: "ray" starts a cluster of its own on this machine; ADDRESS is that of a running one, or "auto".
        jobs: tasks under way at a time, at least 1.
    Raises:
        UsageError: no such engine, Ray is not installed, or the cluster cannot be reached.
    """
    kind, _, address = name.partition(":")
    if kind == "ray":
        from imfcodec.batch.cluster import RayEngine

        return RayEngine(jobs, address or None)
    if name != "local":
        raise UsageError(f"--engine {name!r} is unknown; use local, ray or ray:ADDRESS")
    from imfcodec.batch.local import LocalEngine

    return LocalEngine(jobs)
