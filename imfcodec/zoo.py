"""Models on disk: safetensors with the configuration in the header, known by the hash of the file."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imfcodec.config import ModelConfig
from imfcodec.errors import ModelError

if TYPE_CHECKING:
    import torch

    from imfcodec.latents.symbols import PriorTables
    from imfcodec.models.network import ImfNetwork

MODEL_ID_BYTES = 8
DEFAULT_MODEL = "talk"
_FOLDER = Path(__file__).parent / "weights"
TRAINING_PREFIX = "training."
"""Of tensors that training goes on from and coding does not need."""
_NOT_NETWORK = ("tables.", TRAINING_PREFIX)  # prefixes of tensors beside the network's


@dataclass(frozen=True)
class ModelInfo:
    """A model file: `model_id` is the start of the SHA-256 of its bytes."""

    name: str
    model_id: bytes
    parameters: int
    path: Path
    default: bool


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to code with.

    Attributes:
        network: in evaluation mode on `device`, weights in float32.
        tables: integer probability tables.
        model_id: 8 bytes.
        device, dtype: where and in which precision to compute (`autocast`).
        training: tensors that training goes on from, by name with `TRAINING_PREFIX`.
    """

    network: "ImfNetwork"
    tables: "PriorTables"
    model_id: bytes
    device: "torch.device"
    dtype: "torch.dtype"
    training: "dict[str, torch.Tensor]"

    def autocast(self) -> "torch.autocast":
        """Context in which the floating-point networks compute in `dtype`."""
        import torch

        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def available_models() -> list[ModelInfo]:
    """Models that came with the package."""
    return [_describe(path) for path in sorted(_FOLDER.glob("*.safetensors"))]


def load_model(name_or_path: str | None = None, *, device: str = "cpu", dtype: str = "float32") -> LoadedModel:
    """Load a model by name, by path, or the default one.

    Args:
        device: a torch device, "cpu" or "cuda".
        dtype: "float32" or "bfloat16", of the floating-point networks; symbols are the same for both.
    Raises:
        ModelError: no such model, or its file is damaged.
    """
    name = name_or_path or DEFAULT_MODEL
    path = Path(name) if name.endswith(".safetensors") else _FOLDER / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(info.name for info in available_models()) or "none"
        raise ModelError(f"no model {name}; give a .safetensors file or one of: {known}")
    return _load(path, device, dtype)


def load_model_by_id(model_id: bytes, *, device: str = "cpu", dtype: str = "float32") -> LoadedModel:
    """Load the model a stream names.

    Raises:
        ModelError: it is not among the models of this installation.
    """
    for info in available_models():
        if info.model_id == model_id:
            return _load(info.path, device, dtype)
    raise ModelError(f"the stream needs model {model_id.hex()}, which is not installed; pass its file with --model")


def _describe(path: Path) -> ModelInfo:
    header = _header(path)
    parameters = sum(
        _product(entry["shape"]) for name, entry in header.items() if not name.startswith(("__", *_NOT_NETWORK))
    )
    return ModelInfo(path.stem, _model_id(path), parameters, path, path.stem == DEFAULT_MODEL)


def _product(shape: list[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def _header(path: Path) -> dict[str, dict[str, list[int]]]:
    """The JSON header of a safetensors file (read by hand, so that listing models needs no torch)."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > 1 << 20:
            raise ModelError(f"{path} is not a model file; reinstall it")
        try:
            return json.loads(file.read(length))
        except ValueError:
            raise ModelError(f"{path} is not a model file; reinstall it") from None


def _model_id(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()[:MODEL_ID_BYTES]


def _load(path: Path, device: str, dtype: str) -> LoadedModel:
    import torch
    from safetensors.torch import load_file

    from imfcodec.models.network import ImfNetwork

    metadata = _header(path).get("__metadata__", {})
    if "config" not in metadata:
        raise ModelError(f"{path} holds no imfcodec model; give a file made by imfcodec.training.export")
    config = ModelConfig.from_dict(json.loads(str(metadata["config"])))
    tensors = load_file(path)
    network = ImfNetwork(config)
    try:
        network.load_state_dict({n: value.float() for n, value in tensors.items() if not n.startswith(_NOT_NETWORK)})
    except RuntimeError as error:
        raise ModelError(
            f"{path} does not fit this version of imfcodec: {' '.join(str(error).split())[:300]}"
        ) from None
    training = {name: value for name, value in tensors.items() if name.startswith(TRAINING_PREFIX)}
    place = torch.device(device)
    network = network.eval().requires_grad_(False).to(place).to(memory_format=torch.channels_last)
    return LoadedModel(network, _prior_tables(tensors), _model_id(path), place, getattr(torch, dtype), training)


def _prior_tables(tensors: "dict[str, torch.Tensor]") -> "PriorTables":
    from imfcodec.entropy.coder import CodingTables
    from imfcodec.entropy.tables import Tables
    from imfcodec.models.coding import Table

    parts = ("cdf", "lengths", "offsets")
    return {t: CodingTables(Tables(*(tensors[f"tables.{t.value}.{part}"].numpy() for part in parts))) for t in Table}
