"""What a caller may choose of an encode: one class for the functions, the objects and the command line."""

import re
from dataclasses import dataclass, field

from imfcodec.codec.settings import EncoderSettings
from imfcodec.errors import UsageError
from imfcodec.video.editing import Edits
from imfcodec.video.reader import RawSpec, SourceOptions


@dataclass(frozen=True)
class EncodeOptions(EncoderSettings):
    """Everything that may be chosen of an encode; what concerns the codec alone stands in `EncoderSettings`.

    A new option is a field here or there, checked in `__post_init__`, and a `click.option` of the same name in
    `cli/encoding.py`.

    Attributes:
        quality, structure, golden_interval, key_interval: see `EncoderSettings`.
        audio: "copy", "none", "opus" or "opus:RATE" with RATE in bits per second, e.g. "opus:12k". What cannot be
            copied is coded with Opus.
        raw: format of headerless .yuv input.
        source_options: tracks to take, what to do about damage and interlacing.
        verify: whether to decode what is written and compare it with what was meant, before the target gets its name.
        edits: the part of the source to take, and what to make of its frames.
    Raises:
        UsageError: a value out of range.
    """

    audio: str = "copy"
    raw: RawSpec | None = None
    source_options: SourceOptions = field(default_factory=SourceOptions)
    verify: bool = False
    edits: Edits = field(default_factory=Edits)

    def __post_init__(self) -> None:
        super().__post_init__()
        _parse_audio(self.audio)

    @property
    def opus_bitrate(self) -> int | None:
        """Bits per second of "opus:RATE"; None where no rate is given."""
        return _parse_audio(self.audio)


def _parse_audio(audio: str) -> int | None:
    if audio in ("copy", "none", "opus"):
        return None
    match = re.fullmatch(r"opus:(\d{1,6})(k?)", audio)
    if not match:
        raise UsageError(f"audio {audio!r} is unknown; use copy, none, opus or opus:RATE, e.g. opus:12k")
    return int(match[1]) * (1000 if match[2] else 1)
