"""Pictures, patches and moved copies."""

import torch

from imfcodec.nn.picture import Picture, from_patches, move, sample, to_patches


def random_picture(batch: int = 2, height: int = 64, width: int = 128) -> Picture:
    return Picture(torch.rand(batch, 1, height, width) - 0.5, torch.rand(batch, 2, height // 2, width // 2) - 0.5)


def test_patches_are_orthonormal_and_invertible():
    picture = random_picture()
    patches = to_patches(picture)
    assert patches.shape == (2, 96, 8, 16)
    back = from_patches(patches)
    assert torch.allclose(back.luma, picture.luma) and torch.allclose(back.chroma, picture.chroma, atol=1e-6)
    energy = picture.luma.square().sum() + picture.chroma.square().sum() / 2
    assert torch.isclose(patches.square().sum(), energy, rtol=1e-5)


def test_patches_of_pictures_are_inverse_both_ways_and_keep_angles():
    patches, other = torch.randn(2, 96, 3, 5), torch.randn(2, 96, 3, 5)
    assert torch.allclose(to_patches(from_patches(patches)), patches, atol=1e-6)
    a, b = from_patches(patches), from_patches(other)
    product = (a.luma * b.luma).sum() + (a.chroma * b.chroma).sum() / 2
    assert torch.isclose(product, (patches * other).sum(), rtol=1e-4, atol=1e-3)


def test_a_patch_is_luma_by_rows_then_both_chroma_planes():
    luma = torch.arange(16 * 24.0).reshape(1, 1, 16, 24)
    chroma = torch.arange(2 * 8 * 12.0).reshape(1, 2, 8, 12)
    patch = to_patches(Picture(luma, chroma))[0, :, 1, 2]
    assert torch.equal(patch[:64], luma[0, 0, 8:, 16:].flatten())
    assert torch.allclose(patch[64:] * 2**0.5, chroma[0, :, 4:, 8:].flatten())


def test_no_displacement_copies():
    picture = random_picture()
    still = move(picture, torch.zeros(2, 2, 8, 16))
    assert torch.allclose(still.luma, picture.luma, atol=1e-5)
    assert torch.allclose(still.chroma, picture.chroma, atol=1e-5)


def test_a_displacement_reads_where_it_points():
    picture = random_picture()
    field = torch.zeros(2, 2, 8, 16)
    field[:, 0], field[:, 1] = 6.0, -4.0
    moved = move(picture, field)
    assert torch.allclose(moved.luma[..., 8:56, 8:112], picture.luma[..., 4:52, 14:118], atol=1e-4)
    assert torch.allclose(moved.chroma[..., 4:28, 4:56], picture.chroma[..., 2:26, 7:59], atol=1e-4)


def test_sampling_outside_reads_the_border():
    plane = torch.arange(12.0).reshape(1, 1, 3, 4)
    far = torch.zeros(1, 2, 3, 4)
    far[:, 0] = 100
    assert torch.allclose(sample(plane, far)[0, 0], plane[0, 0, :, 3:].expand(-1, 4))
