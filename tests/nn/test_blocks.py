"""Rearranging places and channels, and blocks that start as identities."""

import torch

from imfcodec.nn.blocks import Pointwise, depth_to_space, gated_blocks, join, space_to_depth, upsample


def test_space_to_depth_and_back_is_an_orthonormal_rearrangement():
    x = torch.randn(2, 6, 8, 4)
    deep = space_to_depth(x)
    assert deep.shape == (2, 24, 4, 2) and torch.equal(depth_to_space(deep), x)
    assert torch.equal(deep.flatten().sort().values, x.flatten().sort().values)
    other = torch.randn_like(deep)
    assert torch.equal(space_to_depth(depth_to_space(other)), other)


def test_the_four_places_of_a_cell_follow_by_row_then_column():
    x = torch.arange(2 * 4 * 6.0).reshape(1, 2, 4, 6)
    cell = space_to_depth(x)[0, :, 1, 2]
    assert cell.tolist() == x[0, :, 2:, 4:].permute(1, 2, 0).flatten().tolist()


def test_pointwise_is_a_convolution():
    layer, x = Pointwise(5, 3), torch.randn(2, 5, 4, 6)
    expected = torch.nn.functional.conv2d(x, layer.weight[:, :, None, None], layer.bias)
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_exact_layers_compute_in_float32_under_autocast():
    plain, exact, x = Pointwise(64, 8), Pointwise(64, 8, exact=True), torch.randn(1, 64, 4, 4)
    exact.load_state_dict(plain.state_dict())
    expected = plain(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(exact(x.bfloat16()), exact(x.bfloat16().float()))
        assert exact(x).dtype == torch.float32 and torch.equal(exact(x), expected)
        assert plain(x).dtype == torch.bfloat16


def test_new_gated_blocks_pass_their_input_through():
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(gated_blocks(8, 3)(x), x)


def test_join_and_upsample_keep_values():
    a, b = torch.randn(1, 2, 3, 3), torch.randn(1, 4, 3, 3)
    joined = join(a, b)
    assert torch.equal(joined, torch.cat([a, b], 1)) and joined.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(upsample(a, 2)[..., 1::2, ::2], a)
