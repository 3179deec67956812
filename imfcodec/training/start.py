"""Where training starts: a model that already works."""

import torch

from imfcodec.models.dense_feature_encoder import to_blocks
from imfcodec.models.network import ImfNetwork
from imfcodec.nn.picture import Picture


@torch.no_grad()
def start_as_transform_codec(network: ImfNetwork, pictures: Picture) -> None:
    """Set analysis and synthesis to the principal components of 16x16 blocks (about zero, not their mean).

    Both are then an orthonormal pair: a new model codes key frames as a transform codec does.
    """
    blocks = to_blocks(pictures).movedim(1, -1).flatten(0, -2).double()
    _, vectors = torch.linalg.eigh(blocks.t() @ blocks / len(blocks))
    basis = vectors.flip(1)[:, : network.config.latent_channels].float()
    network.dense_feature_encoder.analysis.weight.copy_(basis.t()[:, :, None, None])
    zero_bias = network.dense_feature_encoder.analysis.bias
    assert zero_bias is not None
    zero_bias.zero_()
    network.frame_decoder.synthesis.weight.copy_(basis[:, :, None, None])
