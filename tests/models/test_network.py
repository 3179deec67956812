"""The network: budgets, shapes, gradients, and a start that works."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from imfcodec.config import ARCHITECTURE, DEFAULT, PAPER, ModelConfig
from imfcodec.errors import ModelError
from imfcodec.models.alignment import Aligned
from imfcodec.models.coding import Role
from imfcodec.models.executor import Executor, Qindices
from imfcodec.models.latent_token_encoder import Token
from imfcodec.models.network import ImfNetwork
from imfcodec.models.structure import Chunk, plan
from imfcodec.nn.picture import Picture
from imfcodec.training.rollout import Rollout, TrainedModel
from imfcodec.training.start import start_as_transform_codec

GIGA = 1e9
PAPER_PARAMETERS = 53_973_748


def random_picture(batch: int, size: int) -> Picture:
    return Picture(torch.rand(batch, 1, size, size) - 0.5, torch.rand(batch, 2, size // 2, size // 2) - 0.5)


@pytest.fixture(scope="module")
def network() -> ImfNetwork:
    return ImfNetwork(DEFAULT).eval()


def predicted(network: ImfNetwork, size: int, count: int = 2) -> SimpleNamespace:
    """References and a zero token, and what is predicted from them."""
    picture = random_picture(1, size)
    zero = Token.zeros(1, size, size, network.config, picture.luma)
    references = [network.reference(picture, zero, network.no_symbols(picture)) for _ in range(count)]
    aligned = network.predict(zero, references, torch.full((1,), 0.5))
    return SimpleNamespace(picture=picture, aligned=aligned)


class ZeroCoder:
    """A symbol coder that decodes zeros."""

    def code(self, values, rows, table):
        return torch.zeros_like(rows)

    def take_bits(self):
        return 0.0


@torch.inference_mode()
def test_decoder_budgets_of_the_default_model(network):
    """Multiply-adds of all a decoder computes for a frame of 256x256: key, golden from one and two sides, token."""
    executor, like = Executor(network, ZeroCoder()), random_picture(1, 256)
    qindices = Qindices(*(torch.tensor([value]) for value in (100, 10, 50)))
    end, middle, tokens = plan(Chunk(4, True, (True, False, False)))
    known, costs = {}, {}

    def counted(name, function):
        with FlopCounterMode(display=False) as counter:
            function()
        costs[name] = counter.get_total_flops() / 2

    counted("key", lambda: known.update({0: executor.key(qindices.golden, like, None)}))
    counted("end", lambda: executor.run(end, known, qindices, None))
    counted("middle", lambda: executor.run(middle, known, qindices, None))
    counted("tokens", lambda: (executor.run(tokens, known, qindices, None), *executor.render(tokens, known, qindices)))
    assert all(0.5 * GIGA < costs[name] <= 6 * GIGA for name in ("key", "end", "middle")), costs
    assert 0.1 * GIGA < costs["tokens"] / len(tokens) <= 1 * GIGA, costs


def test_parameter_budget_of_the_default_model(network):
    assert sum(p.numel() for p in network.parameters()) <= 10_000_000


def test_the_paper_widths_build_run_and_learn():
    network = ImfNetwork(PAPER)
    assert sum(p.numel() for p in network.parameters()) == PAPER_PARAMETERS
    known = predicted(network, 64)
    loss = network.decode_frame(known.aligned, torch.full((1,), 100)).luma.square().mean()
    loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.alignment.parameters())


def test_a_new_model_copies_its_reference(network):
    """Token frames show the level next to the reference's sample; so do golden ones whose y is zero."""
    known = predicted(network, 64)
    qindex = torch.full((1,), 100)
    y = torch.zeros(1, DEFAULT.latent_channels, 4, 4)
    with torch.no_grad():
        for decoded in (
            network.decode_frame(known.aligned, qindex),
            network.decode_reference(y, known.aligned, qindex),
        ):
            for ours, theirs in zip(decoded, known.picture, strict=True):
                assert torch.allclose(ours, theirs, atol=0.5 / 255 + 1e-4)
                levels = (ours + 0.5) * 255
                assert torch.allclose(levels, levels.round(), atol=1e-3), "references are what is shown"


def test_a_new_model_is_a_transform_codec():
    model = TrainedModel(DEFAULT).eval()
    network = model.network
    ramp = torch.linspace(-0.4, 0.4, 64)
    luma = (ramp[:, None] * torch.linspace(0.5, 1, 64)).expand(1, 1, -1, -1)
    picture = Picture(luma, torch.zeros(1, 2, 32, 32))
    start_as_transform_codec(network, Picture(torch.cat([luma, luma.mT, -luma]), torch.zeros(3, 2, 32, 32)))
    outcome, known = Rollout(model).key(picture, torch.tensor([255]))
    assert (outcome.picture.luma - picture.luma).square().mean() < 1e-4
    assert outcome.bits.item() > 0 and torch.equal(known.reference.picture.luma, outcome.picture.luma)
    y = network.dense_feature_encoder(picture, Aligned.nothing(picture, DEFAULT).picture, torch.ones(1))
    strongest = y.square().mean((0, 2, 3)).topk(4).indices
    assert sorted((strongest // (DEFAULT.latent_channels // 4)).tolist()) == [0, 1, 2, 3], "one in each quarter"


def test_a_key_frame_is_predicted_from_nothing(network):
    """Zeros of the right shapes, so that its y is what it shows and the patches it starts from are zero."""
    picture = random_picture(2, 128)
    aligned = Aligned.nothing(picture, DEFAULT)
    like = predicted(network, 128).aligned
    for ours, theirs in zip((*aligned.picture, *aligned[1:]), (*like.picture, *like[1:]), strict=True):
        assert ours.shape == (2, *theirs.shape[1:]) and not ours.any()
        assert ours.is_contiguous(memory_format=torch.channels_last) or ours.shape[1] <= 2


@pytest.mark.parametrize("references", [1, 2])
@pytest.mark.parametrize("size", [64, 128])
def test_any_size_and_one_or_two_references(network, references, size):
    aligned = predicted(network, size, references).aligned
    assert aligned.picture.luma.shape == (1, 1, size, size)
    assert aligned.features.shape == (1, DEFAULT.align_channels[1], size // 16, size // 16)


def test_all_parts_get_gradients():
    model = TrainedModel(DEFAULT)
    for parameter in model.network.parameters():  # leave the zero start, at which some gradients vanish
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    frames = {position: random_picture(2, 64) for position in (0, 2, 3, 4)}
    qindices = Qindices(*(torch.tensor(values) for values in ([90, 150], [5, 10], [40, 100])))
    rollout = Rollout(model)
    outcome, anchor = rollout.key(frames[0], qindices.golden)
    end, middle, tokens = plan(Chunk(4, True, (True, False, False)))
    outcomes = [outcome, *rollout.run([end, middle, tokens[1:]], {0: anchor}, qindices, frames).values()]
    assert [o.role for o in outcomes] == [Role.KEY, Role.GOLDEN, Role.GOLDEN, Role.TOKEN]
    loss = sum((o.picture.luma.square().mean() + o.picture.chroma.square().mean() + o.bits.mean()) for o in outcomes)
    loss.backward()
    ours = [(n, p) for n, p in model.named_parameters() if not n.endswith("quantiles")]  # CompressAI's, for its tables
    dead = [n for n, p in ours if p.grad is None or not p.grad.isfinite().all()]
    assert not dead
    assert sum(bool(p.grad.any()) for _, p in ours) > 0.95 * len(ours)


def test_configuration_round_trips_and_refuses_nonsense():
    assert ModelConfig.from_dict(DEFAULT.to_dict()) == DEFAULT
    assert ModelConfig.from_dict(PAPER.to_dict()) == PAPER
    assert DEFAULT.to_dict()["architecture"] == ARCHITECTURE
    with pytest.raises(ModelError, match="not a multiple of 4"):
        ModelConfig(latent_channels=7)
    with pytest.raises(ModelError, match="does not fit"):
        ModelConfig.from_dict({"architecture": ARCHITECTURE, "width": 3})


def test_models_of_another_architecture_are_refused():
    """Files of release 0.2 have no number."""
    values = DEFAULT.to_dict()
    old = {key: value for key, value in values.items() if key != "architecture"}
    for wrong in (old, {**values, "architecture": 1}, {"feature_channels": 64}):
        with pytest.raises(ModelError, match=r"architecture 1, .* release 0\.2 of imfcodec reads it"):
            ModelConfig.from_dict(wrong)
    with pytest.raises(ModelError, match=f"architecture {ARCHITECTURE + 1}, .* use a later release"):
        ModelConfig.from_dict({**values, "architecture": ARCHITECTURE + 1})
