"""Codecs under comparison behind one interface: frames to packets, packets to frames.

An adapter for another codec is a class with two methods; `ssf2020.py` is one, in about thirty lines. `find_codec` and
`imfcodec bench --codecs` take it as "package.module:Class".
"""

import importlib
import math
import os
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imfcodec import api
from imfcodec.errors import ImfError, UsageError
from imfcodec.evaluation.report import CODEC
from imfcodec.frames import Frame, VideoFormat
from imfcodec.video.peercodecs import available_peer_codecs, decode_with_peer, encode_with_peer
from imfcodec.video.reader import open_clip
from imfcodec.video.scaling import rescale
from imfcodec.video.writer import open_writer

QUALITIES = (5, 20, 35, 45, 60)
"""Qualities of imfcodec, about 4 to 50 kbps on talking heads at 256x256."""

PEER_LEVELS: Mapping[str, tuple[int, ...]] = {
    "x264": (51, 46, 41, 36, 31),
    "x265": (51, 46, 41, 36, 31),
    "vp9": (63, 59, 54, 48, 42),
    "svt-av1-p4": (63, 58, 52, 46, 40),
    "svt-av1-p2": (63, 58, 52, 46, 40),
}
"""Constant rate factors, from the largest there is to some 40 kbps on talking heads at 256x256."""

DOWNSCALED = ("x265@1/2", "x265@1/4", "svt-av1-p2@1/2", "svt-av1-p2@1/4")
_FACTORS = {"1/2": 2, "1/4": 4}


class Codec(ABC):
    """A video codec with its settings.

    Attributes:
        name: as it stands in tables.
        levels: settings by rising rate, five as a rule.
        dial: what comes before the level in tables, e.g. "crf".
        model: start of the id of the weights, hexadecimal; "-" without any.
    """

    name: str
    levels: tuple[int, ...]
    dial: str = "q"
    model: str = "-"

    @abstractmethod
    def encode(self, frames: Sequence[Frame], video: VideoFormat, level: int) -> list[bytes]:
        """Encode a clip with one thread.

        Args:
            frames: pictures of one size, at least one, evenly spaced.
            video: their format.
            level: one of `levels`, or another value the codec takes.
        Returns:
            Packets, all the decoder gets; their total length is the rate.
        Raises:
            ImfError: the codec cannot code this.
        """

    @abstractmethod
    def decode(self, packets: list[bytes], video: VideoFormat) -> list[Frame]:
        """Decode with one thread: as many frames of the same size as went in; time stamps are not looked at."""

    def setting(self, level: int) -> str:
        """A level as it stands in tables."""
        return f"{self.dial}{level}"


class ImfCodec(Codec):
    """Our codec as a user meets it: the packet is a whole .imf file without sound, decoded in a fresh process."""

    name = CODEC

    def __init__(self, levels: Sequence[int] = QUALITIES) -> None:
        self.levels = tuple(levels)
        self.model = default_model_id()

    def encode(self, frames: Sequence[Frame], video: VideoFormat, level: int) -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            source, stream = Path(folder) / "source.y4m", Path(folder) / "stream.imf"
            write_clip(source, frames, video)
            api.encode(source, stream, quality=level, audio="none", device="cpu", threads=1)
            return [stream.read_bytes()]

    def decode(self, packets: list[bytes], video: VideoFormat) -> list[Frame]:
        with tempfile.TemporaryDirectory() as folder:
            stream, target = Path(folder) / "stream.imf", Path(folder) / "decoded.y4m"
            stream.write_bytes(b"".join(packets))
            decode_in_fresh_process(stream, target)
            with open_clip(target, audio=False) as clip:
                return list(clip.frames())


class GeneralCodec(Codec):
    """One of `PEER_CODECS`, at constant rate factors."""

    dial = "crf"

    def __init__(self, name: str) -> None:
        self.name = name
        self.levels = PEER_LEVELS[name]

    def encode(self, frames: Sequence[Frame], video: VideoFormat, level: int) -> list[bytes]:
        return encode_with_peer(self.name, frames, video.frame_rate, level)

    def decode(self, packets: list[bytes], video: VideoFormat) -> list[Frame]:
        return decode_with_peer(self.name, packets)


class Downscaled(Codec):
    """A codec that works at 1/2 or 1/4 of the width and height, scaled by `video.scaling.rescale` both ways.

    Constant rate factors reach as low as the codec's own, and the smaller the picture, the higher: rates stay about the
    same.
    """

    def __init__(self, codec: Codec, factor: int) -> None:
        self.codec, self.factor = codec, factor
        self.name = f"{codec.name}@1/{factor}"
        self.dial, self.model = codec.dial, codec.model
        lowest, stretch = codec.levels[0], 1 + math.log2(factor) / 2 if codec.dial == "crf" else 1
        self.levels = tuple(round(lowest + stretch * (level - lowest)) for level in codec.levels)

    def encode(self, frames: Sequence[Frame], video: VideoFormat, level: int) -> list[bytes]:
        small = self._small(video)
        return self.codec.encode(rescale(frames, small.width, small.height), small, level)

    def decode(self, packets: list[bytes], video: VideoFormat) -> list[Frame]:
        return rescale(self.codec.decode(packets, self._small(video)), video.width, video.height)

    def _small(self, video: VideoFormat) -> VideoFormat:
        width, height = (2 * max(1, round(side / (2 * self.factor))) for side in (video.width, video.height))
        return replace(video, width=width, height=height)


@dataclass(frozen=True)
class CodecRun:
    """What a codec made of a clip.

    Attributes:
        packets: the coded clip.
        frames: the decoded clip.
        encode_seconds, decode_seconds: wall time.
    """

    packets: list[bytes]
    frames: list[Frame]
    encode_seconds: float
    decode_seconds: float

    @property
    def byte_count(self) -> int:
        """Coded size."""
        return sum(map(len, self.packets))


def run_codec(codec: Codec, frames: Sequence[Frame], video: VideoFormat, level: int) -> CodecRun:
    """Encode and decode a clip.

    Raises:
        ImfError: the codec fails, or does not give back as many frames of the same size.
    """
    start = time.perf_counter()
    packets = codec.encode(frames, video, level)
    encoded = time.perf_counter()
    decoded = codec.decode(packets, video)
    end = time.perf_counter()
    if [frame.y.shape for frame in decoded] != [frame.y.shape for frame in frames]:
        raise ImfError(f"{codec.name} {codec.setting(level)} does not give back {len(frames)} frames of the same size")
    return CodecRun(packets, decoded, encoded - start, end - encoded)


def default_codecs() -> list[str]:
    """Names of what a benchmark compares: imfcodec, the general codecs this FFmpeg has, and DOWNSCALED."""
    peers = available_peer_codecs()
    return [CODEC, *peers, *(name for name in DOWNSCALED if name.partition("@")[0] in peers)]


def find_codec(name: str) -> Codec:
    """The codec of a name.

    Args:
        name: "imfcodec"; a general codec, e.g. "x265"; any of them downscaled, e.g. "x265@1/2"; or an adapter's class
            as "package.module:Class", with an argument for it as "package.module:Class=ARGUMENT".
    Raises:
        UsageError: there is no such codec, or not in this build of FFmpeg.
    """
    if ":" in name:
        return _import_codec(name)
    base, _, fraction = name.partition("@")
    if fraction in _FACTORS:
        return Downscaled(find_codec(base), _FACTORS[fraction])
    if name == CODEC:
        return ImfCodec()
    if name not in available_peer_codecs():
        known = ", ".join((CODEC, *available_peer_codecs()))
        raise UsageError(f"no codec '{name}' here; choose from {known}, one of them with @1/2 or @1/4, or MODULE:CLASS")
    return GeneralCodec(name)


def write_clip(path: Path, frames: Sequence[Frame], video: VideoFormat) -> None:
    """Write a clip; `video.writer.open_writer` says what the suffix means."""
    with open_writer(path, video, overwrite=True) as writer:
        for frame in frames:
            writer.write(frame)


def default_model_id() -> str:
    """First 8 hexadecimal digits of the default model's id."""
    return next(str(model["model_id"]) for model in api.list_models() if model["default"])[:8]


def decode_in_fresh_process(stream: Path, target: Path) -> None:
    """Decode a stream with the command line in its own process, one thread; ImfError with its message if it fails."""
    command = [sys.executable, "-m", "imfcodec", "decode", str(stream), str(target)]
    command += ["--device", "cpu", "--threads", "1", "--progress", "none"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise ImfError(f"decode failed with exit code {result.returncode}: {result.stderr.strip()}")


def _import_codec(name: str) -> Codec:
    place, has_argument, argument = name.partition("=")
    module, _, attribute = place.partition(":")
    try:
        codec = getattr(importlib.import_module(module), attribute)(*([argument] if has_argument else []))
    except (ImportError, AttributeError, TypeError) as error:
        raise UsageError(f"no codec can be made of {name}: {error}") from error
    if not isinstance(codec, Codec):
        raise UsageError(f"{name} is no imfcodec.evaluation.codecs.Codec; derive it from that class")
    return codec
