"""The model configuration: every width, depth and scale, frozen. Weights carry the one they were made with."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from imfcodec.errors import ModelError

ARCHITECTURE = 2
"""Number of what the fields below do not say: the kinds of layers and their order. Release 0.2 has architecture 1."""
MAX_WIDTH = 1024
MAX_DEPTH = 32
MAX_PARTS = 16
LEAST_GRID_CHANNELS = 5


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decoding depends on beside the weights.

    Attributes:
        latent_channels: channels of y at 1/16 scale, a multiple of 4.
        latent_blocks: gated blocks on each side of y at 1/16 scale.
        reference_channels, reference_depth: width and gated blocks of analysis and synthesis of y at 1/8 scale.
        hyper_channels: channels of z at 1/64 scale.
        context_channels, context_depth: width and gated blocks of the network that predicts the mean of y.
        integer_channels: hidden width of the integer networks that select probability tables.
        context_limit: symbols are clipped to this magnitude where they serve as context.
        frame_channels, frame_depth: width and gated blocks of the decoder of token frames at 1/8 scale.
        align_channels: width of features, motion features and attention at 1/32 and 1/16 scale.
        align_heads: attention heads.
        align_depth: transformer blocks after each cross-attention.
        wavelengths: of the position code, in cells.
        gate_channels: width of the network that mixes moved copies.
        global_channels: values of the global token g (d_m in the paper).
        grid_channels: values of each local token u, at least 5: four are displacements, the fifth mixes two references.
        token_channels: width of the token encoder's stages.
        quality_knots: points at which the learned quantisation steps are stored; between them they are interpolated.
    """

    latent_channels: int = 224
    latent_blocks: int = 1
    reference_channels: int = 96
    reference_depth: int = 4
    hyper_channels: int = 12
    context_channels: int = 96
    context_depth: int = 2
    integer_channels: int = 64
    context_limit: int = 7
    frame_channels: int = 96
    frame_depth: int = 4
    align_channels: tuple[int, int] = (96, 96)
    align_heads: int = 4
    align_depth: int = 1
    wavelengths: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
    gate_channels: int = 48
    global_channels: int = 32
    grid_channels: int = 8
    token_channels: int = 96
    quality_knots: int = 6

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_field(field.name, getattr(self, field.name), field.default)
        if self.latent_channels % 4:
            raise ModelError(f"latent_channels {self.latent_channels} is not a multiple of 4")
        if self.grid_channels < LEAST_GRID_CHANNELS:
            raise ModelError(f"grid_channels {self.grid_channels} is less than {LEAST_GRID_CHANNELS}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the number of the architecture."""
        return {"architecture": ARCHITECTURE, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Inverse of `to_dict`.

        Raises:
            ModelError: a field is missing, unknown or inconsistent, or it is of another architecture.
        """
        if not isinstance(values, dict):
            raise ModelError(f"model configuration is {values!r}, not a table")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        architecture = plain.pop("architecture", 1)
        if architecture != ARCHITECTURE:
            known = "release 0.2 of imfcodec reads it" if architecture == 1 else "use a later release of imfcodec"
            raise ModelError(f"the model is of architecture {architecture}, this version knows {ARCHITECTURE}; {known}")
        try:
            return cls(**plain)
        except (TypeError, AttributeError) as error:
            raise ModelError(f"model configuration does not fit this version of imfcodec: {error}") from None


def _check_field(name: str, value: Any, default: Any) -> None:
    """Bound a field before memory is taken for it; ModelError where it is out of range or of another kind."""
    if type(value) is not type(default):
        raise ModelError(f"model configuration: {name} is {value!r}, not of the kind of {default!r}")
    sizes = value if isinstance(value, tuple) else (value,)
    if len(sizes) > MAX_PARTS:
        raise ModelError(f"model configuration: {name} has {len(sizes)} parts, more than {MAX_PARTS}")
    kind = type(default[0] if isinstance(default, tuple) else default)
    least, most = (0, MAX_DEPTH) if "depth" in name else (1, MAX_WIDTH)
    for size in sizes:
        if not isinstance(size, int | float) or type(size) is not kind or not least <= size <= most:
            raise ModelError(f"model configuration: {name} is {size!r}, not of kind {kind.__name__}, {least} to {most}")


DEFAULT = ModelConfig()

# The paper's widths at the scales this codec works at (1/8 and coarser); see docs/model.md.
PAPER = ModelConfig(
    reference_channels=256,
    frame_channels=256,
    frame_depth=6,
    align_channels=(512, 512),
    align_heads=8,
    align_depth=4,
    token_channels=512,
)
