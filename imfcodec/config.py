"""The model configuration: every width, depth and scale, frozen. Weights carry the one they were made with."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from imfcodec.errors import ModelError

MAX_WIDTH = 1024
MAX_DEPTH = 32
MAX_PARTS = 16


@dataclass(frozen=True)
class ModelConfig:
    """Widths, depths and scales of the codec network.

    Attributes:
        feature_channels: width of the frame decoder at 1/8 scale.
        feature_depth: gated blocks of the frame decoder.
        latent_channels: channels of y at 1/16 scale.
        latent_groups: channels of y coded together, in coding order; they sum to latent_channels.
        latent_depth: gated blocks on each side of y at 1/16 scale.
        hyper_channels: channels of z at 1/64 scale.
        context_channels: hidden width of the networks that predict the mean of y.
        integer_channels: hidden width of the integer networks that select probability tables.
        align_channels: width of features, motion features and attention at 1/32 and 1/16 scale.
        align_heads: attention heads.
        align_depth: transformer blocks after each cross-attention.
        global_channels: values of the global token g (d_m in the paper).
        grid_channels: values of each local token u; the first four are displacements.
        token_channels: width of the token encoder's stages.
        quality_knots: points at which the learned quantisation steps are stored; between them they are interpolated.
    """

    feature_channels: int = 96
    feature_depth: int = 4
    latent_channels: int = 224
    latent_groups: tuple[int, ...] = (16, 32, 64, 112)
    latent_depth: int = 1
    hyper_channels: int = 12
    context_channels: int = 96
    integer_channels: int = 48
    align_channels: tuple[int, int] = (96, 96)
    align_heads: int = 4
    align_depth: int = 1
    global_channels: int = 32
    grid_channels: int = 8
    token_channels: int = 96
    quality_knots: int = 6

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_field(field.name, getattr(self, field.name), field.default)
        if sum(self.latent_groups) != self.latent_channels:
            raise ModelError(f"latent_groups {self.latent_groups} must sum to latent_channels {self.latent_channels}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Inverse of `to_dict`.

        Raises:
            ModelError: a field is missing, unknown or inconsistent.
        """
        try:
            plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**plain)
        except (TypeError, AttributeError) as error:
            raise ModelError(f"model configuration does not fit this version of imfcodec: {error}") from None


def _check_field(name: str, value: object, default: object) -> None:
    """Bound a field before memory is taken for it; ModelError where it is out of range or of another kind."""
    if type(value) is not type(default):
        raise ModelError(f"model configuration: {name} is {value!r}, not of the kind of {default!r}")
    sizes = value if isinstance(value, tuple) else (value,)
    if len(sizes) > MAX_PARTS:
        raise ModelError(f"model configuration: {name} has {len(sizes)} parts, more than {MAX_PARTS}")
    ceiling = MAX_DEPTH if "depth" in name else MAX_WIDTH
    for size in sizes:
        if isinstance(value, tuple) and type(size) is not int:
            raise ModelError(f"model configuration: {name} holds {size!r}, which is no whole number")
        if type(size) is int and not 1 <= size <= ceiling:
            raise ModelError(f"model configuration: {name} is {size}, outside 1 to {ceiling}")


DEFAULT = ModelConfig()

# The paper's widths at the scales this codec works at (1/8 and coarser); see docs/model.md.
PAPER = ModelConfig(
    feature_channels=256,
    feature_depth=6,
    align_channels=(512, 512),
    align_heads=8,
    align_depth=4,
    token_channels=512,
)
