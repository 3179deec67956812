"""The network: budgets, shapes, gradients, and a start that works."""

from types import SimpleNamespace

import pytest
import torch
from imfcodec.models.prior import Condition, Role, TokenContext
from imfcodec.models.rate import RateEstimator
from torch.utils.flop_counter import FlopCounterMode

from imfcodec.config import DEFAULT, PAPER, ModelConfig
from imfcodec.errors import ModelError
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.nn.picture import Picture
from imfcodec.training.rollout import Rollout
from imfcodec.training.start import start_as_transform_codec

GIGA = 1e9
PAPER_PARAMETERS = 50_457_984


def random_picture(batch: int, size: int) -> Picture:
    return Picture(torch.rand(batch, 1, size, size) - 0.5, torch.rand(batch, 2, size // 2, size // 2) - 0.5)


@pytest.fixture(scope="module")
def network() -> ImfNetwork:
    return ImfNetwork(DEFAULT).eval()


def predicted(network: ImfNetwork, size: int, count: int = 2) -> SimpleNamespace:
    """References and a zero token, and what is predicted from them."""
    picture = random_picture(1, size)
    zero = Token.zeros(1, size, size, network.config, picture.luma)
    references = [network.reference(picture, zero) for _ in range(count)]
    place = torch.full((1,), 0.5)
    return SimpleNamespace(
        picture=picture, zero=zero, references=references, aligned=network.predict(zero, references, place), place=place
    )


def decode_token_frame(network: ImfNetwork, known: SimpleNamespace, refine: bool) -> None:
    """All a decoder computes for one token frame."""
    quality, role = torch.full((1,), 100), torch.full((1,), int(Role.TOKEN))
    condition = Condition(role, quality)
    near = (known.zero, known.zero)
    context = TokenContext(known.zero, near, torch.full((1,), 2), torch.full((1,), 16), condition)
    coder = ZeroCoder()
    token, _ = network.code_token(coder, context, None)
    aligned = network.predict(token, known.references, known.place)
    y = network.code_latent(coder, condition, aligned, None, known.picture) if refine else None
    network.decode_frame(y, aligned, quality)


class ZeroCoder:
    """A symbol coder that decodes zeros."""

    def gaussian(self, values, index):
        return torch.zeros_like(index)

    def hyper(self, bottleneck, values, shape):
        return torch.zeros(shape)


@pytest.mark.parametrize("refine", [False, True])
def test_decoder_budget_of_the_default_model(network, refine):
    with torch.inference_mode():
        known = predicted(network, 256)
        with FlopCounterMode(display=False) as counter:
            decode_token_frame(network, known, refine)
    macs = counter.get_total_flops() / 2
    assert 0.1 * GIGA < macs <= 3 * GIGA


def test_parameter_budget_of_the_default_model(network):
    assert sum(p.numel() for p in network.parameters()) <= 10_000_000


def test_the_paper_widths_build_run_and_learn():
    network = ImfNetwork(PAPER)
    assert sum(p.numel() for p in network.parameters()) == PAPER_PARAMETERS
    known = predicted(network, 64)
    loss = network.decode_frame(None, known.aligned, torch.full((1,), 100)).luma.square().mean()
    loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.alignment.parameters())


def test_a_new_model_copies_its_reference(network):
    known = predicted(network, 64)
    decoded = network.decode_frame(None, known.aligned, torch.full((1,), 100))
    assert torch.allclose(decoded.luma, known.picture.luma, atol=1e-4)
    assert torch.allclose(decoded.chroma, known.picture.chroma, atol=1e-4)


def test_a_new_model_is_a_transform_codec():
    network = ImfNetwork(DEFAULT).eval()
    ramp = torch.linspace(-0.4, 0.4, 64)
    luma = (ramp[:, None] * torch.linspace(0.5, 1, 64)).expand(1, 1, -1, -1)
    picture = Picture(luma, torch.zeros(1, 2, 32, 32))
    start_as_transform_codec(network, Picture(torch.cat([luma, luma.mT, -luma]), torch.zeros(3, 2, 32, 32)))
    coder = RateEstimator(1)
    condition = Condition(torch.zeros(1, dtype=torch.int64), torch.full((1,), 255))
    y = network.code_latent(coder, condition, None, picture, picture)
    decoded = network.decode_frame(y, None, condition.quality)
    assert (decoded.luma - picture.luma).square().mean() < 1e-4
    assert coder.bits.item() > 0


@pytest.mark.parametrize("references", [1, 2])
@pytest.mark.parametrize("size", [64, 128])
def test_any_size_and_one_or_two_references(network, references, size):
    aligned = predicted(network, size, references).aligned
    assert aligned.picture.luma.shape == (1, 1, size, size)
    assert aligned.features.shape == (1, DEFAULT.align_channels[1], size // 16, size // 16)


def test_all_parts_get_gradients():
    network = ImfNetwork(DEFAULT)
    for parameter in network.parameters():  # leave the zero start, at which some gradients vanish
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    rollout, target, quality = Rollout(network), random_picture(2, 64), torch.tensor([90, 150])
    key = rollout.key(target, quality)
    span = torch.tensor([16, 16])
    anchor = network.reference(key.picture, key.token)
    golden = rollout.golden(random_picture(2, 64), anchor, quality, span, key.symbols)
    references = [anchor, network.reference(golden.picture, golden.token)]
    near = (key.symbols, golden.symbols)
    level, place = torch.tensor([2, 2]), torch.tensor([0.5, 0.5])
    token = rollout.between(random_picture(2, 64), references, key.token, near, level, quality, span, place, True)
    outcomes = (key, golden, token)
    loss = sum((o.picture.luma.square().mean() + o.picture.chroma.square().mean() + o.bits.mean()) for o in outcomes)
    (loss + network.latent_prior.bottleneck.loss()).backward()
    dead = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not dead


def test_configuration_round_trips_and_refuses_nonsense():
    assert ModelConfig.from_dict(DEFAULT.to_dict()) == DEFAULT
    with pytest.raises(ModelError, match="must sum"):
        ModelConfig(latent_channels=7)
    with pytest.raises(ModelError, match="does not fit"):
        ModelConfig.from_dict({"width": 3})
