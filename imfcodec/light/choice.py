"""Which engine decodes a stream: torch, or onnxruntime with an exported model."""

import importlib.util
from pathlib import Path

from imfcodec.errors import UsageError
from imfcodec.light.model import DESCRIPTION, read_description
from imfcodec.zoo import available_models

ENGINES = ("auto", "onnx", "torch")
INSTALLED = Path(__file__).parent.parent / "weights"
"""Folder of the models that come with the package; exported ones are folders NAME.light in it."""


def find_exported(engine: str, model: str | None, model_id: bytes, device: str, dtype: str) -> Path | None:
    """The exported model to decode a stream with; None stands for torch.

    Args:
        engine: "onnx", "torch", or "auto" for onnxruntime where there is an exported model and nothing asks for torch.
        model: as the caller names it, None for the one the stream names.
        model_id: that the stream names.
        device, dtype: as the caller asks for them; onnxruntime computes in float32 on the CPU.
    Raises:
        UsageError: no such engine, or it cannot do what is asked of it.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r} is unknown; use auto, onnx or torch")
    given = model is not None and Path(model).is_dir()
    folder = Path(model or "") if given else find_installed(model_id) if model is None else None
    if engine == "torch" and given:
        raise UsageError(f"{model}: is an exported model, which engine torch does not read; use onnx")
    suits = device in ("auto", "cpu") and dtype in ("auto", "float32")
    if engine == "onnx" or (engine == "auto" and given):
        if folder is None:
            raise UsageError(f"engine onnx needs an exported model: {_way_to_export(model, model_id)}")
        if not suits:
            raise UsageError("engine onnx computes in float32 on the CPU; leave out --device and --dtype")
        if not _has("onnxruntime"):
            raise UsageError("engine onnx needs onnxruntime; install it with: pip install 'imfcodec[light]'")
        return folder
    if engine == "auto" and folder is not None and suits and _has("onnxruntime"):
        return folder
    if not _has("torch"):
        if engine == "torch":
            raise UsageError("engine torch needs torch; install it with: pip install torch einops")
        raise UsageError(f"without torch this needs an exported model: {_way_to_export(model, model_id)}")
    return None


def _way_to_export(model: str | None, model_id: bytes) -> str:
    """What to do for an exported model, by the name of the wanted one where that is known."""
    known = (info.name for info in available_models() if info.model_id == model_id)
    name = model or next(known, "MODEL")
    folder = f"{Path(name).stem}.light"
    return f"once, where torch is installed: imfcodec export {name} {folder}; then here: --model {folder}"


def find_installed(model_id: bytes) -> Path | None:
    """The exported model that comes with the package, if there is one."""
    folders = sorted(path.parent for path in INSTALLED.glob(f"*.light/{DESCRIPTION}"))
    return next((folder for folder in folders if read_description(folder).model_id == model_id), None)


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
