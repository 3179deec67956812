"""What a batch has done so far, as JSON lines beside its streams: a killed batch goes on from there."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imfcodec import __version__
from imfcodec.batch.jobs import Job
from imfcodec.batch.work import SYSTEM_FAILURE, FileResult, Settings
from imfcodec.errors import InputError, UsageError
from imfcodec.files import AppendedLines

JOURNAL_NAME = "batch.ndjson"


class Journal:
    """The journal of the batch in a folder; a context manager.

    One line a fact: `batch` (the settings) first, `begin` before a worker gets a file, `end` with its result after.

    Args:
        out: folder of the batch; must exist.
        settings: they must be those the batch was begun with.
        resume: go on with the batch that is there.
        overwrite: begin anew where one is there.
    Raises:
        UsageError: a batch is there and neither is asked for, or it has other settings, or is running.
        InputError: the file is no journal.
    """

    def __init__(self, out: Path, settings: Settings, *, resume: bool = False, overwrite: bool = False) -> None:
        self._path = out / JOURNAL_NAME
        self._begun: set[str] = set()
        self._ended: dict[str, dict[str, Any]] = {}
        if self._path.exists() and not (resume or overwrite):
            raise UsageError(f"{out} holds a batch already; go on with --resume, or begin anew with -y")
        self._lines = AppendedLines(self._path, anew=not resume)
        try:
            self._open(_plain(settings))
        except BaseException:
            self._lines.close()
            raise

    def _open(self, settings: Mapping[str, Any]) -> None:
        if not self._lines.lines:
            self._append({"event": "batch", "imfcodec": __version__, **settings})
            return
        first, *facts = map(self._parse, self._lines.lines)
        for name, value in settings.items():
            if first.get(name) != value:
                raise UsageError(
                    f"{self._path}: the batch was begun with {name} {first.get(name)}, not {value}; give the same, "
                    "another --out, or begin anew with -y"
                )
        for fact in facts:
            self._note(fact)

    def _parse(self, line: str) -> dict[str, Any]:
        try:
            fact = json.loads(line)
        except ValueError:
            fact = None
        if not isinstance(fact, dict) or not {"event"} <= fact.keys():
            raise InputError(f"{self._path}: is no journal of a batch; move it away")
        return fact

    def _note(self, fact: Mapping[str, Any]) -> None:
        if fact["event"] == "begin":
            self._begun.add(str(fact.get("target")))
        elif fact["event"] == "end":
            self._ended[str(fact.get("target"))] = dict(fact)

    def begin(self, job: Job) -> bool:
        """Note that a worker gets this file; returns whether one had it before, and may have left its target."""
        had_it = job.target in self._begun
        self._begun.add(job.target)
        self._append({"event": "begin", **asdict(job)})
        return had_it

    def end(self, result: FileResult) -> None:
        """Note how a file went."""
        self._append({"event": "end", **asdict(result), "source_state": _state(result.source)})

    def ended(self, job: Job) -> FileResult | None:
        """The result that stands from before, None where the file is to be coded.

        It stands as long as the source is the same and its stream is there, or as its fault lies in the source.
        """
        fact = self._ended.get(job.target)
        if fact is None or fact.get("source") != job.source or fact.get("source_state") != _state(job.source):
            return None
        names = FileResult.__dataclass_fields__.keys() & fact.keys()
        result = FileResult(**{name: fact[name] for name in names})
        if result.is_done:
            return result if _state(job.target)[:1] == [result.byte_count] else None
        return None if result.exit_code == SYSTEM_FAILURE else result

    def _append(self, fact: Mapping[str, Any]) -> None:
        self._lines.append(json.dumps(fact))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *unused: object) -> None:
        self._lines.close()


def _plain(settings: Settings) -> dict[str, Any]:
    """The settings that bytes depend on."""
    choices = {"model_id": settings.model_id, "device": settings.device, "dtype": settings.dtype}
    plain: dict[str, Any] = json.loads(json.dumps({**choices, **asdict(settings.options)}, default=str))
    del plain["verify"]
    return plain


def _state(path: str) -> list[int]:
    """Size and time of the last change of a file; empty where it is not there."""
    try:
        known = os.stat(path)
    except OSError:
        return []
    return [known.st_size, known.st_mtime_ns]
