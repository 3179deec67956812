"""Attention over picture positions; positions are continuous, so a place can ask for where it came from."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from imfcodec.nn.blocks import Pointwise, zero_init


def position_code(position: Tensor, wavelengths: tuple[float, ...]) -> Tensor:
    """Sines and cosines of positions.

    Args:
        position: float [B, 2, h, w], (x, y) in cells.
        wavelengths: in cells.
    Returns:
        [B, 4 * len(wavelengths), h, w], values in -1..1. Dot products of two codes fall with the distance of their
        positions.
    """
    rate = 2 * math.pi / torch.tensor(wavelengths, device=position.device)
    phase = rearrange(position[:, :, None].float() * rate[:, None, None], "b d n h w -> b (d n) h w")
    return torch.cat([phase.sin(), phase.cos()], 1)


class Memory(NamedTuple):
    """Keys and values of a reference, [B, heads, places, channels] each; values are padded to the width of keys."""

    keys: Tensor
    values: Tensor


class CrossAttention(nn.Module):
    """Multi-head attention with Q from motion features of the frame, K from those of the references, V their features.

    Positions enter queries and keys only, as further channels with a learned sharpness.
    """

    def __init__(self, channels: int, heads: int, wavelengths: tuple[float, ...]) -> None:
        super().__init__()
        self.heads, self.wavelengths = heads, wavelengths
        self.query = Pointwise(channels, channels)
        self.key = Pointwise(channels, channels)
        self.value = Pointwise(channels, channels)
        self.output = Pointwise(channels, channels)
        self.sharpness = nn.Parameter(torch.full((heads, 1, 1), math.log(8.0)))

    def memory(self, motion: Tensor, position: Tensor, features: Tensor) -> Memory:
        """What frames attend to in a reference: m_r, f_r [B, C, h, w] and its canonical positions [B, 2, h, w]."""
        keys = self._split(self.key(motion), position, None)
        values = rearrange(self.value(features), "b (n c) h w -> b n (h w) c", n=self.heads)
        # Kernels that never hold the attention matrix want values as wide as keys.
        return Memory(keys, F.pad(values, (0, keys.shape[-1] - values.shape[-1])))

    def forward(self, motion: Tensor, position: Tensor, memories: list[Memory]) -> Tensor:
        """Align the references' features to the frame.

        Args:
            motion: m_c [B, C, h, w].
            position: [B, 2, h, w] canonical position of each place of the frame, in cells.
            memories: of each reference.
        Returns:
            [B, C, h, w]
        """
        height, width = motion.shape[-2:]
        query = self._split(self.query(motion), position, self.sharpness.exp())
        keys, values = (torch.cat(parts, 2) for parts in zip(*memories, strict=True))
        aligned = F.scaled_dot_product_attention(query, keys.to(query.dtype), values.to(query.dtype), scale=1.0)
        narrow = aligned[..., : motion.shape[1] // self.heads]
        return self.output(rearrange(narrow, "b n (h w) c -> b (n c) h w", h=height, w=width))

    def _split(self, content: Tensor, position: Tensor, sharpness: Tensor | None) -> Tensor:
        content = rearrange(content, "b (n c) h w -> b n (h w) c", n=self.heads)
        code = rearrange(position_code(position, self.wavelengths), "b c h w -> b 1 (h w) c")
        code = code.expand(content.shape[0], self.heads, -1, -1)
        if sharpness is not None:
            content, code = content * content.shape[-1] ** -0.5, code * sharpness
        return torch.cat([content, code.to(content.dtype)], -1)


class TransformerBlock(nn.Module):
    """Self-attention and feed-forward with layer norm, residual, both starting at zero. [B, C, h, w] -> same."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.output = zero_init(nn.Linear(channels, channels))
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 2 * channels),
            nn.SiLU(),
            zero_init(nn.Linear(2 * channels, channels)),
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = rearrange(x, "b c h w -> b (h w) c")
        query, key, value = rearrange(self.qkv(self.norm(x)), "b n (k h c) -> k b h n c", k=3, h=self.heads)
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.output(rearrange(attended, "b h n c -> b n (h c)"))
        x = x + self.feed_forward(x)
        return rearrange(x, "b (h w) c -> b c h w", h=height, w=width)
