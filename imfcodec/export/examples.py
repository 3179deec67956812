"""Values like those that decoding meets, for tracing and checking graphs."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.export.graphs import MODULES
from imfcodec.light.arrays import token_planes
from imfcodec.light.graphs import GRAPHS, REFERENCE
from imfcodec.models.coding import Role
from imfcodec.models.network import ImfNetwork
from imfcodec.models.structure import Step
from imfcodec.nn.picture import PATCH_CHANNELS

QINDEX, MOTION, LARGEST = 100, 4.0, 9


@torch.no_grad()
def example(network: ImfNetwork, batch: int, height: int, width: int) -> dict[str, Tensor]:
    """Inputs of all graphs by name: drawn at random, or what other graphs give for those."""
    generator = torch.Generator().manual_seed(batch * height * width)

    def noise(channels: int, scale: int) -> Tensor:
        return torch.randn(batch, channels, height // scale, width // scale, generator=generator)

    def symbols(channels: int, scale: int) -> Tensor:
        return (noise(channels, scale) * 3).round().clamp(-LARGEST, LARGEST)

    config = network.config
    values = {
        "g": torch.randn(batch, config.global_channels, generator=generator),
        "u": noise(config.grid_channels, 32) * MOTION,
        "place": torch.rand(batch, generator=generator),
        "luma": torch.rand(batch, 1, height, width, generator=generator) - 0.5,
        "chroma": torch.rand(batch, 2, height // 2, width // 2, generator=generator) - 0.5,
        "copies": noise(2 * PATCH_CHANNELS, 8) / 4,
        "features": noise(config.align_channels[1], 16),
        "qindex": torch.full((batch,), QINDEX),
        "role": torch.full((batch,), int(Role.GOLDEN)),
        "number": torch.tensor(1),
        "hyper": symbols(config.hyper_channels, 64),
        "near": symbols(config.latent_channels, 16).abs().clamp(max=config.context_limit) / 2,
        "symbols": symbols(config.latent_channels, 16).abs().clamp(max=config.context_limit),
        "decoded": noise(config.latent_channels, 16) * 3,
        "y": noise(config.latent_channels, 16) / 4,
    }
    values |= _token_example(network, batch, height, width) | _motion_example(height, width)
    for graph in ("reference_frame", "remember", "latent_shared"):
        outputs = MODULES[graph](network)(*(values[name] for name in GRAPHS[graph].inputs))
        values |= dict(zip(GRAPHS[graph].outputs, outputs, strict=True))
    for name in REFERENCE:
        values |= {f"first_{name}": values[name], f"second_{name}": values[name].flip(0)}
    return values


def _token_example(network: ImfNetwork, batch: int, height: int, width: int) -> dict[str, Tensor]:
    """Symbols of neighbouring tokens, and planes of a level of token frames."""
    generator = np.random.default_rng(height)
    level = [Step(8 * i + 4, Role.TOKEN, (8 * i, 8 * i + 8), (8 * i, 8 * i + 8), 4, False) for i in range(batch)]
    shapes = {"g": (1, 1), "u": (height // 32, width // 32)}
    channels = {"g": network.config.global_channels, "u": network.config.grid_channels}
    values: dict[str, Tensor] = {}
    for part, shape in shapes.items():
        planes = token_planes(level, np.full(batch, QINDEX), *shape)
        near = [generator.integers(-LARGEST, LARGEST + 1, (batch, channels[part], *shape)) for _ in range(2)]
        arrays = {f"first_{part}": near[0], f"second_{part}": near[1], f"{part}_planes": planes}
        values |= {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    return values


def _motion_example(height: int, width: int) -> dict[str, Tensor]:
    """Luma of one scene, twice: smooth, since there is no saying how noise has moved."""
    generator = torch.Generator().manual_seed(height)
    coarse = torch.rand(1, 1, height // 8 + 1, width // 8 + 1, generator=generator) - 0.5
    scene = F.interpolate(coarse, scale_factor=8, mode="bicubic", align_corners=False).clamp(-0.5, 0.5)
    return {"earlier": scene[..., :height, :width], "later": scene[..., 3 : 3 + height, 2 : 2 + width]}
