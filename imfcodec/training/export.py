"""From a checkpoint to a model file: 16-bit weights, exact integer networks, integer probability tables.

python -m imfcodec.training.export CHECKPOINT OUT.safetensors
"""

import json
import math
from pathlib import Path

import click
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from safetensors.torch import save
from torch import Tensor

from imfcodec.config import ModelConfig
from imfcodec.files import check_distinct, write_beside
from imfcodec.models.network import ImfNetwork
from imfcodec.models.prior import SCALE_LEVELS, SCALE_MIN, SCALE_RATIO
from imfcodec.nn.quantize import IntegerDepthwise, IntegerPointwise, QuantizationSteps
from imfcodec.training.checkpoint import load_checkpoint


def export(network: ImfNetwork, path: Path) -> None:
    """Write a model file.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    bottleneck = network.latent_prior.bottleneck
    assert isinstance(bottleneck, EntropyBottleneck)
    bottleneck.update(force=True, update_quantiles=True)
    gaussian = GaussianConditional([SCALE_MIN * math.exp(i * SCALE_RATIO) for i in range(SCALE_LEVELS)])
    gaussian.update()
    tensors = _weights(network)
    for name, model in (("gaussian", gaussian), ("hyper", bottleneck)):
        tensors[f"tables.{name}.cdf"] = model.quantized_cdf.int().clone()
        tensors[f"tables.{name}.lengths"] = model.cdf_length.int().clone()
        tensors[f"tables.{name}.offsets"] = model.offset.int().clone()
    with write_beside(path) as file:
        file.write(save(tensors, metadata={"config": json.dumps(network.config.to_dict())}))


def _weights(network: ImfNetwork) -> dict[str, Tensor]:
    """Floating-point weights as float16; steps and integer networks, which must be exact, as float32."""
    exact: set[str] = set()
    for name, module in network.named_modules():
        if isinstance(module, IntegerPointwise | IntegerDepthwise | QuantizationSteps):
            exact |= {f"{name}.{key}" for key in module.state_dict()}
    tables = tuple(f"latent_prior.bottleneck.{name}" for name in ("_quantized_cdf", "_cdf_length", "_offset"))
    return {
        name: (value.float() if name in exact or "quantiles" in name else value.half()).contiguous()
        for name, value in network.state_dict().items()
        if name not in tables
    }


def load_average(checkpoint: Path) -> ImfNetwork:
    """The network of a training checkpoint, with its averaged weights.

    Raises:
        InputError: the file is not a checkpoint.
    """
    state = load_checkpoint(checkpoint)
    network = ImfNetwork(ModelConfig.from_dict(state["model"]))
    network.load_state_dict(state["average"])
    return network


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(checkpoint: Path, out: Path) -> None:
    """Export CHECKPOINT's averaged weights to OUT."""
    check_distinct([checkpoint], [out])
    export(load_average(checkpoint), out)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
