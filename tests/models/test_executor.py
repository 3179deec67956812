"""The executor: batches, what it tells an observer, and that contexts hold what both sides know."""

import pytest
import torch

from imfcodec.models.coding import Role, Table
from imfcodec.models.executor import Executor, Part, Qindices, gather_references, places
from imfcodec.models.structure import Chunk, plan
from imfcodec.nn.picture import Picture
from imfcodec.zoo import load_model

CHUNK = Chunk(5, True, (True, False, True))  # golden frames at 5, 2 and 3, token frames at 1 and 4


class Rounding:
    """A symbol coder that keeps what it codes."""

    def __init__(self):
        self.symbols = []

    def code(self, values, rows, table):
        self.symbols.append(values.round())
        return values.round()

    def take_bits(self):
        return 0.0


@pytest.fixture(scope="module")
def network(torch_device):
    return load_model(device=torch_device).network


@pytest.fixture(scope="module")
def originals(face_pictures, torch_device):
    """Nine frames of a talking face on the device."""
    return [Picture(*(plane.to(torch_device) for plane in picture)) for picture in face_pictures]


def run(network, frames, qindices, chunk=CHUNK):
    """What is known of a key frame and the chunk after it, its rendered token frames, and the symbols."""
    coder = Rounding()
    with torch.inference_mode():
        executor = Executor(network, coder)
        known = {0: executor.key((qindices.golden + 20).clamp(max=255), frames[0], frames[0])}
        for level in plan(chunk):
            executor.run(level, known, qindices, frames)
        tokens = [step for level in plan(chunk) for step in level if not step.latent]
        rendered = {}
        for step in tokens:
            (rendered[step.position],) = executor.render([step], known, qindices)
    return known, rendered, coder.symbols


def batch_of(*pictures):
    return Picture(*(torch.cat(planes) for planes in zip(*pictures, strict=True)))


def indices(network, *rows):
    device = next(network.parameters()).device
    return Qindices(*(torch.tensor(values, device=device) for values in zip(*rows, strict=True)))


def test_each_sample_of_a_batch_gets_what_it_gets_alone(network, originals):
    """Other frames, other quantiser indices, backwards: symbols equal, pictures to float precision."""
    first, second = dict(enumerate(originals[:6])), dict(enumerate(originals[8:2:-1]))
    rows = (150, 12, 90), (60, 0, 20)
    together = {i: batch_of(first[i], second[i]) for i in first}
    known, rendered, _ = run(network, together, indices(network, *rows))
    for i, frames in enumerate((first, second)):
        alone, shown, _ = run(network, frames, indices(network, rows[i]))
        assert set(alone) == set(known) == set(range(6)) and set(shown) == set(rendered) == {1, 4}
        for position, ours in alone.items():
            theirs = known[position]
            assert torch.equal(ours.symbols.g, theirs.symbols.g[i : i + 1])
            assert torch.equal(ours.symbols.u, theirs.symbols.u[i : i + 1])
            assert torch.allclose(ours.token.u, theirs.token.u[i : i + 1], atol=1e-4)
            assert (ours.reference is None) == (theirs.reference is None) == (position in (1, 4))
            if ours.reference is not None:
                assert torch.equal(ours.reference.latent, theirs.reference.latent[i : i + 1])
                difference = ours.reference.picture.luma - theirs.reference.picture.luma[i : i + 1]
                assert difference.abs().max() < 1.5 / 255 and (difference.abs() > 1e-4).float().mean() < 0.01
        for position, picture in shown.items():
            difference = picture.luma - rendered[position].luma[i : i + 1]
            assert difference.abs().max() < 1.5 / 255 and (difference.abs() > 1e-4).float().mean() < 0.01


def test_steps_of_a_level_do_not_mix_up_samples(network, originals):
    """Frames of a level go through the network together, each with the references of its own side."""
    frames = dict(enumerate(originals))
    row = indices(network, (150, 12, 90))
    chunk = Chunk(8, True, (True, False, False))
    known, _, _ = run(network, frames, row, chunk)
    tokens = plan(chunk)[2]
    assert [step.position for step in tokens] == [2, 6]
    first, second = gather_references(tokens, known)
    assert torch.equal(first.picture.luma[1:], known[4].reference.picture.luma)
    assert torch.equal(second.features[0][:1], known[4].reference.features[0])
    assert torch.equal(second.memories[1].keys[1:], known[8].reference.memories[1].keys)
    assert places(tokens, known).tolist() == [0.5, 0.5]
    with torch.inference_mode():
        executor = Executor(network, Rounding())
        pictures = list(executor.render(tokens, known, row))
        (alone,) = executor.render(tokens[1:], known, row)
    assert (pictures[1].luma - alone.luma).abs().max() < 1.5 / 255
    assert (pictures[0].luma - alone.luma).abs().max() > 15 / 255  # another frame, by far


def test_an_observer_is_told_of_every_step_once(network, originals):
    """Tokens by level, y by golden frame or group of them, the key frame with no step; bits in coding order."""
    told = []

    class Counting(Rounding):
        bits = 0

        def code(self, values, rows, table):
            self.bits += values.numel()
            return super().code(values, rows, table)

        def take_bits(self):
            bits, self.bits = self.bits, 0
            return bits

    coder = Counting()
    executor = Executor(
        network, coder, lambda steps, part, bits: told.append(([s.position for s in steps], part, bits))
    )
    frames, row = dict(enumerate(originals)), indices(network, (150, 12, 90))
    with torch.inference_mode():
        known = {0: executor.key(row.golden, frames[0], frames[0])}
        for level in plan(CHUNK):
            executor.run(level, known, row, frames)
    assert [(steps, part) for steps, part, _ in told] == [
        ([], Part.LATENT),
        ([5], Part.TOKEN),
        ([5], Part.LATENT),
        ([2], Part.TOKEN),
        ([2], Part.LATENT),
        ([3], Part.TOKEN),
        ([3], Part.LATENT),
        ([1, 4], Part.TOKEN),
    ]
    assert sum(bits for *_, bits in told) == sum(symbols.numel() for symbols in coder.symbols)
    assert all(bits > 0 for *_, bits in told)


def test_quantiser_indices_fall_with_depth_and_stay_in_range():
    row = Qindices(torch.tensor([20, 255]), torch.tensor([15, 3]), torch.tensor([7, 8]))
    steps = {step.position: step for level in plan(CHUNK) for step in level}
    assert row.of(steps[5]).tolist() == [20, 255] and row.of(steps[2]).tolist() == [5, 252]
    assert row.of(steps[3]).tolist() == [0, 249] and row.of(steps[1]).tolist() == [7, 8]


def test_a_golden_frame_becomes_the_anchor(network, originals):
    """Its picture stays; token, displacement and all symbols are zero from then on, as after a key frame."""
    known, _, _ = run(network, dict(enumerate(originals)), indices(network, (240, 12, 90)))
    anchor = Executor(network, Rounding()).advance(known[5])
    assert torch.equal(anchor.reference.picture.luma, known[5].reference.picture.luma)
    assert known[5].reference.latent.any() and not anchor.reference.latent.any()
    assert not anchor.symbols.u.any() and not anchor.symbols.g.any()
    key = known[0]
    assert not key.reference.latent.any() and not key.symbols.u.any() and not key.reference.field.any()
    assert not anchor.token.u.any() and not anchor.token.g.any() and not anchor.reference.field.any()
    with pytest.raises(AssertionError, match="only golden frames"):
        Executor(network, Rounding()).advance(known[1])


def test_token_frames_have_no_y(network, originals):
    """All their symbols are g and u: as many as tokens have values."""
    tables = []

    class Noting(Rounding):
        def code(self, values, rows, table):
            tables.append(table)
            return super().code(values, rows, table)

    frames, row = dict(enumerate(originals)), indices(network, (150, 12, 90))
    with torch.inference_mode():
        executor = Executor(network, Noting())
        known = {0: executor.key(row.golden, frames[0], frames[0])}
        assert tables == [Table.HYPER] + [Table.GAUSSIAN] * 4
        tables.clear()
        for level in plan(Chunk(3, False)):
            executor.run(level, known, row, frames)
    assert tables == [Table.GAUSSIAN] * 6 and all(known[i].reference is None for i in (1, 2, 3))
    assert all(step.role is Role.TOKEN for level in plan(Chunk(3, False)) for step in level)
