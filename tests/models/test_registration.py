"""Registration finds known motion."""

import pytest
import torch
import torch.nn.functional as F

from imfcodec.models.displacement import canonical_field, reference_displacements
from imfcodec.models.registration import economise, register
from imfcodec.nn.cosine import cosine_transform
from imfcodec.nn.picture import Picture, move


def texture(size: int = 128) -> torch.Tensor:
    """Smooth random luma [1, 1, size, size]."""
    return F.interpolate(torch.rand(1, 1, size // 8, size // 8), size=(size, size), mode="bicubic") - 0.5


def as_picture(luma: torch.Tensor) -> Picture:
    return Picture(luma, luma.new_zeros(1, 2, luma.shape[2] // 2, luma.shape[3] // 2))


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b)[..., 16:-16, 16:-16].square().mean())


def test_a_shift_is_found():
    reference = texture()
    frame = torch.roll(reference, (3, -5), (2, 3))
    still = torch.zeros(1, 2, 16, 16)
    u = register(frame, [reference], [still], torch.zeros(1, 8, 4, 4), torch.zeros(1))
    assert torch.allclose(u[0, :2, 1:3, 1:3].mean((1, 2)), torch.tensor([5.0, -3.0]), atol=0.3)
    assert not u[:, 2:].any()
    moved = move(as_picture(reference), reference_displacements(u, [still])[0]).luma
    assert error(moved, frame) < error(reference, frame) / 50


def test_a_leap_is_found():
    reference = texture(256)
    frame = torch.roll(reference, (24, 32), (2, 3))
    still = torch.zeros(1, 2, 32, 32)
    u = register(frame, [reference], [still], torch.zeros(1, 8, 8, 8), torch.zeros(1))
    moved = move(as_picture(reference), reference_displacements(u, [still])[0]).luma
    inside = (..., slice(96, 192), slice(96, 192))
    assert float((moved - frame)[inside].square().mean()) < float((reference - frame)[inside].square().mean()) / 20


def test_half_precision_outside_changes_little():
    reference = texture()
    frame, still = torch.roll(reference, 5, 3), torch.zeros(1, 2, 16, 16)
    arguments = (frame, [reference], [still], torch.zeros(1, 8, 4, 4), torch.zeros(1))
    plain = register(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(register(*arguments), plain)


def test_one_field_serves_both_references():
    anchor = texture()
    golden = torch.roll(anchor, 8, 3)
    frame = torch.roll(anchor, 4, 3)
    golden_u = torch.zeros(1, 8, 4, 4)
    golden_u[:, 0] = -8.0
    fields = [torch.zeros(1, 2, 16, 16), canonical_field(golden_u)]
    u = register(frame, [anchor, golden], fields, golden_u / 2, torch.zeros(1))
    for reference, field in zip((anchor, golden), reference_displacements(u, fields), strict=True):
        assert error(move(as_picture(reference), field).luma, frame) < 2e-5


def test_pull_holds_to_the_guess():
    reference = texture()
    frame = torch.roll(reference, 4, 3)
    still, guess = torch.zeros(1, 2, 16, 16), torch.zeros(1, 8, 4, 4)
    free = register(frame, [reference], [still], guess, torch.zeros(1))
    held = register(frame, [reference], [still], guess, torch.full((1,), 1e3))
    assert held.abs().mean() < free.abs().mean() / 10


def shifted() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A frame, its reference, and a local token that says how it moved and wrongly more."""
    reference = texture()
    u = torch.zeros(1, 8, 4, 4)
    u[:, 0] = 5.0
    return torch.roll(reference, -5, 3), reference, u + 0.05 * torch.randn_like(u)


def economised(price: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What is left of a token, and the token."""
    frame, reference, u = shifted()
    arguments = frame, [reference], [torch.zeros(1, 2, 16, 16)], u, torch.zeros_like(u)
    return economise(*arguments, torch.ones(1, 2), torch.full((1,), price)), u


def test_motion_that_is_worth_its_bits_stays():
    kept, u = economised(1e-2)
    assert torch.allclose(kept, u[:, :2], atol=0.6)
    assert cosine_transform(kept).abs().sum() < cosine_transform(u[:, :2]).abs().sum()


def test_motion_that_is_not_worth_its_bits_goes():
    assert not economised(1e6)[0].any()


@pytest.mark.parametrize("price", [0.0, 1e-4, 1e-2, 1.0])
def test_economy_holds_for_any_pictures(price):
    """Of noise, faint and full, and flat planes: what is found is finite and no wild leap."""
    for scale in (1.0, 1e-3, 0.0):
        luma, reference = (scale * (torch.rand(2, 1, 128, 128) - 0.5) for _ in "ab")
        u = 3 * torch.randn(2, 8, 4, 4)
        found = economise(
            luma,
            [reference],
            [torch.zeros(2, 2, 16, 16)],
            u,
            torch.zeros_like(u),
            torch.full((2, 2), 0.1),
            torch.full((2,), price),
        )
        assert found.isfinite().all()
        assert cosine_transform(found).abs().sum() <= 3 * cosine_transform(u[:, :2]).abs().sum()
