"""How decoded pictures are coded for the programs of others."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import av

from imfcodec.errors import UsageError

CODECS = ("h264", "hevc", "av1", "ffv1")
_QUIET_HEVC = "log-level=error"


@dataclass(frozen=True)
class VideoCoding:
    """What the user chooses.

    Attributes:
        codec: one of CODECS; None is that of the kind of file, H.264 in .mp4 and FFV1, lossless, in .mkv.
        crf: constant rate factor, 0 (best) to 51, of AV1 to 63; None is visually lossless.
    Raises:
        UsageError: a value out of range.
    """

    codec: str | None = None
    crf: int | None = None

    def __post_init__(self) -> None:
        if self.codec is not None and self.codec not in CODECS:
            raise UsageError(f"--codec {self.codec} is unknown; use one of {', '.join(CODECS)}")
        if self.crf is not None and self.codec not in (None, "ffv1"):
            highest = _ENCODERS[self.codec].max_crf
            if not 0 <= self.crf <= highest:
                raise UsageError(f"--crf {self.crf} is outside 0 to {highest} of {self.codec}")


@dataclass(frozen=True)
class PictureEncoder:
    """One of FFmpeg's encoders.

    Attributes:
        name: FFmpeg's.
        options: for it, the rate factor among them.
        even: it takes sides of an even number of pixels only.
        smallest: pixels a side must have at least.
        max_crf: largest rate factor.
        tag: name of the codec in .mp4, where players want another than FFmpeg's.
    """

    name: str
    options: Mapping[str, str]
    even: bool = True
    smallest: int = 1
    max_crf: int = 51
    tag: str | None = None


_ENCODERS = {
    "h264": PictureEncoder("libx264", {"preset": "medium", "crf": "10"}),
    "hevc": PictureEncoder("libx265", {"preset": "medium", "crf": "12", "x265-params": _QUIET_HEVC}, tag="hvc1"),
    "av1": PictureEncoder("libsvtav1", {"preset": "6", "crf": "15"}, smallest=64, max_crf=63),
    "ffv1": PictureEncoder("ffv1", {"level": "3"}, even=False),
}
_USUAL = {".mp4": "h264", ".mkv": "ffv1"}


def picture_encoder(coding: VideoCoding, suffix: str, width: int, height: int, name: str) -> PictureEncoder:
    """The encoder for pictures that go into a file.

    Args:
        coding: what is wanted.
        suffix: of the file, ".mp4" or ".mkv".
        width, height: of the pictures.
        name: the file's, for errors.
    Raises:
        UsageError: the file cannot hold this codec, FFmpeg here has no encoder for it, or it cannot do such pictures.
    """
    codec = coding.codec or _USUAL[suffix]
    encoder = _ENCODERS[codec]
    if codec == "ffv1" and suffix == ".mp4":
        raise UsageError(f"{name}: .mp4 holds no FFV1; name an .mkv file")
    if codec == "ffv1" and coding.crf is not None:
        raise UsageError(f"{name}: FFV1 is lossless and takes no --crf; choose h264, hevc or av1 with --codec")
    if encoder.name not in av.codecs_available:
        raise UsageError(f"{name}: FFmpeg here has no {encoder.name}; choose another --codec")
    if min(width, height) < encoder.smallest:
        raise UsageError(f"{name}: {codec} takes no pictures of {width}x{height}; choose another --codec")
    options = dict(encoder.options)
    if coding.crf is not None:
        VideoCoding(codec, coding.crf)  # the range is that of the codec the file has chosen
        options["crf"] = str(coding.crf)
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings on stderr otherwise
    return PictureEncoder(
        encoder.name,
        options,
        encoder.even,
        encoder.smallest,
        encoder.max_crf,
        encoder.tag if suffix == ".mp4" else None,
    )
