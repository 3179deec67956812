"""What a worker does: code one file and say how it went. It gets names and a model id, never pixels."""

import functools
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from imfcodec import api
from imfcodec.errors import ImfError, LimitError, ModelError
from imfcodec.limits import DEFAULT_LIMITS, Limits
from imfcodec.modelfile import read_model_file
from imfcodec.zoo import MODEL_ID_BYTES

SYSTEM_FAILURE = 1
CUT_OFF = 6


@dataclass(frozen=True)
class Settings:
    """How all files of a batch are coded.

    Attributes:
        model: name or absolute path of the model, as `name_model` gives it.
        model_id: its id, hexadecimal: a worker that has other weights under this name refuses.
        options: what to make of a source.
        device, dtype: see `api.Model`.
        limits: what a source may ask for at most.
    """

    model: str
    model_id: str
    options: api.EncodeOptions = field(default_factory=api.EncodeOptions)
    device: str = "auto"
    dtype: str = "auto"
    limits: Limits = DEFAULT_LIMITS


@dataclass(frozen=True)
class Task:
    """One file for a worker; `overwrite` lets it replace the target."""

    source: str
    target: str
    settings: Settings
    overwrite: bool


@dataclass(frozen=True)
class FileResult:
    """How one file went.

    Attributes:
        exit_code: 0 done; 6 done, but the source is cut off; otherwise that of the error.
        error: one line; empty if there was none.
        frames, byte_count, duration_seconds, elapsed_seconds: see `api.EncodeStats`.
        notes: what was said about the source.
    """

    source: str
    target: str
    exit_code: int
    error: str = ""
    frames: int = 0
    byte_count: int = 0
    duration_seconds: float = 0.0
    elapsed_seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether the stream is there."""
        return self.exit_code in (0, CUT_OFF)


def name_model(model: str | None) -> tuple[str, str]:
    """Name or absolute path, and id in hexadecimal, of a model given as to `api.encode`.

    Raises:
        ModelError: there is no such model.
    """
    if model and model.endswith(".safetensors"):
        path = Path(os.path.abspath(model))
        return str(path), read_model_file(path, id_bytes=MODEL_ID_BYTES).model_id.hex()
    for known in api.list_models():
        if known["name"] == model or (model is None and known["default"]):
            return known["name"], known["model_id"]
    raise ModelError(f"no model {model or 'by default'}; `imfcodec models` lists those that are installed")


def code_file(task: Task) -> FileResult:
    """Code one file with one thread; whatever goes wrong is in the result."""
    notes: list[str] = []
    try:
        stats = _code(task, notes)
    except ImfError as error:
        return _failed(task, error.exit_code, str(error), notes)
    except MemoryError:
        return _failed(task, LimitError.exit_code, "the system gives no more memory; take fewer jobs", notes)
    except Exception as error:
        return _failed(task, SYSTEM_FAILURE, f"{type(error).__name__}: {error}", notes)
    return FileResult(
        task.source,
        task.target,
        CUT_OFF if stats.cut_off else 0,
        frames=stats.frames,
        byte_count=stats.byte_count,
        duration_seconds=stats.duration_seconds,
        elapsed_seconds=stats.elapsed_seconds,
        notes=tuple(notes),
    )


def _code(task: Task, notes: list[str]) -> api.EncodeStats:
    settings = task.settings
    model = _held_model(settings.model, settings.device, settings.dtype)
    model_id = model.model_id.hex()
    if model_id != settings.model_id:
        raise ModelError(f"{settings.model} is {model_id} on {socket.gethostname()}, not {settings.model_id}")
    encoder = api.Encoder(settings.options, model=model, limits=settings.limits, say=notes.append)
    return encoder.encode(task.source, task.target, overwrite=task.overwrite)


@functools.lru_cache(maxsize=1)
def _held_model(name: str, device: str, dtype: str) -> api.Model:
    """The model, loaded once for all files of a worker."""
    return api.Model(name, device=device, dtype=dtype, threads=1)


def _failed(task: Task, exit_code: int, error: str, notes: list[str]) -> FileResult:
    return FileResult(task.source, task.target, exit_code, " ".join(error.split()), notes=tuple(notes))
