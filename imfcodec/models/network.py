"""The whole network, and the four moves from which encoder, decoder and training are all made."""

import torch
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.alignment import Aligned, ImplicitMotionAlignment, Reference
from imfcodec.models.dense_feature_encoder import DenseFeatureEncoder, to_blocks
from imfcodec.models.frame_decoder import FrameDecoder
from imfcodec.models.latent_token_encoder import LatentTokenEncoder, Token
from imfcodec.models.prior import Condition, LatentPrior, SymbolCoder, TokenContext, TokenPrior
from imfcodec.nn.picture import Picture
from imfcodec.nn.quantize import quality_fraction


class ImfNetwork(nn.Module):
    """E_F, E_T, IMF_D and IMF_A, D_F, and the priors; `likelihoods` as in `LatentPrior`."""

    def __init__(self, config: ModelConfig, *, likelihoods: bool = True) -> None:
        super().__init__()
        self.config = config
        self.dense_feature_encoder = DenseFeatureEncoder(config)
        self.latent_token_encoder = LatentTokenEncoder(config)
        self.alignment = ImplicitMotionAlignment(config)
        self.frame_decoder = FrameDecoder(config)
        self.latent_prior = LatentPrior(config, likelihoods=likelihoods)
        self.token_prior = TokenPrior(config)

    def encode_token(
        self, luma: Tensor, references: list[Reference], guess: Token, place: Tensor, quality: Tensor
    ) -> Token:
        """E_T: the frame's token. `quality` is an index [B] in 0..255; the other arguments as in E_T."""
        step = self.token_prior.u_steps(quality_fraction(quality))[:, :2].mean(1)
        return self.latent_token_encoder(
            luma, [r.picture.luma for r in references], [r.field for r in references], guess, place, step
        )

    def code_token(self, coder: SymbolCoder, context: TokenContext, token: Token | None) -> tuple[Token, Token]:
        """Code a token (None when decoding): the decoded token and its symbols."""
        return self.token_prior.code(coder, context, token)

    def predict(self, token: Token, references: list[Reference], place: Tensor) -> Aligned:
        """IMF: the prediction of a frame from its decoded token and references."""
        return self.alignment(token, references, place)

    def code_latent(
        self, coder: SymbolCoder, condition: Condition, aligned: Aligned | None, picture: Picture | None, like: Picture
    ) -> Tensor:
        """Code y and z of a frame (`picture` None when decoding).

        Args:
            aligned: its prediction, None for a key frame.
            like: any picture of the frame's shape.
        Returns:
            Decoded y.
        """
        prediction = Picture(*(torch.zeros_like(plane) for plane in like)) if aligned is None else aligned.picture
        y = z = None
        if picture is not None:
            y = self.dense_feature_encoder(picture, prediction).float()
            z = self.dense_feature_encoder.hyper_latent(y, self.latent_prior.step_sizes(condition)).float()
        return self.latent_prior.code(coder, condition, to_blocks(prediction), y, z)

    def decode_frame(self, y: Tensor | None, aligned: Aligned | None, quality: Tensor) -> Picture:
        """D_F: the decoded frame, clipped to -0.5..0.5. `quality` is an index [B] in 0..255."""
        picture = self.frame_decoder(y, aligned, quality_fraction(quality))
        return Picture(picture.luma.clamp(-0.5, 0.5), picture.chroma.clamp(-0.5, 0.5))

    def reference(self, picture: Picture, token: Token) -> Reference:
        """A decoded frame made ready to predict from; `token` is zero for a group's anchor."""
        return self.alignment.reference(picture, token, self.dense_feature_encoder.features(picture))
