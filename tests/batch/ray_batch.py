"""Code the videos of a folder with local workers and with two of Ray's, one of which is killed: python THIS DIR OUT."""

import os
import signal
import sys
from pathlib import Path

from imfcodec import api
from imfcodec.batch import Settings, list_jobs, name_model, open_engine, run_batch


def main(source: Path, out: Path) -> None:
    """Write OUT/local and OUT/ray."""
    settings = Settings(*name_model(None), api.EncodeOptions(quality=20), "cpu")
    with open_engine("local", 2) as engine:
        run_batch(list_jobs(source, out / "local"), out / "local", settings, engine)
    with open_engine("ray", 2) as engine:
        start, killed = engine.start, []

        def start_and_kill(task):
            """Have the first task end with its worker, as if memory had run out."""
            if killed:
                start(task)
                return
            killed.append(task)
            kill = engine._ray.remote(num_cpus=1, max_retries=0)(lambda: os.kill(os.getpid(), signal.SIGKILL))
            engine._tasks[kill.remote()] = task
            print("killed a worker")

        engine.start = start_and_kill
        run_batch(list_jobs(source, out / "ray"), out / "ray", settings, engine)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
