"""From trained weights to a model file: 16-bit weights, exact integer networks, integer probability tables."""

import json
from pathlib import Path

from compressai.entropy_models import EntropyBottleneck
from safetensors.torch import save
from torch import Tensor, from_numpy

from imfcodec.files import write_beside
from imfcodec.models.coding import Table
from imfcodec.models.network import ImfNetwork
from imfcodec.nn.quantize import IntegerDepthwise, IntegerPointwise, QuantizationSteps
from imfcodec.training.tables import SymbolCounts, gaussian_tables, hyper_tables
from imfcodec.zoo import TRAINING_PREFIX


def export(network: ImfNetwork, bottleneck: EntropyBottleneck, counts: SymbolCounts, path: Path) -> None:
    """Write a model file.

    Args:
        counts: symbols to fit the tables to; none leaves them as the priors have them.
    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    tensors = _weights(network)
    tensors |= {
        f"{TRAINING_PREFIX}bottleneck.{name}": value.contiguous() for name, value in bottleneck.named_parameters()
    }
    for table, tables in ((Table.GAUSSIAN, gaussian_tables(counts)), (Table.HYPER, hyper_tables(bottleneck, counts))):
        for part in ("cdf", "lengths", "offsets"):
            tensors[f"tables.{table.value}.{part}"] = from_numpy(getattr(tables, part))
    with write_beside(path) as file:
        file.write(save(tensors, metadata={"config": json.dumps(network.config.to_dict())}))


def _weights(network: ImfNetwork) -> dict[str, Tensor]:
    """Floating-point weights as float16; steps and integer networks, which must be exact, as float32."""
    exact: set[str] = set()
    for name, module in network.named_modules():
        if isinstance(module, IntegerPointwise | IntegerDepthwise | QuantizationSteps):
            exact |= {f"{name}.{key}" for key in module.state_dict()}
    return {
        name: (value.float() if name in exact else value.half()).contiguous()
        for name, value in network.state_dict().items()
    }
