"""What a stream decodes to, as the manifest states it: symbols exactly, pixels by hash and by samples."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

from imfcodec.bitstream.container import StreamReader
from imfcodec.bitstream.packet import LostPacket, VideoPacket
from imfcodec.codec.decoder import Decoder
from imfcodec.entropy.coder import CodingTables, Integers, RangeDecoder
from imfcodec.frames import Frame
from imfcodec.light.decoder import LightDecoder
from imfcodec.light.model import LightModel
from imfcodec.zoo import LoadedModel

SAMPLES = 5  # rows and columns of the samples taken of each plane


@dataclass(frozen=True)
class Replay:
    """What came out of a stream.

    Attributes:
        symbols: of each video packet: its splits, then its symbols, in coding order.
        frames: in display order.
        last_duration: ticks the last frame is shown.
    """

    symbols: list[list[int]]
    frames: list[Frame]
    last_duration: int


def replay(data: bytes, model: LoadedModel | LightModel, *, conceal: bool = False) -> Replay:
    """Decode a stream with torch or with an exported model; errors are the decoder's."""
    reader = StreamReader(io.BytesIO(data), conceal=conceal)
    video = (item for item in reader if isinstance(item, VideoPacket | LostPacket))
    with _recorded_symbols() as symbols:
        decoder = (LightDecoder if isinstance(model, LightModel) else Decoder)(model, reader.header, conceal=conceal)
        frames = list(decoder.decode(video))
    return Replay(symbols, frames, reader.last_duration or 0)


@contextmanager
def _recorded_symbols() -> Iterator[list[list[int]]]:
    packets: list[list[int]] = []

    class Recorder(RangeDecoder):
        def __init__(self, payload: bytes, *, check: bool = True) -> None:
            super().__init__(payload, check=check)
            self._log: list[int] = []
            packets.append(self._log)

        def decode(self, rows: Integers, tables: CodingTables) -> Integers:
            symbols = super().decode(rows, tables)
            self._log.extend(symbols.tolist())
            return symbols

        def decode_flag(self) -> bool:
            self._log.append(int(flag := super().decode_flag()))
            return flag

    users = ("imfcodec.latents.symbols", "imfcodec.light.decoder")
    with mock.patch(f"{users[0]}.RangeDecoder", Recorder), mock.patch(f"{users[1]}.RangeDecoder", Recorder):
        yield packets


def describe(result: Replay) -> dict[str, Any]:
    """The manifest's fields of a stream that decodes."""
    return {
        "packets": [hash_of_symbols(symbols) for symbols in result.symbols],
        "pts": [frame.pts for frame in result.frames],
        "last_duration": result.last_duration,
        "frames": [
            {"hash": hash_of_frame(frame), "mean": means(frame), "samples": samples(frame).tobytes().hex()}
            for frame in result.frames
        ],
    }


def hash_of_symbols(symbols: Sequence[int]) -> str:
    """16 hexadecimal digits: the start of the SHA-256 of the symbols as little-endian 32-bit integers."""
    return hashlib.sha256(np.array(symbols, "<i4").tobytes()).hexdigest()[:16]


def hash_of_frame(frame: Frame) -> str:
    """16 hexadecimal digits: the start of the SHA-256 of Y, U and V, row by row."""
    return hashlib.sha256(b"".join(plane.tobytes() for plane in (frame.y, frame.u, frame.v))).hexdigest()[:16]


def means(frame: Frame) -> list[float]:
    """Mean of each plane."""
    return [round(float(plane.mean()), 2) for plane in (frame.y, frame.u, frame.v)]


def samples(frame: Frame) -> np.ndarray:
    """Of each plane those in rows (2 i + 1) h // 10 and columns (2 j + 1) w // 10, i and j in 0..4; uint8 [75]."""
    return np.concatenate(
        [plane[np.ix_(*map(_places, plane.shape))].reshape(-1) for plane in (frame.y, frame.u, frame.v)]
    )


def _places(size: int) -> list[int]:
    return [(2 * i + 1) * size // (2 * SAMPLES) for i in range(SAMPLES)]


def differences(entry: dict[str, Any], result: Replay, dtype: str) -> list[str]:
    """What does not agree with the manifest, one line each.

    Args:
        entry: of the stream. Where a frame's hash does not agree, its samples and means may differ by its tolerance.
        dtype: arithmetic of the networks, "float32" or "bfloat16".
    """
    found, tolerance = describe(result), entry["tolerance"][dtype]
    names = ("packets", "pts", "last_duration")
    lines = [f"{name}: {found[name]} instead of {entry[name]}" for name in names if found[name] != entry[name]]
    if len(found["frames"]) != len(entry["frames"]):
        return [*lines, f"{len(found['frames'])} frames instead of {len(entry['frames'])}"]
    for number, (ours, theirs) in enumerate(zip(found["frames"], entry["frames"], strict=True)):
        if ours["hash"] != theirs["hash"] and (error := _distance(ours, theirs)) > tolerance:
            lines.append(f"frame {number} differs by {error} levels")
    return lines


def _distance(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Largest difference of samples and of means, levels."""
    a, b = (np.frombuffer(bytes.fromhex(frame["samples"]), np.uint8).astype(int) for frame in (ours, theirs))
    return max(int(abs(a - b).max()), *(abs(x - y) for x, y in zip(ours["mean"], theirs["mean"], strict=True)))
