"""Quantiser indices as the networks take them."""

import torch

from imfcodec.bitstream.packet import Quantisers
from imfcodec.models.executor import Qindices


def to_qindices(quantisers: Quantisers, device: torch.device) -> Qindices:
    """A packet's quantiser indices for a batch of one."""
    return Qindices(
        *(torch.tensor([value], device=device) for value in (quantisers.golden, quantisers.deeper, quantisers.token))
    )
