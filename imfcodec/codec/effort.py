"""How much work the encoder takes on itself; the decoder's is the same for all."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """What a preset stands for.

    Attributes:
        length_stride: halvings from one length of a chunk to the next that is tried.
        key_trials: whether the end of a chunk is tried as a key frame.
        token_steps: of gradient descent by which tokens of token frames are refined, see `codec.refine`.
        latent_steps: the same for y of key and golden frames.
    """

    length_stride: int = 1
    key_trials: bool = True
    token_steps: int = 0
    latent_steps: int = 0

    @property
    def refines(self) -> bool:
        """Whether anything is refined."""
        return self.token_steps > 0 or self.latent_steps > 0


PRESETS = {
    "fast": Effort(length_stride=2, key_trials=False),
    "medium": Effort(),
    "slow": Effort(token_steps=12, latent_steps=12),
    "placebo": Effort(token_steps=40, latent_steps=40),
}
