"""What each stage minimises."""

import math

import numpy as np
import pytest
import torch

from imfcodec.models.coding import Role
from imfcodec.models.structure import Chunk, plan
from imfcodec.training.dataset import PAIR_FRAMES, Batch, Knowledge
from imfcodec.training.losses import chroma_weight, rate_distortion, relative, squared_error
from imfcodec.training.objectives import AlignObjective, JointObjective
from imfcodec.training.rollout import Outcome
from imfcodec.training.shapes import ChunkShape, draw_chunk, draw_part
from imfcodec.training.watch import TokenEntropy, find_problems


def parts_of(trainer, wanted=lambda shape: True):
    """The parts of the first step whose shape fits."""
    for batch in trainer.loader.batches(0):
        if wanted(batch.shape):
            return trainer.module.objective(trainer.model, batch, 1.0)


class TestJoint:
    def test_it_codes_every_kind_of_frame(self, make_trainer):
        """A key frame, the golden frame that becomes the anchor, and the path to a random frame of the chunk."""
        trainer = make_trainer("joint", **{"options.lengths": [8], "options.split_chances": [0.6]})
        kinds = {"golden0", "golden1"}
        parts = parts_of(trainer, lambda s: len(s.levels) > 3 and s.levels[1][0].latent and not s.levels[2][0].latent)
        roles = {name: outcome.role for name, outcome in parts.outcomes.items()}
        assert list(roles)[:2] == ["key", "anchor"] and kinds <= set(roles) and roles["key"] is Role.KEY
        assert all(
            role is (Role.TOKEN if name.startswith("token") else Role.GOLDEN)
            for name, role in roles.items()
            if name != "key"
        )
        assert torch.isfinite(parts.loss)
        assert {"key/psnr_y", "anchor/copy_psnr_y", "golden1/psnr_y", "token2/bits_256"} <= set(parts.figures)
        assert all((outcome.bits > 0).all() for outcome in parts.outcomes.values())

    def test_it_codes_token_frames_of_low_delay(self, make_trainer):
        parts = parts_of(make_trainer("joint"), lambda shape: not shape.chunk.golden)
        assert list(parts.outcomes) == ["key", "anchor", "token0", "token1"]

    def test_gradients_reach_the_key_frame_through_reconstructed_references(self, make_trainer):
        trainer = make_trainer("joint", **{"options.lengths": [4]})
        parts = parts_of(trainer, lambda shape: shape.chunk.golden)
        golden = parts.outcomes["golden0"].picture.luma.square().sum()
        (gradient,) = torch.autograd.grad(golden, parts.outcomes["key"].picture.luma)
        assert gradient.abs().sum() > 0

    def test_quantiser_indices_are_in_range_and_key_frames_the_best(self, make_trainer):
        trainer = make_trainer(
            "joint",
            **{"data.batch": 3, "options.lengths": [4], "options.qindices": [0, 256], "options.lead_share": 1.0},
        )
        for dice in (0.0, 0.5, 0.99999):
            batch = next(b for b in trainer.loader.batches(0) if b.shape.chunk.golden)
            batch.dice.fill_(dice)
            outcomes = trainer.module.objective.outcomes(trainer.model, batch)
            for outcome in outcomes.values():
                assert outcome.qindex.shape == (3,) and 0 <= outcome.qindex.min() <= outcome.qindex.max() <= 255
            assert (outcomes["key"].qindex >= outcomes["anchor"].qindex).all()
            assert (outcomes["token1"].qindex <= outcomes["anchor"].qindex).all() if "token1" in outcomes else True


class TestLatent:
    def batch(self, trainer, face_pictures, qindex):
        """A `qindex` of -1 stands for a frame that is no pair's target."""
        count = len(qindex)
        planes = [torch.cat([p.luma.flatten(1), p.chroma.flatten(1)], 1) for p in face_pictures[: 2 * count]]
        other, target = ((torch.cat(planes) + 0.5) * 255).round().byte().reshape(count, 2, -1).unbind(1)
        frames = torch.stack([other] * (PAIR_FRAMES - 1) + [target], 1)
        side, paired = math.isqrt(frames.shape[-1] * 2 // 3) // 16, torch.tensor(qindex)[:, None, None, None] >= 0
        random = torch.Generator().manual_seed(0)
        config = trainer.model.network.config
        channels = config.align_channels[1], config.latent_channels
        known = Knowledge(*(paired * torch.rand(count, c, side, side, generator=random) for c in channels))
        return Batch(0, None, frames, torch.full((count, 8), 0.5), torch.tensor(qindex), known)

    def test_key_frames_know_nothing_and_pairs_their_prediction(self, make_trainer, face_pictures):
        trainer = make_trainer("latent", **{"data.batch": 3})
        batch = self.batch(trainer, face_pictures, [-1, 100, -1])
        objective, model = trainer.module.objective, trainer.model
        outcome = objective(model, batch, 1.0).outcomes["latent"]
        assert outcome.qindex.tolist() == [135, 93, 135] and (outcome.bits > 0).all()
        assert torch.equal(outcome.target.luma, batch.pictures()[-1].luma)
        batch.frames[:, 0] = 128
        other = objective(model, batch, 1.0).outcomes["latent"]
        same = [torch.equal(a, b) for a, b in zip(outcome.picture.luma, other.picture.luma, strict=True)]
        assert same == [True, False, True]

    @pytest.mark.parametrize("part", ["copies", "features", "near"])
    @torch.no_grad()  # no noise in z
    def test_pairs_bring_all_that_golden_frames_know(self, part, make_trainer, face_pictures):
        """What is known of the pair reaches its rate or its picture once those inputs have weights."""
        trainer = make_trainer("latent", **{"data.batch": 2})
        network = trainer.model.network
        inputs = {
            "copies": network.reference_decoder.copies.weight,
            "features": network.latent_prior.means.from_features.weight,
            "near": network.latent_prior.indices.enter.weight,
        }
        with torch.no_grad():
            torch.nn.init.normal_(inputs[part])
            torch.nn.init.normal_(network.reference_decoder.head.weight)
            torch.nn.init.normal_(network.latent_prior.means.mean.weight)
        batch = self.batch(trainer, face_pictures, [-1, 100])
        before = trainer.module.objective(trainer.model, batch, 1.0).outcomes["latent"]
        if part == "copies":
            batch.frames[:, 1:3] = 255 - batch.frames[:, 1:3]
        else:
            batch.known = batch.known._replace(**{part: getattr(batch.known, part).flip(0, 1) * 3})
            batch.known = Knowledge(*(x * torch.tensor([0, 1])[:, None, None, None] for x in batch.known))
        after = trainer.module.objective(trainer.model, batch, 1.0).outcomes["latent"]
        changed = (before.bits != after.bits) | (before.picture.luma != after.picture.luma).flatten(1).any(1)
        assert changed.tolist() == [False, True]

    def test_only_y_is_trained(self, make_trainer, face_pictures):
        """No gradient reaches alignment or tokens."""
        trainer = make_trainer("latent", **{"data.batch": 2})
        trainer.module.objective(trainer.model, self.batch(trainer, face_pictures, [-1, 100]), 1.0).loss.backward()
        touched = {n.split(".")[1] for n, p in trainer.model.named_parameters() if p.grad is not None and p.grad.any()}
        network = {"dense_feature_encoder", "latent_prior", "reference_decoder"}
        assert network <= touched and not touched & {
            "alignment",
            "token_prior",
            "latent_token_encoder",
            "frame_decoder",
        }

    def test_quantiser_indices_spread_around_those_of_the_references(self, make_trainer, face_pictures):
        trainer = make_trainer("latent", **{"data.batch": 2})
        found = []
        for dice in (0.0, 0.99999):
            batch = self.batch(trainer, face_pictures, [100, 250])
            batch.dice.fill_(dice)
            found.append(trainer.module.objective(trainer.model, batch, 1.0).outcomes["latent"].qindex.tolist())
        assert found == [[70, 220], [115, 255]]


class TestAlign:
    @pytest.mark.parametrize("references", [1, 2])
    def test_it_moves_originals_by_tokens_alone(self, make_trainer, references):
        trainer = make_trainer("align", **{"options.references": references})
        parts = parts_of(trainer, lambda shape: shape.span == 16)
        assert list(parts.outcomes) == (["second", "token"] if references == 2 else ["token"])
        outcome = parts.outcomes["token"]
        batch = next(b for b in trainer.loader.batches(0) if b.shape.span == 16)
        assert torch.equal(outcome.reference.luma, batch.pictures()[0].luma)
        assert torch.isfinite(parts.loss) and outcome.symbols is not None

    def test_references_may_be_what_y_makes_of_them(self, make_trainer):
        """Better ones at higher quantiser indices; the target is moved from them, and y gets no gradient."""
        trainer = make_trainer("align", **{"options.coded": 1.0})
        parts = parts_of(trainer, lambda shape: shape.span == 16)
        batch = next(b for b in trainer.loader.batches(0) if b.shape.span == 16)
        shown, original = parts.outcomes["token"].reference, batch.pictures()[0]
        assert not torch.equal(shown.luma, original.luma)
        parts.loss.backward()
        names = [n for n, p in trainer.model.named_parameters() if p.grad is not None and p.grad.any()]
        assert not any(name.startswith("network.latent_prior") for name in names)

    def test_y_is_left_alone(self, make_trainer):
        trainer = make_trainer("align")
        parts_of(trainer).loss.backward()
        touched = {n.split(".")[1] for n, p in trainer.model.named_parameters() if p.grad is not None and p.grad.any()}
        assert {"token_prior", "frame_decoder"} <= touched
        assert not touched & {"dense_feature_encoder", "latent_prior", "reference_decoder"}

    def test_shapes_reach_from_one_reference_to_the_other(self):
        generator = np.random.default_rng(0)
        for _ in range(50):
            two = AlignObjective(2).shape(generator)
            assert two.offsets == (0, two.target.position, two.span) and two.target.references == (0, two.span)
            one = AlignObjective(1).shape(generator)
            assert one.offsets == (0, one.span) and one.target.references == (0,)


class TestShapes:
    def test_offsets_are_the_frames_that_are_coded(self):
        generator = np.random.default_rng(0)
        for _ in range(200):
            shape = JointObjective().shape(generator)
            positions = {shape.lead + step.position for level in shape.levels for step in level}
            assert shape.offsets == tuple(sorted({0, shape.lead} | positions)) and max(shape.offsets) <= 64
            known = {0}
            for level in shape.levels:
                assert all({*step.references, *step.neighbours} <= known for step in level), "nothing is missing"
                known |= {step.position for step in level}

    def test_chunks_are_complete_and_split_by_chance(self):
        generator = np.random.default_rng(0)
        chunks = [draw_chunk(generator, 16, 0.5) for _ in range(200)]
        for chunk in chunks:
            assert len(plan(chunk)) == len(plan(Chunk(16, True, chunk.splits)))
            part = draw_part(generator, chunk)
            assert part[0] == plan(chunk)[0] and part[-1][0] in plan(chunk)[-1]
        assert 0.4 < np.mean([chunk.splits[0] for chunk in chunks]) < 0.6
        assert all(draw_chunk(generator, 16, 0.0).splits == (False,) for _ in range(5))
        assert sum(draw_chunk(generator, 16, 1.0).splits) == 15

    def test_a_key_frame_may_be_the_anchor(self):
        chunk = Chunk(2, True, (True,))
        assert ChunkShape.of(0, chunk, plan(chunk)).offsets == (0, 1, 2)
        assert ChunkShape.of(3, chunk, plan(chunk)[:1]).offsets == (0, 3, 5)


class TestLosses:
    def test_chroma_counts_more_at_low_quality(self):
        assert chroma_weight(torch.tensor([0.0, 1.0])).tolist() == [6.0, 1.0]

    def test_errors_are_those_of_patches_at_the_finest_quantiser(self, face_pictures):
        """Y + (U + V) / 8 per luma pixel."""
        a, b = face_pictures[0], face_pictures[5]
        error = squared_error(a, b, torch.tensor([255]))
        luma, chroma = (float((x - y).square().mean()) for x, y in zip(a, b, strict=True))
        assert error.item() == pytest.approx(luma + chroma / 4)

    def test_a_tenth_less_counts_the_same_at_any_rate(self, face_pictures):
        target, picture = face_pictures[0], face_pictures[2]
        bits, qindex = torch.tensor([500.0]), torch.tensor([120])
        outcome = Outcome(Role.KEY, target, picture, bits, qindex)
        cost = rate_distortion(outcome, 1.0)
        assert cost.item() > 500 / 4096
        assert rate_distortion(outcome, 0.0).item() == pytest.approx(cost.item() - 500 / 4096, rel=1e-4)
        assert rate_distortion(outcome, 1.0, l1=0.1).item() > cost.item()
        small, large = relative(torch.tensor([0.9, 90.0])) - relative(torch.tensor([1.0, 100.0]))
        assert small.item() == pytest.approx(large.item(), rel=1e-2)


class TestWatch:
    def test_live_dimensions_are_those_whose_symbols_vary(self, make_trainer):
        outcome = parts_of(make_trainer("align")).outcomes["token"]
        entropy = TokenEntropy()
        symbols = type(outcome.symbols)
        for value in (0.0, 1.0, 0.0, 1.0):
            g = torch.zeros_like(outcome.symbols.g)
            g[:, :2] = value
            outcome.__dict__["symbols"] = symbols(g, torch.zeros_like(outcome.symbols.u))
            entropy.add([outcome])
        assert entropy.live_shares() == {"g": 0.25, "u": 0.0}
        assert entropy.live_shares() == {}

    def test_problems_are_named(self):
        figures = {"loss": float("nan"), "live/g": 0.02, "live/u": 0.5}
        figures |= {"token0/psnr_y": 20.0, "token0/copy_psnr_y": 25.0}
        problems = find_problems(figures)
        assert [p.split(":")[0] for p in problems] == ["loss is not finite", "dead tokens", "collapse"]
        assert not find_problems({"live/g": 0.9, "token0/psnr_y": 25.0, "token0/copy_psnr_y": 20.0})
