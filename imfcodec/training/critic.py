"""The perceptual stage's judge of decoded pictures: pixels, VGG features and a discriminator."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from imfcodec.nn.picture import Picture
from imfcodec.training.config import CriticConfig
from imfcodec.training.discriminator import AdaptiveAugment, Discriminator, adversarial_loss, hinge_loss
from imfcodec.training.perceptual import VGG_FILE, VggLoss, to_rgb


class PerceptualCritic(nn.Module):
    """Losses of the IMF paper for decoded pictures, and of the discriminator that is trained beside the codec.

    `parameters()` are the discriminator's; `state_dict()` adds the chance of augmentation. Neither has VGG's weights.

    Args:
        config: weights of the terms, and where VGG's weights are (see `VggLoss`).
    Attributes:
        notice: what the user should know, one line; None if nothing.
    Raises:
        InputError: the VGG file cannot be read.
    """

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        self.vgg = VggLoss(Path(config.vgg_path)) if config.vgg_path else None
        self.discriminator = Discriminator()
        self.augment = AdaptiveAugment(images=config.augment_images)

    @property
    def notice(self) -> str | None:
        if self.vgg is not None:
            return None
        return (
            f"no VGG weights, so that loss is left out; name torchvision's {VGG_FILE} in critic.vgg_path to include it"
        )

    def generator_loss(
        self, decoded: list[Picture], targets: list[Picture], with_gan: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the codec is to minimise.

        Args:
            decoded, targets: square pictures of the same sizes; only `decoded` is given a gradient.
            with_gan: whether the discriminator counts yet.
        Returns:
            Float32 scalar, and its terms before weighting: detached scalars.
        """
        ours, theirs = _join(decoded), _join(targets).detach()
        terms = {"l1": F.l1_loss(ours, theirs)}
        if self.vgg is not None:
            terms["vgg"] = self.vgg(ours, theirs)
        if with_gan:
            with _constant(self.discriminator):
                terms["gan"] = adversarial_loss(self.discriminator(self.augment(ours)))
        loss = torch.stack([getattr(self.config, name) * term for name, term in terms.items()]).sum()
        return self.config.share * loss, {f"critic/{name}": term.detach() for name, term in terms.items()}

    def discriminator_loss(self, decoded: list[Picture], targets: list[Picture]) -> tuple[Tensor, dict[str, Tensor]]:
        """What the discriminator is to minimise. Adapts the chance of augmentation; the codec is given no gradient.

        Returns:
            Float32 scalar, and detached scalars: the loss, the mean sign of real scores (1 when all are taken for real;
            0.6 is aimed at) and the chance of augmentation.
        """
        with torch.no_grad():
            seen = self.augment(torch.cat([_join(targets), _join(decoded)]))
        scores = [scale.chunk(2) for scale in self.discriminator(seen)]
        real, false = [pair[0] for pair in scores], [pair[1] for pair in scores]
        loss, sign = hinge_loss(real, false), self.augment.adapt(real)
        figures = {"discriminator": loss.detach(), "real_sign": sign, "augment": self.augment.p.clone()}
        return loss, {f"critic/{name}": value for name, value in figures.items()}


class CriticTrainer:
    """A critic on Fabric's device with the optimiser of its discriminator.

    Attributes:
        progress: share of the run that is done, 0..1; the trainer keeps it up to date.
    """

    def __init__(self, config: CriticConfig, fabric: Fabric) -> None:
        self._config, self._fabric, self.progress = config, fabric, 0.0
        self.critic = PerceptualCritic(config)
        optimizer = torch.optim.Adam(self.critic.parameters(), config.rate, betas=config.betas)
        self._module, self._optimizer = fabric.setup(self.critic, optimizer)
        self._module.mark_forward_method("discriminator_loss")

    def generator_loss(self, decoded: list[Picture], targets: list[Picture]) -> tuple[Tensor, dict[str, Tensor]]:
        """As `PerceptualCritic.generator_loss`; the discriminator counts from `gan_from` on."""
        return self.critic.generator_loss(decoded, targets, self.progress >= self._config.gan_from)

    def advance(self, decoded: list[Picture], targets: list[Picture]) -> dict[str, Tensor]:
        """Take one step with the discriminator; returns its figures."""
        self._optimizer.zero_grad(set_to_none=True)
        loss, figures = self._module.discriminator_loss(decoded, targets)
        self._fabric.backward(loss)
        self._optimizer.step()
        return figures

    def state_dict(self) -> dict[str, Any]:
        """Discriminator, chance of augmentation and optimiser."""
        return {"critic": self.critic.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.critic.load_state_dict(state["critic"])
        self._optimizer.load_state_dict(state["optimizer"])


def _join(pictures: list[Picture]) -> Tensor:
    """One batch of RGB pictures."""
    return torch.cat([to_rgb(picture) for picture in pictures])


@contextmanager
def _constant(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through `module` without gathering in it."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
