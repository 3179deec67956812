"""Models on disk: safetensors with the configuration in the header, known by the hash of the file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imfcodec.errors import ModelError, UsageError
from imfcodec.modelfile import ModelFile, check_model_file, read_model_file

if TYPE_CHECKING:
    import torch

    from imfcodec.entropy.tables import Tables
    from imfcodec.latents.symbols import PriorTables
    from imfcodec.models.network import ImfNetwork

MODEL_ID_BYTES = 8
DEFAULT_MODEL = "talk"
_FOLDER = Path(__file__).parent / "weights"
TRAINING_PREFIX = "training."
"""Of tensors that training goes on from and coding does not need."""
_EXACT_SUMS = 1 << 24  # below it, single-precision sums of whole numbers are exact in any order
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
    if not os.path.isfile(path):
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


def pick_dtype(name: str, device: str) -> str:
    """Name of the arithmetic given as "auto", "float32" or "bfloat16"; auto is the fastest that `device` has.

    Args:
        device: a torch device, "cpu", "cuda" or "cuda:N".
    Raises:
        UsageError: no such arithmetic.
    """
    if name not in ("auto", "float32", "bfloat16"):
        raise UsageError(f"dtype {name!r} is unknown; use auto, float32 or bfloat16")
    if name != "auto":
        return name
    return "bfloat16" if _has_bfloat16(device) else "float32"


def _has_bfloat16(device: str) -> bool:
    """Whether a device computes in bfloat16 by itself, without emulating it."""
    import torch

    if device.startswith("cuda"):
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # not public, and not in every version
    return any(getattr(torch.cpu, check)() for check in checks if hasattr(torch.cpu, check))


def _describe(path: Path) -> ModelInfo:
    file = read_model_file(path, id_bytes=MODEL_ID_BYTES)
    return ModelInfo(path.stem, file.model_id, file.parameters, path, path.stem == DEFAULT_MODEL)


def _load(path: Path, device: str, dtype: str) -> LoadedModel:
    file = read_model_file(path, id_bytes=MODEL_ID_BYTES)
    check_model_file(path)

    import torch
    from safetensors.torch import load_file

    from imfcodec.models.network import ImfNetwork

    _check_fit(file, path)
    tensors = load_file(path)
    network = ImfNetwork(file.config)
    try:
        network.load_state_dict({n: value.float() for n, value in tensors.items() if not n.startswith(_NOT_NETWORK)})
    except RuntimeError as error:
        raise ModelError(
            f"{path} does not fit this version of imfcodec: {' '.join(str(error).split())[:300]}"
        ) from None
    training = {name: value for name, value in tensors.items() if name.startswith(TRAINING_PREFIX)}
    place = torch.device(device)
    network = network.eval().requires_grad_(False).to(place).to(memory_format=torch.channels_last)
    _check_exactness(network, path)
    tables = _prior_tables(path, tensors, file.config.hyper_channels)
    return LoadedModel(network, tables, file.model_id, place, getattr(torch, dtype), training)


def _check_fit(file: ModelFile, path: Path) -> None:
    """Compare the shapes of a file with those its configuration asks for, before memory is taken for either."""
    import torch

    from imfcodec.models.network import ImfNetwork

    try:
        with torch.device("meta"):
            wanted = ImfNetwork(file.config).state_dict()
    except (ValueError, TypeError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise ModelError(f"{path}: its configuration makes no network: {error}") from None
    for name, tensor in wanted.items():
        if file.shapes.get(name) != tuple(tensor.shape):
            raise ModelError(
                f"{path} does not fit this version of imfcodec: {name} is {file.shapes.get(name)}, "
                f"not {tuple(tensor.shape)}"
            )


def _check_exactness(network: "ImfNetwork", path: Path) -> None:
    """Refuse integer networks whose sums may leave the whole numbers that float32 holds (SPEC.md, "Exactness")."""
    from imfcodec.nn.quantize import ACTIVATION_UNIT, LIMIT, WEIGHT_UNIT, IntegerPointwise

    limit, most = network.config.context_limit, int(LIMIT / ACTIVATION_UNIT)
    if limit > most:
        raise ModelError(f"{path}: context_limit {limit} is above {most}, beyond which integer networks are not exact")
    for name, layer in network.named_modules():
        if isinstance(layer, IntegerPointwise):  # depthwise ones sum nine products, which always fit
            weights = (layer.weight.double() * WEIGHT_UNIT).round().clamp(-LIMIT, LIMIT).abs().sum(1) * LIMIT
            biases = (layer.bias.double() * WEIGHT_UNIT * ACTIVATION_UNIT).round().abs()
            if float((weights + biases).max()) >= _EXACT_SUMS:
                raise ModelError(f"{path}: sums of {name} may reach 2^24, beyond which they are not exact; retrain it")


def _prior_tables(path: Path, tensors: "dict[str, torch.Tensor]", hyper_channels: int) -> "PriorTables":
    from imfcodec.entropy.coder import CodingTables
    from imfcodec.models.coding import SCALE_LEVELS, Table

    rows = {Table.GAUSSIAN: SCALE_LEVELS, Table.HYPER: hyper_channels}
    return {table: CodingTables(_tables(path, tensors, table.value, rows[table])) for table in Table}


def _tables(path: Path, tensors: "dict[str, torch.Tensor]", name: str, rows: int) -> "Tables":
    """Tables `name`, of so many rows."""
    from imfcodec.entropy.coder import MAX_SYMBOL
    from imfcodec.entropy.tables import Tables

    parts = [tensors.get(f"tables.{name}.{part}") for part in ("cdf", "lengths", "offsets")]
    cdf, lengths, offsets = (None if part is None else part.numpy() for part in parts)
    if cdf is None or lengths is None or offsets is None:
        raise ModelError(f"{path}: has no probability tables {name!r}; get the file again")
    shapes = [cdf.shape[:1], lengths.shape, offsets.shape]
    if cdf.ndim != 2 or shapes != [(rows,)] * 3 or {part.dtype.name for part in (cdf, lengths, offsets)} != {"int32"}:
        raise ModelError(f"{path}: its probability tables {name!r} are not {rows} rows of int32; get the file again")
    if lengths.min() < 3 or lengths.max() > cdf.shape[1] or abs(offsets.astype("int64")).max() > MAX_SYMBOL:
        raise ModelError(f"{path}: its probability tables {name!r} are damaged; get the file again")
    return Tables(cdf, lengths, offsets)
