"""What the user chooses of the codec itself."""

from dataclasses import dataclass

from imfcodec.bitstream.packet import MAX_CHUNK_FRAMES
from imfcodec.errors import UsageError

STRUCTURES = ("offline", "low-delay")


@dataclass(frozen=True)
class EncoderSettings:
    """What the user chooses.

    Attributes:
        quality: 0..100, higher is better and larger.
        structure: "offline" looks ahead a chunk; "low-delay" sends every frame on its own.
        golden_interval: frames from one golden frame to the next, 1..32; None chooses by measured rate and distortion
            (offline) or by quality (low delay).
        key_interval: frames after which a new group is opened; None opens one at scene cuts and after
            1000 frames, 250 in low delay, which bounds how far decoders drift apart (docs/reliability.md).
    """

    quality: float = 50
    structure: str = "offline"
    golden_interval: int | None = None
    key_interval: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality} is not within 0..100")
        if self.structure not in STRUCTURES:
            raise UsageError(f"structure {self.structure!r} is unknown; use one of: {', '.join(STRUCTURES)}")
        if self.golden_interval is not None and not 1 <= self.golden_interval <= MAX_CHUNK_FRAMES:
            raise UsageError(f"golden interval {self.golden_interval} is not within 1..{MAX_CHUNK_FRAMES}")
        if self.key_interval is not None and self.key_interval < 1:
            raise UsageError(f"key interval {self.key_interval} is not at least 1")
