"""Key frames alone: bytes and PSNR-Y of the first frames of clips, beside another codec's.

    python benchmarks/key_frames.py CLIPS --peer svt-av1-p2

Ours are whole payloads of key frames by quantiser index, decoded again; the other codec's are the packets of a video of
one frame.
Prints the mean of the clips, what more bytes ours take at equal PSNR, and BD-rate between the mean curves; with
`--unrounded` also what PSNR-Y the networks reach where y is not rounded at all.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import bjontegaard
import numpy as np
import torch

from imfcodec.codec.planes import to_frames, to_picture
from imfcodec.evaluation.quality import psnr
from imfcodec.evaluation.sweep import find_clips, read_clip
from imfcodec.frames import Frame, VideoFormat
from imfcodec.latents.symbols import SymbolReader, SymbolWriter
from imfcodec.models.alignment import Aligned
from imfcodec.models.executor import Executor
from imfcodec.nn.quantize import qindex_fraction
from imfcodec.video.peercodecs import decode_with_peer, encode_with_peer
from imfcodec.zoo import LoadedModel, load_model

QINDICES = (50, 80, 110, 140, 170, 200, 230)
CRFS = (63, 58, 52, 46, 40, 34, 28)
Code = Callable[[Frame, VideoFormat, int], tuple[int, Frame]]
"""Bytes of a frame at a level, and the frame as decoded."""


def our_key_frame(model: LoadedModel, frame: Frame, video: VideoFormat, qindex: int) -> tuple[int, Frame]:
    """Code a key frame and read its payload back."""
    picture, level = to_picture([frame], model.device), torch.tensor([qindex], device=model.device)
    with torch.inference_mode(), model.autocast():
        writer = SymbolWriter(model.tables)
        Executor(model.network, writer).key(level, picture, picture)
        payload = writer.finish(check=True)
        known = Executor(model.network, SymbolReader(model.tables, payload)).key(level, picture, None)
    assert known.reference is not None, "key frames are references"
    return len(payload), to_frames(known.reference.picture, video.width, video.height, [frame.pts])[0]


def unrounded_psnr(model: LoadedModel, frame: Frame, qindex: int) -> float:
    """PSNR-Y of a key frame whose y is decoded as it was encoded, without rounding: the networks' own loss."""
    picture, level = to_picture([frame], model.device), torch.tensor([qindex], device=model.device)
    nothing = Aligned.nothing(picture, model.network.config)
    with torch.inference_mode(), model.autocast():
        y = model.network.dense_feature_encoder(picture, nothing.picture, qindex_fraction(level))
        shown = model.network.decode_reference(y, nothing, level)
    height, width = frame.y.shape
    return psnr(frame.y, to_frames(shown, width, height, [frame.pts])[0].y)


def peer_key_frame(name: str, frame: Frame, video: VideoFormat, crf: int) -> tuple[int, Frame]:
    """Code a video of one frame with another codec."""
    packets = encode_with_peer(name, [frame], video.frame_rate, crf)
    return sum(map(len, packets)), decode_with_peer(name, packets)[0]


def measure(firsts: list[tuple[Frame, VideoFormat]], code: Code, levels: tuple[int, ...]) -> list[tuple[float, float]]:
    """Mean bytes and PSNR-Y at each level, by rising bytes."""
    points = []
    for level in levels:
        coded = [(frame, *code(frame, video, level)) for frame, video in firsts]
        points.append((np.mean([size for _, size, _ in coded]), np.mean([psnr(a.y, b.y) for a, _, b in coded])))
    return sorted((float(size), float(quality)) for size, quality in points)


def excess(ours: list[tuple[float, float]], peer: list[tuple[float, float]]) -> dict[int, float]:
    """How much more bytes the first curve takes at every second dB that both reach, interpolated in log bytes.

    Returns:
        {dB: share}, 0 where both take the same.
    """
    curves = [
        tuple(zip(*((quality, np.log(size)) for size, quality in points), strict=True)) for points in (ours, peer)
    ]
    low, high = max(q[0] for q, _ in curves), min(q[-1] for q, _ in curves)
    return {
        level: float(np.exp(np.interp(level, *curves[0]) - np.interp(level, *curves[1])) - 1)
        for level in range(int(np.ceil(low)), int(high) + 1, 2)
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of videos")
    parser.add_argument("--peer", default="svt-av1-p2", help="name of a general codec (svt-av1-p2)")
    parser.add_argument("--model", help="name or path (the default model)")
    parser.add_argument("--unrounded", action="store_true", help="what the networks reach without rounding, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    firsts = [(frames[0], video) for frames, video in (read_clip(clip, 1) for clip in find_clips(arguments.clips))]
    model = load_model(arguments.model)
    ours = measure(firsts, lambda *args: our_key_frame(model, *args), QINDICES)
    peer = measure(firsts, lambda *args: peer_key_frame(arguments.peer, *args), CRFS)
    for name, points in (("imfcodec", ours), (arguments.peer, peer)):
        print(f"{name}: " + ", ".join(f"{size:.0f}/{quality:.1f}" for size, quality in points))
    print("more bytes at equal PSNR-Y: " + ", ".join(f"{db} dB {s:+.0%}" for db, s in excess(ours, peer).items()))
    if arguments.unrounded:
        means = [np.mean([unrounded_psnr(model, frame, qindex) for frame, _ in firsts]) for qindex in QINDICES]
        print("y not rounded: " + ", ".join(f"{mean:.1f}" for mean in means) + " dB")
    rates, qualities = zip(*(zip(*points, strict=True) for points in (peer, ours)), strict=True)
    change = bjontegaard.bd_rate(
        rates[0], qualities[0], rates[1], qualities[1], method="pchip", require_matching_points=False, min_overlap=0
    )
    print(f"BD-rate on PSNR-Y of imfcodec against {arguments.peer}: {change:+.1f} %")


if __name__ == "__main__":
    main()
