"""Where training starts: weights trained before, or a model that already works."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.errors import UsageError
from imfcodec.models.dense_feature_encoder import to_blocks
from imfcodec.models.network import ImfNetwork
from imfcodec.nn.picture import PATCH, Picture
from imfcodec.nn.quantize import QuantizationSteps
from imfcodec.training.checkpoint import load_checkpoint
from imfcodec.training.losses import chroma_weight
from imfcodec.zoo import load_model

_TABLES = ("_quantized_cdf", "_cdf_length", "_offset")  # made again at export


def load_start(network: ImfNetwork, source: str, prefixes: tuple[str, ...]) -> None:
    """Take the weights whose names start with one of `prefixes`, an empty one for all.

    Args:
        source: a checkpoint (.pt), a model file (.safetensors) or the name of a model that comes with the package.
    Raises:
        InputError, ModelError: it cannot be read.
        UsageError: its weights have other shapes than the network's.
    """
    state: dict[str, Tensor] = (
        load_checkpoint(Path(source))["average"]
        if source.endswith(".pt")
        else load_model(source, likelihoods=True).network.state_dict()
    )
    own = network.state_dict()
    chosen = {n: v for n, v in state.items() if n in own and n.startswith(prefixes) and not n.endswith(_TABLES)}
    if wrong := [name for name, value in chosen.items() if value.shape != own[name].shape]:
        raise UsageError(f"{source}: {wrong[0]} has another shape than the stage's model; name other prefixes in start")
    network.load_state_dict(chosen, strict=False)


@torch.no_grad()
def start_as_transform_codec(network: ImfNetwork, pictures: Picture) -> None:
    """Set analysis and synthesis to the principal components of 16x16 blocks (about zero, not their mean).

    Both are then an orthonormal pair: a new model codes key frames as a transform codec does.
    """
    blocks = to_blocks(pictures).movedim(1, -1).flatten(0, -2).double()
    _, vectors = torch.linalg.eigh(blocks.t() @ blocks / len(blocks))
    basis = vectors.flip(1)[:, : network.config.latent_channels].float()
    network.dense_feature_encoder.analysis.weight.copy_(basis.t()[:, :, None, None])
    zero_bias = network.dense_feature_encoder.analysis.bias
    assert zero_bias is not None
    zero_bias.zero_()
    network.frame_decoder.synthesis.weight.copy_(basis[:, :, None, None])
    refine_chroma_steps(network)


@torch.no_grad()
def refine_chroma_steps(network: ImfNetwork) -> None:
    """Give each channel of y finer steps at lower quality, by its share of chroma and the loss's weight of it."""
    weight = network.dense_feature_encoder.analysis.weight[:, :, 0, 0]
    energy = F.pixel_shuffle(weight.square()[:, :, None, None], 2).sum((2, 3))  # [C_y, 96]: luma, then chroma
    share = energy[:, PATCH * PATCH :].sum(1) / energy.sum(1)
    for steps in network.latent_prior.steps:
        assert isinstance(steps, QuantizationSteps)
        knots = torch.linspace(0, 1, len(steps.log_step))
        steps.log_step.sub_(chroma_weight(knots).log()[:, None] / 2 * share)
