"""The token says which of two references each place is taken from."""

import torch
import torch.nn.functional as F

from imfcodec.config import ModelConfig
from imfcodec.models.alignment import ImplicitMotionAlignment
from imfcodec.models.blending import CELL, find_blend
from imfcodec.models.displacement import BLEND
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.nn.picture import Picture

SIZE = 128
PRICE = 1e-3


def picture(luma: torch.Tensor) -> Picture:
    return Picture(luma, torch.zeros(1, 2, SIZE // 2, SIZE // 2))


def two_states() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A frame whose left half is that of a first picture and whose right half is that of a second one."""
    first, second = (F.interpolate(torch.rand(1, 1, 16, 16), size=(SIZE, SIZE), mode="bicubic") - 0.5 for _ in "ab")
    is_left = (torch.arange(SIZE) < SIZE // 2).expand(1, 1, SIZE, SIZE)
    return torch.where(is_left, first, second), first, second


def blend(price: float) -> torch.Tensor:
    frame, first, second = two_states()
    logits = torch.zeros(1, 1, SIZE // CELL, SIZE // CELL)
    return find_blend(frame, picture(first), picture(second), logits, torch.ones(1), torch.full((1,), price))


def test_each_half_is_taken_from_where_it_came():
    found = blend(PRICE)
    assert found.shape == (1, 1, SIZE // 32, SIZE // 32)
    assert found[..., :2].min() > 1 and found[..., 2:].max() < -1


def test_nothing_is_said_that_costs_more_than_it_gains():
    assert not blend(1e6).any()


def test_of_equal_copies_nothing_is_said():
    frame, first, _ = two_states()
    logits = torch.zeros(1, 1, SIZE // CELL, SIZE // CELL)
    found = find_blend(frame, picture(first), picture(first), logits, torch.ones(1), torch.full((1,), PRICE))
    assert not found.any()


@torch.no_grad()
def test_the_prediction_is_mixed_as_the_token_says():
    network = ImfNetwork(ModelConfig())
    alignment: ImplicitMotionAlignment = network.alignment
    frame, first, second = two_states()
    zero = Token.zeros(1, SIZE, SIZE, network.config, frame)
    sides = [network.reference(picture(luma), zero, network.no_symbols(picture(luma))) for luma in (first, second)]
    place, qindex = torch.full((1,), 0.5), torch.tensor([200])
    found = network.encode_token(frame, sides, zero, place, qindex).u[:, BLEND]
    assert found.any()
    chosen = Token(zero.g, torch.cat([zero.u[:, : BLEND.start], found, zero.u[:, BLEND.stop :]], 1))

    def error(token: Token) -> float:
        return float((alignment(token, sides, place).picture.luma - frame).square().mean())

    assert error(chosen) < error(zero) / 4
