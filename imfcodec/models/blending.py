"""Which of two references each place of a frame is taken from: what the token says beside motion.

Both moved references may show an eye, one open and one closed; which of them is right only the encoder knows. It finds
the correction of the gate's logits that lowers the error most for the bits it takes; only the encoder runs it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from imfcodec.models.displacement import GRID, bases, both_sides
from imfcodec.nn.cosine import inverse_cosine_transform
from imfcodec.nn.picture import Picture
from imfcodec.nn.quantize import SYMBOL_BITS
from imfcodec.nn.sparse import sparse_descent

CELL = 4  # luma pixels per logit
STEPS = 24
TINY = 1e-12


@torch.no_grad()
def find_blend(
    luma: Tensor, first: Picture, second: Picture, logits: Tensor, step: Tensor, bit_price: Tensor
) -> Tensor:
    """What is to be added to a gate's logits, on the token grid.

    Args:
        luma: [B, 1, H, W] the frame.
        first, second: moved references.
        logits: of the first one's weight, [B, 1, H / 4, W / 4].
        step: [B] quantisation step of the coefficients.
        bit_price: [B] squared error, summed over pixels, that a bit is worth.
    Returns:
        [B, 1, H / 32, W / 32], float32.
    """
    with torch.autocast(luma.device.type, enabled=False):
        scale = (CELL**2 / bit_price)[:, None, None, None]  # of means over cells, to bits
        difference = (first.luma - second.luma).float()
        curve = F.avg_pool2d(difference.square(), CELL) * scale
        slope = F.avg_pool2d(difference * (luma - second.luma), CELL) * scale
        height, width = (size // GRID for size in luma.shape[-2:])
        down, across = bases(height, width, CELL, luma.device)

        def downhill(x: Tensor) -> Tensor:
            weight = torch.sigmoid(logits + both_sides(x, down.t(), across.t()))
            return both_sides(2 * (slope - curve * weight) * weight * (1 - weight), down, across)

        # A coefficient reaches all places of the grid, so the largest sum over one bounds the curvature; the second
        # derivative of the error by a logit is less than a third of these magnitudes.
        largest = F.avg_pool2d(curve + slope.abs(), GRID // CELL).amax((1, 2, 3), keepdim=True)
        largest = largest * (GRID // CELL) ** 2 / 2
        price = SYMBOL_BITS / step[:, None, None, None]
        like = luma.new_empty(len(luma), 1, height, width, dtype=torch.float32)
        return inverse_cosine_transform(sparse_descent(downhill, like, 1 / (largest + TINY), price, STEPS))
