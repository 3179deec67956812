"""Where training starts: weights trained before, or a model that already works."""

from pathlib import Path

import torch
from torch import Tensor

from imfcodec.config import ModelConfig
from imfcodec.errors import UsageError
from imfcodec.models.network import ImfNetwork
from imfcodec.nn.blocks import space_to_depth
from imfcodec.nn.picture import PATCH, PATCH_CHANNELS, Picture, to_patches
from imfcodec.nn.quantize import QuantizationSteps
from imfcodec.training.checkpoint import load_checkpoint
from imfcodec.training.losses import chroma_weight
from imfcodec.training.rollout import TrainedModel
from imfcodec.zoo import TRAINING_PREFIX, LoadedModel, load_model


def read_start(model: TrainedModel, source: str, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """The weights to load whose names start with one of `prefixes`, an empty one for all.

    Names are those of the network's parts; the factorised prior of z goes with "latent_prior".

    Args:
        source: a checkpoint (.pt), a model file (.safetensors) or the name of a model that comes with the package.
    Raises:
        InputError, ModelError: it cannot be read.
        UsageError: its weights have other shapes than the model's.
    """
    state = load_checkpoint(Path(source))["average"] if source.endswith(".pt") else _model_state(load_model(source))
    own = model.state_dict()
    chosen = {name: value for name, value in state.items() if name in own and _part(name).startswith(prefixes)}
    if wrong := [name for name, value in chosen.items() if value.shape != own[name].shape]:
        raise UsageError(f"{source}: {wrong[0]} has another shape than the stage's model; name other prefixes in start")
    return chosen


def load_trained(source: str | None = None) -> TrainedModel:
    """The model of a checkpoint (averaged weights), of a model file or of the package, ready to go on with.

    Raises:
        InputError, ModelError: it cannot be read.
    """
    if source is not None and source.endswith(".pt"):
        state = load_checkpoint(Path(source))
        config, weights = ModelConfig.from_dict(state["model"]), state["average"]
    else:
        loaded = load_model(source)
        config, weights = loaded.network.config, _model_state(loaded)
    model = TrainedModel(config)
    model.load_state_dict(weights, strict=False)  # CompressAI's table buffers stay as they are
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _part(name: str) -> str:
    return name.removeprefix("network.").replace("bottleneck.", "latent_prior.bottleneck.")


def _model_state(loaded: LoadedModel) -> dict[str, Tensor]:
    """Weights of a model by their names in a TrainedModel."""
    network = {f"network.{name}": value for name, value in loaded.network.state_dict().items()}
    prior = {name.removeprefix(TRAINING_PREFIX): value for name, value in loaded.training.items()}
    return {**network, **prior}


@torch.no_grad()
def start_as_transform_codec(network: ImfNetwork, pictures: Picture) -> None:
    """Set analysis and synthesis to the principal components of 16x16 blocks (about zero, not their mean).

    Both are then an orthonormal pair: a new model codes key frames as a transform codec does. Each quarter of the
    channels takes every fourth component: a pass of the prior knows some of the strong ones of its own place.
    """
    blocks = space_to_depth(to_patches(pictures)).movedim(1, -1).flatten(0, -2).double()
    _, vectors = torch.linalg.eigh(blocks.t() @ blocks / len(blocks))
    quarters = torch.arange(network.config.latent_channels).reshape(-1, 4).t().flatten()
    basis = vectors.flip(1)[:, quarters].float()
    network.dense_feature_encoder.analysis.weight.copy_(basis.t())
    network.dense_feature_encoder.analysis.bias.zero_()
    network.reference_decoder.synthesis.weight.copy_(basis)
    refine_chroma_steps(network)


@torch.no_grad()
def refine_chroma_steps(network: ImfNetwork) -> None:
    """Give each channel of y finer steps at lower quality, by its share of chroma and the loss's weight of it."""
    weight = network.dense_feature_encoder.analysis.weight
    energy = weight.square().unflatten(1, (4, PATCH_CHANNELS)).sum(1)  # [C_y, 96]: luma, then chroma
    share = energy[:, PATCH * PATCH :].sum(1) / energy.sum(1)
    for steps in network.latent_prior.steps:
        assert isinstance(steps, QuantizationSteps)
        knots = torch.linspace(0, 1, len(steps.log_step))
        steps.log_step.sub_(chroma_weight(knots).log()[:, None] / 2 * share)
