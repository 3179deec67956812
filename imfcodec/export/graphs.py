"""The decoder's steps as modules that take and return plain tensors: what becomes ONNX graphs.

Each class is one graph of `light.graphs`; its `forward` has the graph's inputs, in order, and returns its outputs.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imfcodec.codec.concealment import QUANTISERS
from imfcodec.light.graphs import REFERENCE
from imfcodec.models.alignment import Aligned, Reference
from imfcodec.models.coding import Condition, magnitude, scale_indices
from imfcodec.models.displacement import canonical_field
from imfcodec.models.latent_prior import LatentContext
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.models.token_prior import TokenPart
from imfcodec.nn.attention import Memory
from imfcodec.nn.blocks import Pointwise, join, space_to_depth, upsample
from imfcodec.nn.picture import Picture, to_patches
from imfcodec.nn.quantize import ACTIVATION_UNIT, LIMIT, WEIGHT_UNIT, IntegerDepthwise, IntegerPointwise, to_activation


class TokenRows(nn.Module):
    """Table rows of the symbols of tokens: u [B, C_u, H / 32, W / 32], g [B, C_g, 1, 1]."""

    def __init__(self, network: ImfNetwork) -> None:
        super().__init__()
        self.prior = network.token_prior

    def forward(
        self, first_g: Tensor, first_u: Tensor, second_g: Tensor, second_u: Tensor, g_planes: Tensor, u_planes: Tensor
    ) -> tuple[Tensor, Tensor]:
        g = _token_rows(self.prior.g_index, first_g, second_g, g_planes)
        return g, _token_rows(self.prior.u_index, first_u, second_u, u_planes)


def _token_rows(part: TokenPart, first: Tensor, second: Tensor, planes: Tensor) -> Tensor:
    first, second = magnitude(first, part.limit), magnitude(second, part.limit)
    both = (first + second).clamp(max=part.limit)
    return scale_indices(part.index(join(first, second, part.around(both), planes)))


class PredictFromOne(nn.Module):
    """Prediction of frames from one reference."""

    def __init__(self, network: ImfNetwork) -> None:
        super().__init__()
        self.alignment = network.alignment

    def forward(self, g: Tensor, u: Tensor, *reference: Tensor) -> tuple[Tensor, ...]:
        picture, copies, features = self.alignment(Token(g, u), [_reference(*reference)], torch.zeros_like(g[:, 0]))
        return *picture, copies, features


class PredictFromTwo(nn.Module):
    """Prediction of frames from two references."""

    def __init__(self, network: ImfNetwork) -> None:
        super().__init__()
        self.alignment = network.alignment

    def forward(self, g: Tensor, u: Tensor, place: Tensor, *references: Tensor) -> tuple[Tensor, ...]:
        first, second = references[: len(REFERENCE)], references[len(REFERENCE) :]
        sides = [_reference(*first), _reference(*second)]
        picture, copies, features = self.alignment(Token(g, u), sides, place)
        return *picture, copies, features


def _reference(
    luma: Tensor,
    chroma: Tensor,
    keys_32: Tensor,
    values_32: Tensor,
    keys_16: Tensor,
    values_16: Tensor,
    field: Tensor,
) -> Reference:
    """A reference to predict from; what prediction does not look at is left out."""
    memories, nothing = (Memory(keys_32, values_32), Memory(keys_16, values_16)), field[:0]
    return Reference(Picture(luma, chroma), Token(nothing, nothing), (nothing, nothing), memories, field, nothing)


class TokenFrame(nn.Module):
    """D_F of token frames: luma, chroma."""

    def __init__(self, network: ImfNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, luma: Tensor, chroma: Tensor, copies: Tensor, features: Tensor, qindex: Tensor) -> Picture:
        return self.network.decode_frame(Aligned(Picture(luma, chroma), copies, features), qindex)


class LatentShared(nn.Module):
    """What the four passes of y have in common: for its means, for its table rows."""

    def __init__(self, network: ImfNetwork) -> None:
        super().__init__()
        self.prior = network.latent_prior

    def forward(
        self, hyper: Tensor, near: Tensor, luma: Tensor, chroma: Tensor, features: Tensor, role: Tensor, qindex: Tensor
    ) -> tuple[Tensor, Tensor]:
        blocks = space_to_depth(to_patches(Picture(luma, chroma)))
        condition, limit = Condition(role, qindex), self.prior.config.context_limit
        spread = upsample(join(hyper.clamp(0, limit), (-hyper).clamp(0, limit)), 4)
        planes = join(near, spread, condition.planes(*near.shape[-2:]))
        return self.prior.means.shared(hyper, condition, LatentContext(blocks, features, near)), planes


class LatentPass(nn.Module):
    """Means and table rows of y for one pass, at all channels and places."""

    def __init__(self, network: ImfNetwork) -> None:
        super().__init__()
        self.prior = network.latent_prior

    def forward(
        self, decoded: Tensor, symbols: Tensor, mean_context: Tensor, row_context: Tensor, number: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.prior.means(decoded, mean_context, number), self.prior.indices(symbols, row_context, number)


class ReferenceFrame(nn.Module):
    """D_F of key and golden frames: luma, chroma, f_r at 1/32 and 1/16 scale."""

    def __init__(self, network: ImfNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, y: Tensor, luma: Tensor, chroma: Tensor, copies: Tensor, features: Tensor, qindex: Tensor
    ) -> tuple[Tensor, ...]:
        aligned = Aligned(Picture(luma, chroma), copies, features)
        picture = self.network.decode_reference(y, aligned, qindex)
        return *picture, *self.network.reference_features(picture)


class Remember(nn.Module):
    """Keys, values and displacement of a reference, from its token and f_r."""

    def __init__(self, network: ImfNetwork) -> None:
        super().__init__()
        self.alignment = network.alignment

    def forward(self, g: Tensor, u: Tensor, features_32: Tensor, features_16: Tensor) -> tuple[Tensor, ...]:
        reference = self.alignment.reference(Picture(u, u), Token(g, u), (features_32, features_16), u)
        (keys_32, values_32), (keys_16, values_16) = reference.memories
        return keys_32, values_32, keys_16, values_16, reference.field


class PictureFeatures(nn.Module):
    """f_r of a picture at 1/32 and 1/16 scale."""

    def __init__(self, network: ImfNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, luma: Tensor, chroma: Tensor) -> tuple[Tensor, ...]:
        return self.network.reference_features(Picture(luma, chroma))


class Motion(nn.Module):
    """E_T for lost frames: the token of one picture's luma whose only reference, an anchor, is another's."""

    def __init__(self, network: ImfNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, earlier: Tensor, later: Tensor) -> Token:
        batch, _, height, width = earlier.shape
        still, nothing = Token.zeros(batch, height, width, self.network.config, earlier), earlier[:0]
        anchor = _reference(earlier, nothing, nothing, nothing, nothing, nothing, canonical_field(still.u))
        qindex = torch.full((1,), QUANTISERS.token)
        return self.network.find_token(later, [anchor], still, torch.zeros(1), qindex)


MODULES: dict[str, Callable[[ImfNetwork], nn.Module]] = {
    "token_rows": TokenRows,
    "predict_from_one": PredictFromOne,
    "predict_from_two": PredictFromTwo,
    "token_frame": TokenFrame,
    "latent_shared": LatentShared,
    "latent_pass": LatentPass,
    "reference_frame": ReferenceFrame,
    "remember": Remember,
    "picture_features": PictureFeatures,
    "motion": Motion,
}


class ExactConvolution(nn.Module):
    """An integer layer with its weights rounded once."""

    def __init__(self, layer: IntegerPointwise | IntegerDepthwise) -> None:
        super().__init__()
        weight = (layer.weight * WEIGHT_UNIT).round().clamp(-LIMIT, LIMIT) / WEIGHT_UNIT
        self.bias: Tensor | None = None
        self.bounded = True
        if isinstance(layer, IntegerPointwise):
            unit = WEIGHT_UNIT * ACTIVATION_UNIT
            self.weight, self.groups, self.padding = weight[:, :, None, None], 1, 0
            self.bias, self.bounded = (layer.bias * unit).round() / unit, layer.bounded
        else:
            self.weight = weight.t().reshape(-1, 1, 3, 3)
            self.groups, self.padding = len(self.weight), 1

    def forward(self, x: Tensor) -> Tensor:
        total = F.conv2d(x, self.weight, self.bias, padding=self.padding, groups=self.groups)
        return to_activation(total) if self.bounded else total


def for_export(network: ImfNetwork) -> ImfNetwork:
    """A copy of the network that computes the same by layers that ONNX runtimes are fast at.

    Matrix products over channels become 1x1 convolutions, and integer layers have their weights rounded once.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, IntegerPointwise | IntegerDepthwise):
                setattr(parent, name, ExactConvolution(layer))
            elif isinstance(layer, Pointwise):
                setattr(parent, name, _convolution(layer))
    return network


def _convolution(layer: Pointwise) -> nn.Conv2d:
    made = nn.Conv2d(layer.in_features, layer.out_features, 1, bias=layer.bias is not None)
    state = layer.state_dict()
    made.load_state_dict({**state, "weight": state["weight"][:, :, None, None]})
    return made.eval().requires_grad_(False)
