"""The whole network, and the moves from which encoder, decoder and training are all made."""

import torch
from torch import Tensor, nn

from imfcodec.config import ModelConfig
from imfcodec.models.alignment import Aligned, ImplicitMotionAlignment, Reference
from imfcodec.models.blending import find_blend
from imfcodec.models.coding import Condition, SymbolCoder
from imfcodec.models.dense_feature_encoder import DenseFeatureEncoder, ReferenceFeatures
from imfcodec.models.displacement import BLEND
from imfcodec.models.frame_decoder import FrameDecoder, ReferenceDecoder, in_range
from imfcodec.models.latent_prior import LatentContext, LatentPrior
from imfcodec.models.latent_token_encoder import LatentTokenEncoder, Token
from imfcodec.models.registration import economise
from imfcodec.models.structure import MOTION_CHANNELS
from imfcodec.models.token_prior import TokenContext, TokenPrior
from imfcodec.nn.blocks import space_to_depth
from imfcodec.nn.picture import Picture, to_patches
from imfcodec.nn.quantize import bit_price, qindex_fraction

MOTION_PRICE = 2.0  # of a bit in motion, as a multiple of that in y, which mends what motion misses


class ImfNetwork(nn.Module):
    """E_F, E_T, IMF_D and IMF_A, D_F, and the priors."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.dense_feature_encoder = DenseFeatureEncoder(config)
        self.reference_features = ReferenceFeatures(config)
        self.latent_token_encoder = LatentTokenEncoder(config)
        self.alignment = ImplicitMotionAlignment(config)
        self.frame_decoder = FrameDecoder(config, config.frame_channels, config.frame_depth)
        self.reference_decoder = ReferenceDecoder(config)
        self.latent_prior = LatentPrior(config)
        self.token_prior = TokenPrior(config)

    def find_token(
        self, luma: Tensor, references: list[Reference], guess: Token, place: Tensor, qindex: Tensor
    ) -> Token:
        """E_T: the frame's token, whatever it costs. `qindex` is [B] in 0..255; the other arguments as in E_T."""
        step = self.token_prior.u_steps(qindex_fraction(qindex))[:, :MOTION_CHANNELS].mean(1)
        lumas, fields = [r.picture.luma for r in references], [r.field for r in references]
        return self.latent_token_encoder(luma, lumas, fields, guess, place, step)

    def encode_token(
        self, luma: Tensor, references: list[Reference], guess: Token, place: Tensor, qindex: Tensor
    ) -> Token:
        """The token that is to be coded: that of E_T as far as it is worth its bits, and what mixes two references."""
        token = self.find_token(luma, references, guess, place, qindex)
        steps, price = self.token_prior.u_steps(qindex_fraction(qindex)).detach(), bit_price(qindex)
        lumas, fields = [r.picture.luma for r in references], [r.field for r in references]
        motion, rest = token.u[:, :MOTION_CHANNELS], token.u[:, MOTION_CHANNELS:]
        cheap = economise(luma, lumas, fields, token.u, guess.u, steps[:, :MOTION_CHANNELS], MOTION_PRICE * price)
        motion = motion + (cheap - motion).detach()  # E_T learns as if nothing had been taken off
        token = Token(token.g, torch.cat([motion, rest], 1))
        if len(references) == 1:
            return token
        with torch.no_grad():
            moved = self.alignment.move(token, references, place)
        assert moved.logits is not None, "two references are mixed"
        first, second = moved.copies
        blend = find_blend(luma, first, second, moved.logits, steps[:, BLEND].mean(1), price)
        return Token(token.g, torch.cat([token.u[:, : BLEND.start], blend, token.u[:, BLEND.stop :]], 1))

    def code_token(self, coder: SymbolCoder, context: TokenContext, token: Token | None) -> tuple[Token, Token]:
        """Code a token (None when decoding): the decoded token and its symbols."""
        return self.token_prior.code(coder, context, token)

    def predict(self, token: Token, references: list[Reference], place: Tensor) -> Aligned:
        """IMF: the prediction of a frame from its decoded token and references."""
        return self.alignment(token, references, place)

    def code_latent(
        self, coder: SymbolCoder, condition: Condition, aligned: Aligned, near: Tensor, picture: Picture | None
    ) -> tuple[Tensor, Tensor]:
        """Code y and z of a frame (`picture` None when decoding).

        Args:
            aligned: its prediction, `Aligned.nothing` for a key frame.
            near: mean magnitude of its references' symbols of y.
        Returns:
            Decoded y and the magnitudes of its symbols.
        """
        y = z = None
        if picture is not None:
            y = self.dense_feature_encoder(picture, aligned.picture, qindex_fraction(condition.qindex))
            z = self.dense_feature_encoder.hyper_latent(y, self.latent_prior.step_sizes(condition))
        context = LatentContext(space_to_depth(to_patches(aligned.picture)), aligned.features, near)
        return self.latent_prior.code(coder, condition, context, y, z)

    def decode_reference(self, y: Tensor, aligned: Aligned, qindex: Tensor) -> Picture:
        """D_F of a key or golden frame, in the levels that are shown. `qindex` is [B] in 0..255."""
        return in_range(self.reference_decoder(aligned, qindex_fraction(qindex), y))

    def decode_frame(self, aligned: Aligned, qindex: Tensor) -> Picture:
        """D_F of a token frame, in the levels that are shown. `qindex` is [B] in 0..255."""
        return in_range(self.frame_decoder(aligned, qindex_fraction(qindex)))

    def reference(self, picture: Picture, token: Token, latent: Tensor) -> Reference:
        """A decoded frame made ready to predict from.

        Args:
            token: zero for a group's anchor.
            latent: magnitudes of its symbols of y.
        """
        return self.alignment.reference(picture, token, self.reference_features(picture), latent)

    def no_symbols(self, like: Picture) -> Tensor:
        """Magnitudes of the symbols of y where there are none, [B, C_y, H / 16, W / 16]."""
        batch, _, height, width = like.luma.shape
        return torch.zeros(
            batch, height // 16, width // 16, self.config.latent_channels, device=like.luma.device
        ).movedim(-1, 1)
