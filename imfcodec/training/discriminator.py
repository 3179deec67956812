"""Tells decoded pictures from real ones: a patch discriminator of two scales, its losses, and adaptive augmentation."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.nn.utils.parametrizations import spectral_norm

CHANNELS = (64, 128, 256, 512)
SCALES = 2


class PatchDiscriminator(nn.Module):
    """Four 4x4 convolutions of stride 2, then a score for each place, which sees 78x78 pixels (pix2pix: 70x70)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, channels in zip((3, *CHANNELS), CHANNELS, strict=False):
            first = before == 3
            layers.append(spectral_norm(nn.Conv2d(before, channels, 4, stride=2, padding=1, bias=first)))
            layers += [] if first else [nn.InstanceNorm2d(channels)]
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(CHANNELS[-1], 1, 3, padding=1)))

    def forward(self, rgb: Tensor) -> Tensor:
        """Scores [B, 1, H / 16, W / 16] of RGB [B, 3, H, W], 0..1."""
        scores: Tensor = self.layers(rgb * 2 - 1)
        return scores


class Discriminator(nn.Module):
    """Patch discriminators at full and half size. Positive scores mean real.

    They compute in float32 under autocast, too: power iteration and instance normalisation do not bear less, and the
    cost is small beside VGG's.
    Source: Gao et al., "Implicit Motion Function", supplement, section 2; Wang et al., pix2pixHD.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator() for _ in range(SCALES))

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """Float32 scores [B, 1, H / 16, W / 16] and [B, 1, H / 32, W / 32] of RGB [B, 3, H, W]; H, W at least 64."""
        scores = []
        with torch.autocast(rgb.device.type, enabled=False):
            rgb = rgb.float()
            for discriminator in self.scales:
                scores.append(discriminator(rgb))
                rgb = F.avg_pool2d(rgb, 2)
        return scores


def hinge_loss(real: list[Tensor], decoded: list[Tensor]) -> Tensor:
    """The discriminator's loss, of its scores by scale: nothing for 1 or more (real) and for -1 or less (decoded)."""
    return _mean([F.relu(1 - scores.float()) for scores in real]) + _mean([F.relu(1 + s.float()) for s in decoded])


def adversarial_loss(decoded: list[Tensor]) -> Tensor:
    """The codec's loss, of the discriminator's scores by scale: the lower, the more its pictures pass for real."""
    return -_mean([scores.float() for scores in decoded])


class AdaptiveAugment(nn.Module):
    """Augmentations of what the discriminator sees, as likely as it takes to keep it from overfitting (ADA).

    Args:
        target: mean sign of the scores of real pictures at which the chance stays as it is.
        images: real pictures it takes to move the chance from 0 to 1.
    Attributes:
        p: chance of each augmentation, float32 scalar, 0..1; a buffer, so that it is saved.
    Source: Karras et al., "Training generative adversarial networks with limited data", 2020.
    """

    p: Tensor

    def __init__(self, target: float = 0.6, images: int = 500_000) -> None:
        super().__init__()
        self.target, self.images = target, images
        self.register_buffer("p", torch.zeros(()))

    def forward(self, rgb: Tensor) -> Tensor:
        """Augment each of a batch of square RGB pictures [B, 3, S, S] in its own way, differentiably."""
        for augmentation in AUGMENTATIONS:
            chosen = torch.rand(len(rgb), 1, 1, 1, device=rgb.device) < self.p
            rgb = torch.where(chosen, augmentation(rgb), rgb)
        return rgb

    @torch.no_grad()
    def adapt(self, real: list[Tensor]) -> Tensor:
        """Move the chance by the scores of a batch of real pictures, over all processes; returns their mean sign."""
        overfitting = _mean([scores.float().sign() for scores in real])
        count = len(real[0])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(overfitting)
            overfitting, count = overfitting / distributed.get_world_size(), count * distributed.get_world_size()
        self.p.add_((overfitting - self.target).sign() * count / self.images).clamp_(0, 1)
        return overfitting


def _mirror(rgb: Tensor) -> Tensor:
    return rgb.flip(3)


def _turn(rgb: Tensor) -> Tensor:
    """By one, two or three right angles."""
    turned = torch.stack([rgb.rot90(quarters, (2, 3)) for quarters in (1, 2, 3)])
    batch = torch.arange(len(rgb), device=rgb.device)
    return turned[torch.randint(3, (len(rgb),), device=rgb.device), batch]


def _translate(rgb: Tensor) -> Tensor:
    """By whole pixels, up to an eighth of the side, the border reflected."""
    side = rgb.shape[-1]
    shift = torch.randint(-side // 8, side // 8 + 1, (2, len(rgb), 1), device=rgb.device)
    place = torch.arange(side, device=rgb.device) + shift
    rows, columns = (side - 1) - ((side - 1) - place.abs()).abs()
    return rgb.take_along_dim(rows[:, None, :, None], 2).take_along_dim(columns[:, None, None, :], 3)


def _brighten(rgb: Tensor) -> Tensor:
    return rgb + 0.1 * _normal(rgb)


def _contrast(rgb: Tensor) -> Tensor:
    return (rgb - 0.5) * torch.exp2(0.5 * _normal(rgb)) + 0.5


def _saturate(rgb: Tensor) -> Tensor:
    grey = rgb.mean(1, keepdim=True)
    return grey + (rgb - grey) * torch.exp2(_normal(rgb))


# Strengths as in the source, for RGB in 0..1 instead of -1..1.
AUGMENTATIONS: tuple[Callable[[Tensor], Tensor], ...] = (_mirror, _turn, _translate, _brighten, _contrast, _saturate)


def _normal(rgb: Tensor) -> Tensor:
    return torch.randn(len(rgb), 1, 1, 1, device=rgb.device)


def _mean(scores: list[Tensor]) -> Tensor:
    """Mean over the places of each scale, then over scales."""
    return torch.stack([s.mean() for s in scores]).mean()
