"""Pictures as they are seen: RGB, and the distance between VGG-19 features of two pictures."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import vgg19

from imfcodec.errors import InputError
from imfcodec.nn.picture import Picture
from imfcodec.nn.state import read_state

# Shares of red and blue in luma.
BT601 = (0.299, 0.114)
BT709 = (0.2126, 0.0722)

# Where torchvision's `vgg19().features` ends for relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1.
LAYER_ENDS = (2, 7, 12, 21, 30)
SCALES = 4
SMALLEST = 16  # side that leaves relu5_1 one sample, after four poolings

VGG_FILE = "vgg19-dcbb9e9d.pth"
"""What torchvision calls the file with the weights that were trained on ImageNet."""


def to_rgb(picture: Picture, matrix: tuple[float, float] = BT601, full_range: bool = False) -> Tensor:
    """RGB as shown on a screen.

    Args:
        picture: any float type; chroma is taken to lie centred between luma samples and upsampled bilinearly.
        matrix: `BT601` (K_R = 0.299, K_B = 0.114) or `BT709`.
        full_range: False for luma 16..235 and chroma 16..240, True for 0..255.
    Returns:
        Float32 [B, 3, H, W], 0..1. Colours that RGB cannot show are clipped, but the gradient passes the clipping
        unchanged: otherwise nothing would draw such pixels back.
    """
    black, white, chroma_range = (0.0, 255.0, 255.0) if full_range else (16.0, 235.0, 224.0)
    luma = ((picture.luma.float() + 0.5) * 255 - black) / (white - black)
    chroma = ((picture.chroma.float() + 0.5) * 255 - 128) / chroma_range
    chroma = F.interpolate(chroma, size=luma.shape[-2:], mode="bilinear", align_corners=False)
    red_share, blue_share = matrix
    red = luma + 2 * (1 - red_share) * chroma[:, 1:]
    blue = luma + 2 * (1 - blue_share) * chroma[:, :1]
    green = (luma - red_share * red - blue_share * blue) / (1 - red_share - blue_share)
    rgb = torch.cat([red, green, blue], 1)
    return rgb.detach().clamp(0, 1) + (rgb - rgb.detach())


class VggLoss(nn.Module):
    """L1 distance of VGG-19 features, summed over five layers and four scales: L_v of the IMF paper.

    The VGG weights are frozen and stay out of `parameters()` and `state_dict()`.

    Args:
        path: state dict of torchvision's `vgg19`; its classifier is not needed.
    Raises:
        InputError: the file cannot be read or is of another network.
    Source: Gao et al., "Implicit Motion Function", supplement, equation 2.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        features = _load_features(path)
        starts = (0, *LAYER_ENDS)
        self.blocks = nn.ModuleList(features[start:end] for start, end in zip(starts, LAYER_ENDS, strict=False))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    def forward(self, decoded: Tensor, target: Tensor) -> Tensor:
        """The loss, a float32 scalar.

        Args:
            decoded, target: RGB [B, 3, H, W], 0..1, H and W at least 16; only `decoded` is given a gradient. The
                scales are 1, 1/2, 1/4 and 1/8; those with fewer than 16 rows or columns are passed over.
        """
        loss = torch.zeros((), device=decoded.device)
        for scale in range(SCALES):
            if scale:
                decoded, target = F.avg_pool2d(decoded, 2), F.avg_pool2d(target, 2)
            if min(decoded.shape[-2:]) >= SMALLEST:
                loss = loss + self._distance(decoded, target)
        return loss

    def _distance(self, decoded: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            expected = self._features(target)
        pairs = zip(self._features(decoded), expected, strict=True)
        return torch.stack([F.l1_loss(ours.float(), theirs.float()) for ours, theirs in pairs]).sum()

    def _features(self, rgb: Tensor) -> list[Tensor]:
        x, found = (rgb - self.mean) / self.deviation, []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found


def _load_features(path: Path) -> nn.Sequential:
    """VGG-19 up to relu5_1 with the weights of a file."""
    with torch.device("meta"):  # no memory and no time for weights that are replaced, nor for the classifier
        features: nn.Sequential = vgg19(weights=None, init_weights=False).features[: LAYER_ENDS[-1]]
    state = read_state(path, f"torchvision's {VGG_FILE}")
    try:
        features.load_state_dict({name: state[f"features.{name}"] for name in features.state_dict()}, assign=True)
    except (KeyError, RuntimeError):
        raise InputError(f"{path} does not hold the weights of VGG-19; give torchvision's {VGG_FILE}") from None
    _freeze(features.float())
    return features


def _freeze(layers: nn.Sequential) -> None:
    """Turn parameters into buffers that are not saved: checkpoints need not repeat the file."""
    for layer in layers:
        for name, value in list(layer.named_parameters(recurse=False)):
            delattr(layer, name)
            layer.register_buffer(name, value.detach(), persistent=False)
