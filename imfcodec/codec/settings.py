"""What the user chooses of the codec itself."""

from dataclasses import dataclass

from imfcodec.bitstream.packet import MAX_CHUNK_FRAMES
from imfcodec.codec.effort import PRESETS
from imfcodec.errors import UsageError

STRUCTURES = ("offline", "low-delay")
# Frames, by structure; until then decodes in float32 and bfloat16 drift apart by less than a level on average.
LONGEST_GROUP = {"offline": 1000, "low-delay": 250}
MAX_WEIGHT = 1000


@dataclass(frozen=True)
class EncoderSettings:
    """What the user chooses.

    Attributes:
        quality: 0..100, higher is better and larger.
        structure: "offline" looks ahead a chunk; "low-delay" sends every frame on its own.
        golden_interval: frames from one golden frame to the next, 1..32; None chooses by measured rate and distortion
            (offline) or by quality (low delay), and tries key frames in their place.
        key_interval: frames after which a new group is opened; None opens one at scene cuts, where it costs less, and
            after 1000 frames, 250 in low delay, which bounds how far decoders drift apart (docs/reliability.md).
        scene_cuts: a scene cut opens a group.
        resilience: groups are as short as golden frames are apart, so that losing a packet harms nothing beyond: in low
            delay a key frame takes the place of every golden frame, offline one follows every chunk. It costs rate.
        preset: how much work goes into it, one of `codec.effort.PRESETS`.
        spatial, temporal: weights of what a preset that refines holds to beside rate and squared error, for less
            flicker, see `codec.consistency`.
        roi_strength: how many times as much squared error counts where a frame's `weight` is 255 as where it is 0,
            1..1000.
    """

    quality: float = 50
    structure: str = "offline"
    golden_interval: int | None = None
    key_interval: int | None = None
    scene_cuts: bool = True
    resilience: bool = False
    preset: str = "medium"
    spatial: float = 0.0
    temporal: float = 0.0
    roi_strength: float = 16.0

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality} is not within 0..100")
        if self.structure not in STRUCTURES:
            raise UsageError(f"structure {self.structure!r} is unknown; use one of: {', '.join(STRUCTURES)}")
        if self.golden_interval is not None and not 1 <= self.golden_interval <= MAX_CHUNK_FRAMES:
            raise UsageError(f"golden interval {self.golden_interval} is not within 1..{MAX_CHUNK_FRAMES}")
        if self.key_interval is not None and self.key_interval < 1:
            raise UsageError(f"key interval {self.key_interval} is not at least 1")
        if self.preset not in PRESETS:
            raise UsageError(f"preset {self.preset!r} is unknown; use one of: {', '.join(PRESETS)}")
        if not 1 <= self.roi_strength <= MAX_WEIGHT:
            raise UsageError(f"--roi-strength {self.roi_strength:g} is not within 1..{MAX_WEIGHT}")
        for name, weight in (("spatial", self.spatial), ("temporal", self.temporal)):
            if not 0 <= weight <= MAX_WEIGHT:
                raise UsageError(f"{name} weight {weight} is not within 0..{MAX_WEIGHT}")
            if weight and not self.refines:
                refining = ", ".join(preset for preset, effort in PRESETS.items() if effort.refines)
                raise UsageError(f"{name} weight {weight} needs a preset that refines; use one of: {refining}")

    @property
    def refines(self) -> bool:
        """Whether the preset refines frames."""
        return PRESETS[self.preset].refines

    @property
    def longest_group(self) -> int:
        """Frames after which a new group is opened at the latest."""
        return self.key_interval or LONGEST_GROUP[self.structure]
