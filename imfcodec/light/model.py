"""Exported models on disk: a folder of ONNX graphs, integer tables and a description."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imfcodec.config import ModelConfig
from imfcodec.entropy.coder import CodingTables
from imfcodec.entropy.tables import Tables
from imfcodec.errors import ModelError
from imfcodec.light.graphs import GRAPHS
from imfcodec.models.roles import Role, Table

EXPORT_FORMAT = 1
DESCRIPTION, TABLES = "model.json", "tables.safetensors"
STEPS = {Role.KEY: "steps.key", Role.GOLDEN: "steps.golden"}
G_STEPS, U_STEPS = "steps.g", "steps.u"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Description:
    """`model.json` of an exported model.

    Attributes:
        model_id: of the model file it was made from.
        config: of that model.
        hashes: SHA-256 of every other file, hexadecimal, by name.
    """

    model_id: bytes
    config: ModelConfig
    hashes: Mapping[str, str]

    def to_json(self) -> str:
        """Text of the file."""
        values = {"format": EXPORT_FORMAT, "model_id": self.model_id.hex(), "config": self.config.to_dict()}
        return json.dumps({**values, "files": dict(sorted(self.hashes.items()))}, indent=1)


class LightModel:
    """An exported model, ready to decode with.

    Args:
        folder: made by `imfcodec export`.
        threads: of the networks; None leaves onnxruntime's choice.

    Attributes:
        model_id, config: of the model that was exported.
        tables: integer probability tables.
        steps: quantisation steps float32 [256, channels], by name.

    Raises:
        ModelError: the folder holds no exported model, or it is damaged.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self._folder, self._threads = folder, threads
        self._description = read_description(folder)
        self.model_id, self.config = self._description.model_id, self._description.config
        arrays = _read_arrays(self._read(TABLES), folder / TABLES)
        self.steps = {name: value for name, value in arrays.items() if name.startswith("steps.")}
        self.tables = {table: CodingTables(_tables(arrays, table)) for table in Table}
        self._sessions: dict[str, Any] = {}

    def run(self, name: str, *inputs: Array) -> list[Array]:
        """Outputs of graph `name` for its inputs, as `light.graphs` names them.

        One frame of the batch after the other: memory does not grow with it, and caches hold what is at work.
        """
        batch = len(inputs[0])
        parts = [[x[i : i + 1] if x.ndim else x for x in inputs] for i in range(batch)]
        results = [self._session(name).run(None, dict(zip(GRAPHS[name].inputs, part, strict=True))) for part in parts]
        return results[0] if batch == 1 else [np.concatenate(values) for values in zip(*results, strict=True)]

    def _session(self, name: str) -> Any:
        """Graphs are loaded when they are first needed: few streams need them all."""
        if name not in self._sessions:
            self._sessions[name] = _open_session(self._read(graph_file(name)), self._folder, self._threads)
        return self._sessions[name]

    def _read(self, name: str) -> bytes:
        return read_exported(self._folder, self._description, name)


def read_exported(folder: Path, description: Description, name: str) -> bytes:
    """One file of an exported model.

    Raises:
        ModelError: it is not there, or not what was exported.
    """
    path = folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; export the model again") from None
    if hashlib.sha256(data).hexdigest() != description.hashes.get(name):
        raise ModelError(f"{path} is not the file that was exported; export the model again")
    return data


def graph_file(name: str) -> str:
    """File name of a graph."""
    return f"{name}.onnx"


def read_description(folder: Path) -> Description:
    """What an exported model says of itself.

    Raises:
        ModelError: there is none, or another version made it.
    """
    path = folder / DESCRIPTION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != EXPORT_FORMAT:
            raise ModelError(f"{path}: its format {values['format']!r} is unknown; export the model again")
        hashes = {str(name): str(digest) for name, digest in values["files"].items()}
        return Description(bytes.fromhex(values["model_id"]), ModelConfig.from_dict(values["config"]), hashes)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; give a folder made by `imfcodec export`") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{path}: describes no exported model; give a folder made by `imfcodec export`") from None


def _open_session(graph: bytes, folder: Path, threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # frees what a graph needed while it ran
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads of eight graphs would fight
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base
        raise ModelError(f"{folder}: onnxruntime does not take its graphs: {' '.join(str(error).split())}") from None


def _read_arrays(data: bytes, path: Path) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except SafetensorError as error:
        raise ModelError(f"{path}: {error}; export the model again") from None


def _tables(arrays: Mapping[str, Array], table: Table) -> Tables:
    return Tables(*(arrays[f"tables.{table.value}.{part}"].astype(np.int32) for part in ("cdf", "lengths", "offsets")))
