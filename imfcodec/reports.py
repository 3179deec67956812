"""What `info` and `doctor` show, as plain values to print or to turn into JSON."""

import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imfcodec import __version__, api
from imfcodec.bitstream.container import StreamSummary, list_packets
from imfcodec.bitstream.header import MAGIC
from imfcodec.errors import ImfError
from imfcodec.files import open_input
from imfcodec.frames import AudioTrack
from imfcodec.modelfile import check_model_file
from imfcodec.video.reader import tracks_of
from imfcodec.video.tracks import Track

PACKAGES = (
    *("torch", "onnxruntime", "compressai", "constriction", "av"),
    *("numpy", "safetensors", "pytorch-msssim", "click"),
)

Report = dict[str, Any]


def describe_stream(summary: StreamSummary) -> Report:
    """Everything known about a stream without decoding it: sizes in bytes and kbps, times in seconds."""
    header, video = summary.header, summary.header.format
    return {
        "width": video.width,
        "height": video.height,
        "frame_rate": str(video.frame_rate),
        "variable_rate": header.variable_rate,
        "time_base": str(video.time_base),
        "frames": summary.total_frames,
        "key_frames": summary.key_frames,
        "duration_seconds": summary.duration_seconds,
        "last_duration_seconds": float(summary.last_duration * video.time_base),
        "bytes": summary.size_bytes,
        "kbps": _kbps(summary.size_bytes, summary),
        "kbps_by_kind": {kind: _kbps(count, summary) for kind, count in summary.bytes_by_kind.items()},
        "bytes_by_kind": summary.bytes_by_kind,
        "packets": summary.packets,
        "audio": _describe_audio(header.audio, summary.audio_packets),
        "sample_aspect": str(video.sample_aspect),
        "rotation": video.rotation,
        "colour": asdict(video.colour),
        "model_id": header.model_id.hex(),
        "hash": summary.stream_hash,
    }


def is_stream(path: str | Path) -> bool:
    """Whether a path is to be read as an .imf stream: it is one, or no file that could be anything else."""
    if not os.path.isfile(path):
        return "%" not in Path(path).name
    with open_input(path) as file:
        magic = file.read(len(MAGIC))
    return magic == MAGIC or Path(path).suffix.lower() == ".imf"


def describe_source(path: str | Path) -> Report:
    """The container of a media file, its chapters and its tracks, as far as it says without being decoded."""
    container, chapters, tracks = tracks_of(path)
    return {
        "container": container,
        "bytes": Path(path).stat().st_size if os.path.isfile(path) else None,
        "chapters": chapters,
        "tracks": [_describe_track(track) for track in tracks],
    }


def _describe_track(track: Track) -> Report:
    size = f"{track.width}x{track.height}" if track.width else None
    return {
        "kind": track.kind,
        "number": track.number,
        "codec": track.codec,
        "default": track.default,
        "language": track.language,
        "size": size,
        "frame_rate": None if track.frame_rate is None else str(track.frame_rate),
        "sample_rate": track.sample_rate,
        "channels": track.channels,
        "duration_seconds": track.duration_seconds,
    }


def describe_packets(path: str | Path) -> list[Report]:
    """One row for every packet of a stream: its kind, place, size and frames."""
    with open_input(path) as file:
        return [{**asdict(packet), "kind": packet.kind.name} for packet in list_packets(file)]


def diagnose() -> Report:
    """State of this installation, torch or not; `problem` is None or what is wrong with the weights, in one line."""
    from imfcodec.video.peercodecs import available_peer_codecs

    weights = {row["name"]: _check_weights(row["path"]) for row in api.list_models()}
    faults = [f"{name}: {state}" for name, state in weights.items() if state != "intact"]
    return {
        "imfcodec": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "system": platform.platform(),
        **_engines(),
        "weights": weights,
        "peer_codecs": ", ".join(available_peer_codecs()) or None,
        "problem": "; ".join(faults) or (None if weights else "no weights are installed; install the package again"),
    }


def _engines() -> Report:
    """What there is to compute with; without torch, onnxruntime decodes."""
    packages = {"torch": "torch", "onnx": "onnxruntime"}
    engines = {"engines": ", ".join(name for name, package in packages.items() if find_spec(package)) or None}
    if not find_spec("torch"):
        return {**engines, "threads": os.cpu_count(), "cuda": None}
    import torch

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {**engines, "threads": torch.get_num_threads(), "cuda": cuda}


def _check_weights(path: str) -> str:
    from imfcodec.zoo import load_model

    try:
        if find_spec("torch"):
            load_model(path)
        else:  # what the file says of itself; whether it makes a network only torch can tell
            check_model_file(Path(path))
    except ImfError as error:
        return str(error)
    return "intact"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _describe_audio(audio: AudioTrack | None, packets: int) -> Report | None:
    if audio is None:
        return None
    return {"codec": audio.codec, "sample_rate": audio.sample_rate, "channels": audio.channels, "packets": packets}


def _kbps(byte_count: int, summary: StreamSummary) -> float:
    return byte_count * 8 / 1000 / summary.duration_seconds if summary.duration_seconds else 0.0
