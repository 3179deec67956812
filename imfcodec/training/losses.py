"""What an error costs, and what a bit is worth."""

from collections.abc import Callable

import torch
from torch import Tensor

from imfcodec.nn.picture import CHROMA_GAIN, Picture
from imfcodec.nn.quantize import bit_price, qindex_fraction
from imfcodec.training.rollout import Outcome

SMALLEST_COST = 1e-4  # bits per pixel; cheaper samples have nothing left to learn from


def chroma_weight(fraction: Tensor) -> Tensor:
    """Weight of chroma errors by quantiser index as 0..1: as in `to_patches` at 1, six times that at 0.

    With equal weights, colour is the first thing to go at low rates; standard codecs quantise it more finely there too.
    """
    return 1 + 5 * (1 - fraction).square()


def squared_error(picture: Picture, target: Picture, qindex: Tensor) -> Tensor:
    """Mean squared error per luma pixel, Y + (U + V) / 8 chroma weighed by quantiser index [B], [B]."""
    return _error(picture, target, qindex, torch.square)


def absolute_error(picture: Picture, target: Picture, qindex: Tensor) -> Tensor:
    """Mean absolute error per luma pixel, planes weighted as in `squared_error`, [B]."""
    return _error(picture, target, qindex, torch.abs)


def decibels(error: Tensor) -> Tensor:
    """10 log10 of squared errors, floored far below one 8-bit level."""
    return 10 * torch.log10(error + 1e-6)


def rate_distortion(outcome: Outcome, rate_weight: float, l1: float = 0.0) -> Tensor:
    """Bits per pixel plus distortion in the bits it is worth, [B].

    Args:
        rate_weight: 0..1, for phasing the rate in.
        l1: weight of the absolute error beside the squared one.
    """
    pixels = outcome.target.luma[0].numel()
    distortion = squared_error(outcome.picture, outcome.target, outcome.qindex)
    if l1:
        distortion = distortion + l1 * absolute_error(outcome.picture, outcome.target, outcome.qindex)
    return rate_weight * outcome.bits / pixels + distortion / bit_price(outcome.qindex)


def relative(cost: Tensor) -> Tensor:
    """Logarithm of the rate-distortion cost of each sample, bits per pixel.

    Between the lowest and the highest rates the cost grows a hundredfold, so that in a plain mean a few kilobits
    count for nothing. A tenth less counts the same here at any rate and for any content, as it does in a BD-rate.
    """
    return (cost + SMALLEST_COST).log()


def _error(picture: Picture, target: Picture, qindex: Tensor, norm: Callable[[Tensor], Tensor]) -> Tensor:
    luma = norm(picture.luma - target.luma).mean((1, 2, 3))
    chroma = norm(picture.chroma - target.chroma).mean((1, 2, 3))
    return luma + chroma * chroma_weight(qindex_fraction(qindex)) * CHROMA_GAIN**2 / 2
