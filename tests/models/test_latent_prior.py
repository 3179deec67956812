"""The prior of y: which places each pass codes, and what its context may see."""

import pytest
import torch

from imfcodec.models.coding import Condition, Role, Table
from imfcodec.models.latent_prior import PASSES, LatentContext, LatentPrior, put_places, take_places
from imfcodec.nn.quantize import round_through


@pytest.fixture(scope="module")
def prior(small_config) -> LatentPrior:
    """A small prior away from its start, at which means are zero."""
    torch.manual_seed(3)
    prior = LatentPrior(small_config).eval().requires_grad_(False)
    torch.nn.init.normal_(prior.means.mean.weight, std=0.3)
    return prior


class Collector:
    """A symbol coder that keeps what it is given, or gives out again what another kept."""

    def __init__(self, sets=None):
        self.sets, self._again = [], iter(sets) if sets is not None else None

    def code(self, values, rows, table):
        coded = values.round() if self._again is None else next(self._again)[0]
        self.sets.append((coded, rows, table))
        return coded

    def take_bits(self):
        return 0.0


def inputs(config, batch=2, height=8, width=4):
    """Condition and context of a golden and a key frame, y and z."""
    condition = Condition(torch.tensor([int(Role.GOLDEN), int(Role.KEY)]), torch.tensor([40, 200]))
    near = torch.randint(0, 15, (batch, config.latent_channels, height, width)) / 2
    features = torch.randn(batch, config.align_channels[1], height, width)
    context = LatentContext(torch.randn(batch, 384, height, width), features, near)
    y = 4 * torch.randn(batch, config.latent_channels, height, width)
    return condition, context, y, torch.randn(batch, config.hyper_channels, height // 4, width // 4) * 2


def test_taking_and_putting_places_are_inverse():
    x = torch.randn(2, 12, 6, 4)
    for number in range(PASSES):
        part = take_places(x, number)
        assert part.shape == (2, 12, 3, 2)
        whole = put_places(part, number)
        assert torch.equal(take_places(whole, number), part)
        assert torch.equal(whole, torch.where(whole != 0, x, 0.0)), "in their own places, zero elsewhere"


def test_four_passes_cover_each_place_and_channel_once():
    x = torch.arange(1.0, 2 * 8 * 6 * 10 + 1).reshape(2, 8, 6, 10)
    parts = [put_places(take_places(x, number), number) for number in range(PASSES)]
    assert torch.equal(sum(parts), x)
    assert torch.equal(sum((part != 0).float() for part in parts), torch.ones_like(x))
    for part in parts:  # each pass codes a quarter of the channels at each place of a cell
        shares = (part != 0).float().reshape(2, 4, 2, 3, 2, 5, 2).sum((0, 2, 3, 5))
        assert (shares.sum((1, 2)) == shares.sum() / 4).all() and (shares.sum(0) == shares.sum() / 4).all()


def test_what_is_read_is_what_was_written(prior, small_config):
    """Decoding walks through the same tables in the same order and arrives at the same y, within half a step."""
    condition, context, y, z = inputs(small_config)
    written = Collector()
    decoded, symbols = prior.code(written, condition, context, y, z)
    read = Collector(written.sets)
    again, same = prior.code(read, condition, context, None, None)
    assert torch.equal(decoded, again) and torch.equal(symbols, same)
    assert [table for *_, table in written.sets] == [Table.HYPER, *[Table.GAUSSIAN] * PASSES]
    for (_, rows, _), (_, other, _) in zip(written.sets, read.sets, strict=True):
        assert torch.equal(rows, other) and torch.equal(rows, rows.round()) and 0 <= rows.min() <= rows.max() <= 63
    error = (decoded - y) / prior.step_sizes(condition)[:, :, None, None]
    assert error.abs().max() <= 0.5 + 1e-4
    assert symbols.max() <= small_config.context_limit and torch.equal(symbols, symbols.round())


def test_a_pass_sees_earlier_passes_only(prior, small_config):
    """Other values in the places of a pass change rows and means of later passes, not its own nor earlier ones."""
    condition, context, y, z = inputs(small_config)
    plain = Collector()
    prior.code(plain, condition, context, y, z)
    for number in range(PASSES):
        other = Collector()
        changed = y + 20 * put_places(torch.ones_like(take_places(y, number)), number)
        prior.code(other, condition, context, changed, z)
        for k in range(number + 2):  # z first
            assert torch.equal(plain.sets[k][1], other.sets[k][1])
            assert k == number + 1 or torch.equal(plain.sets[k][0], other.sets[k][0])
        if number < PASSES - 1:
            assert not torch.equal(plain.sets[number + 2][1], other.sets[number + 2][1])


def test_tables_follow_from_integers_alone(prior, small_config):
    """Floating-point context shifts means; symbols, magnitudes nearby, role and quantiser index select tables."""
    condition, context, y, z = inputs(small_config)
    written = Collector()
    prior.code(written, condition, context, y, z)
    noisy = context._replace(blocks=context.blocks + 1, features=context.features * 2)
    read = Collector(written.sets)
    prior.code(read, condition, noisy, None, None)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(written.sets, read.sets, strict=True))


def test_key_and_golden_frames_have_steps_of_their_own(prior):
    with torch.no_grad():
        prior.steps[0].log_step.add_(0.5)
    qindex = torch.tensor([100, 100])
    key, golden = prior.step_sizes(Condition(torch.tensor([int(Role.KEY), int(Role.GOLDEN)]), qindex))
    with torch.no_grad():
        prior.steps[0].log_step.sub_(0.5)
    assert torch.allclose(key, golden * torch.tensor(0.5).exp(), rtol=1e-4)


def test_z_learns_from_the_tables_it_selects(prior, small_config):
    """Its gradient comes through the integer networks too: through means alone it never pays for its bits."""
    condition, context, y, z = inputs(small_config)
    z.requires_grad_(True)

    class Through(Collector):
        def code(self, values, rows, table):
            super().code(values, rows, table)
            return round_through(values)

    coder = Through()
    prior.code(coder, condition, context, y, z)
    sum(rows.sum() for _, rows, table in coder.sets if table is Table.GAUSSIAN).backward()
    assert z.grad is not None and z.grad.abs().sum() > 0
