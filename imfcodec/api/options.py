"""What a caller may choose of an encode: one class for the functions, the objects and the command line."""

import re
from dataclasses import dataclass, field

from imfcodec.codec.settings import EncoderSettings
from imfcodec.codec.sizes import AUTO, check_coded_size
from imfcodec.codec.targets import KINDS, Target
from imfcodec.errors import UsageError
from imfcodec.video.editing import Edits
from imfcodec.video.reader import RawSpec, SourceOptions
from imfcodec.video.regions import check_regions

MAX_FPS, MAX_VBV = 1000, 10**9


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
        bitrate, target_size, target_psnr, target_ssim, target_xpsnr, target_vmaf: what the stream is to come to, in
            place of `quality`, one of them at most: bits per second or bytes, everything included, or the mean likeness
            of luma over the frames. It takes several passes, but for a bitrate in low delay.
        vbv: bits that may wait to be sent, with a bitrate in low delay; None is one second.
        coded_size: "auto", WIDTHxHEIGHT or a share of the source's size, "1/2" or "1"; see `codec.sizes`.
        min_fps: frames per second below which "auto" takes no larger size; None for any speed.
        roi: places that count more than others, by `roi_strength`: rectangles "x,y,width,height" in luma pixels of the
            frames as they are coded at full size, or "face", or the path of a mask, whose grey level is the weight.
        verify: whether to decode what is written and compare it with what was meant, before the target gets its name.
        edits: the part of the source to take, and what to make of its frames.
    Raises:
        UsageError: a value out of range.
    """

    audio: str = "copy"
    raw: RawSpec | None = None
    source_options: SourceOptions = field(default_factory=SourceOptions)
    bitrate: float | None = None
    target_size: float | None = None
    target_psnr: float | None = None
    target_ssim: float | None = None
    target_xpsnr: float | None = None
    target_vmaf: float | None = None
    vbv: float | None = None
    coded_size: str = AUTO
    min_fps: float | None = None
    roi: tuple[str, ...] = ()
    verify: bool = False
    edits: Edits = field(default_factory=Edits)

    def __post_init__(self) -> None:
        super().__post_init__()
        _parse_audio(self.audio)
        check_coded_size(self.coded_size)
        check_regions(self.roi)
        _ = self.target  # checks them
        if self.min_fps is not None and not 0 < self.min_fps <= MAX_FPS:
            raise UsageError(f"--min-fps {self.min_fps} is not within 0..{MAX_FPS} frames per second")
        if self.vbv is not None and not (self.is_one_pass and 0 < self.vbv <= MAX_VBV):
            raise UsageError(
                f"--vbv {self.vbv:.0f} needs --bitrate and --structure low-delay, and lies within 1..{MAX_VBV} bits"
            )

    @property
    def target(self) -> Target | None:
        """What is asked for in place of a quality."""
        asked = [Target(name, value) for name in KINDS if (value := getattr(self, _field_of(name))) is not None]
        if len(asked) > 1:
            raise UsageError(f"{asked[0].kind.option} and {asked[1].kind.option} exclude each other; give one target")
        return asked[0] if asked else None

    @property
    def is_one_pass(self) -> bool:
        """Whether a target is kept to as the frames come: a bitrate in low delay."""
        return self.structure == "low-delay" and self.target is not None and self.target.name == "bitrate"

    @property
    def opus_bitrate(self) -> int | None:
        """Bits per second of "opus:RATE"; None where no rate is given."""
        return _parse_audio(self.audio)


def _field_of(target: str) -> str:
    return target if target == "bitrate" else f"target_{target}"


def _parse_audio(audio: str) -> int | None:
    if audio in ("copy", "none", "opus"):
        return None
    match = re.fullmatch(r"opus:(\d{1,6})(k?)", audio)
    if not match:
        raise UsageError(f"audio {audio!r} is unknown; use copy, none, opus or opus:RATE, e.g. opus:12k")
    return int(match[1]) * (1000 if match[2] else 1)
