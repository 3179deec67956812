"""CompressAI's `ssf2020` (Agustsson et al., "Scale-space flow for end-to-end optimized video compression", 2020).

An example of an adapter: another codec beside ours in about thirty lines. `imfcodec bench --codecs` takes it as
"imfcodec.evaluation.ssf2020:Ssf2020", with random weights, which show no more than that the adapter works, or as
"imfcodec.evaluation.ssf2020:Ssf2020=CHECKPOINT" with one of CompressAI's files.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from compressai.models.video import ScaleSpaceFlow
from compressai.ops import compute_padding
from compressai.transforms.functional import rgb2ycbcr, ycbcr2rgb, yuv_420_to_444, yuv_444_to_420
from compressai.zoo.pretrained import load_pretrained
from torch import Tensor

from imfcodec.evaluation.codecs import Codec
from imfcodec.frames import Frame, VideoFormat
from imfcodec.nn.state import read_state

KINDS = ("motion", "residual")
ALIGNMENT = 128  # luma pixels; sixteen of them are one place of y, all of them one of z


class Ssf2020(Codec):
    """One checkpoint is one rate: a single level. Without a checkpoint the weights are random, drawn with seed 0."""

    levels = (0,)

    def __init__(self, checkpoint: str | None = None) -> None:
        self._checkpoint = checkpoint
        self.name = f"ssf2020 {Path(checkpoint).stem}" if checkpoint else "ssf2020 untrained"

    @cached_property
    def _network(self) -> ScaleSpaceFlow:
        torch.manual_seed(0)
        network = ScaleSpaceFlow()
        if self._checkpoint:
            network.load_state_dict(load_pretrained(read_state(self._checkpoint, "a file of CompressAI's ssf2020")))
        network.update(force=True)
        return network.eval()

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame], video: VideoFormat, level: int) -> list[bytes]:
        padding, _ = compute_padding(video.height, video.width, min_div=ALIGNMENT)
        pictures = [F.pad(_to_rgb(frame), padding, mode="replicate") for frame in frames]
        (key, *others), _ = self._network.compress(pictures)
        return [part[0] for part in [*key, *(part for other in others for kind in KINDS for part in other[kind])]]

    @torch.inference_mode()
    def decode(self, packets: list[bytes], video: VideoFormat) -> list[Frame]:
        _, cropping = compute_padding(video.height, video.width, min_div=ALIGNMENT)
        shape = (-(-video.height // ALIGNMENT), -(-video.width // ALIGNMENT))
        pairs = [[[y], [z]] for y, z in zip(packets[::2], packets[1::2], strict=True)]
        inter = [dict(zip(KINDS, pair, strict=True)) for pair in zip(pairs[1::2], pairs[2::2], strict=True)]
        pictures = self._network.decompress([pairs[0], *inter], [shape, *(dict.fromkeys(KINDS, shape) for _ in inter)])
        return [_to_frame(F.pad(picture, cropping), pts) for pts, picture in enumerate(pictures)]


def _to_rgb(frame: Frame) -> Tensor:
    """Float32 [1, 3, H, W], 0..1, from limited-range BT.709 with even sides."""
    y, u, v = (torch.from_numpy(plane[None, None].astype(np.float32)) for plane in (frame.y, frame.u, frame.v))
    return ycbcr2rgb(yuv_420_to_444(((y - 16) / 219, (u - 16) / 224, (v - 16) / 224))).clamp(0, 1)


def _to_frame(rgb: Tensor, pts: int) -> Frame:
    y, u, v = yuv_444_to_420(rgb2ycbcr(rgb.clamp(0, 1)))
    y, u, v = ((plane * extent + 16).round().byte().numpy()[0, 0] for plane, extent in ((y, 219), (u, 224), (v, 224)))
    return Frame(y, u, v, pts)
