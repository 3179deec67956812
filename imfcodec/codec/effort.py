"""How much work the encoder takes on itself; the decoder's is the same for all."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """What a preset stands for.

    Attributes:
        token_steps: of gradient descent by which tokens of token frames are refined, see `codec.refine`.
        latent_steps: the same for y of key and golden frames.
    """

    token_steps: int = 0
    latent_steps: int = 0

    @property
    def refines(self) -> bool:
        """Whether anything is refined."""
        return self.token_steps > 0 or self.latent_steps > 0


PRESETS = {
    "fast": Effort(),
    "medium": Effort(),
    "slow": Effort(token_steps=12, latent_steps=12),
    "placebo": Effort(token_steps=40, latent_steps=40),
}
