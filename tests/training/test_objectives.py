"""What each stage minimises."""

import pytest
import torch
from imfcodec.models.prior import Role

from imfcodec.training.losses import chroma_weight, nominal_step
from imfcodec.training.watch import TokenEntropy, find_problems


def parts_of(trainer, wanted):
    """The parts of the first step whose shape fits."""
    for batch in trainer.loader.batches(0):
        if wanted(batch.shape):
            return trainer.module.objective(trainer.network, batch, 1.0)


def test_the_joint_stage_codes_every_kind_of_frame(make_trainer):
    trainer = make_trainer("joint")
    parts = parts_of(trainer, lambda shape: len(shape.places) == 3 and not shape.low_delay)
    assert list(parts.outcomes) == ["key", "ahead", "last", "token0", "token1", "token2"]
    assert [o.role for o in parts.outcomes.values()] == [Role.KEY, Role.GOLDEN, Role.GOLDEN] + [Role.TOKEN] * 3
    assert torch.isfinite(parts.loss) and {"key/psnr_y", "last/moved_psnr_y", "token2/bits_256"} <= set(parts.figures)
    assert all((o.bits > 0).all() for o in parts.outcomes.values())
    parts = parts_of(trainer, lambda shape: shape.low_delay)
    assert list(parts.outcomes) == ["key", "ahead", "token0", "token1"]


def test_gradients_reach_the_key_frame_through_reconstructed_references(make_trainer):
    trainer = make_trainer("joint")
    parts = parts_of(trainer, lambda shape: not shape.low_delay)
    last = parts.outcomes["last"].picture.luma.square().sum()
    (gradient,) = torch.autograd.grad(last, parts.outcomes["key"].picture.luma)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("references", [1, 2])
def test_the_align_stage_moves_originals_by_tokens_alone(make_trainer, references):
    trainer = make_trainer("align", **{"options.references": references})
    parts = parts_of(trainer, lambda shape: shape.span == 16)
    assert list(parts.outcomes) == (["second", "token0"] if references == 2 else ["token0"])
    outcome = parts.outcomes["token0"]
    batch = next(b for b in trainer.loader.batches(0) if b.shape.span == 16)
    assert torch.equal(outcome.reference.picture.luma, batch.pictures()[0].luma)
    assert torch.isfinite(parts.loss)


def test_parts_of_the_token_can_be_left_out(make_trainer):
    for parts, silent in ((["g"], "u"), (["u"], "g")):
        trainer = make_trainer("align", **{"options.parts": parts, "options.qualities": [100, 160]})
        symbols = parts_of(trainer, lambda shape: True).outcomes["token0"].symbols
        assert not getattr(symbols, silent).any()


def test_the_price_of_a_bit_falls_with_quality():
    steps = nominal_step(torch.arange(256))
    assert steps[0] == pytest.approx(2.0) and steps[-1] == pytest.approx(0.02) and (steps.diff() < 0).all()


def test_chroma_counts_more_at_low_quality():
    assert chroma_weight(torch.tensor([0.0, 1.0])).tolist() == [6.0, 1.0]


class TestWatch:
    def test_live_dimensions_are_those_whose_symbols_vary(self, make_trainer):
        trainer = make_trainer("align")
        outcome = parts_of(trainer, lambda shape: True).outcomes["token0"]
        entropy = TokenEntropy()
        symbols = type(outcome.symbols)
        for value in (0.0, 1.0, 0.0, 1.0):
            g = torch.zeros_like(outcome.symbols.g)
            g[:, :8] = value
            outcome.__dict__["symbols"] = symbols(g, torch.zeros_like(outcome.symbols.u))
            entropy.add([outcome])
        assert entropy.live_shares() == {"g": 0.25, "u": 0.0}
        assert entropy.live_shares() == {}

    def test_problems_are_named(self):
        figures = {"loss": float("nan"), "live/g": 0.02, "live/u": 0.5}
        figures |= {"token0/moved_psnr_y": 20.0, "token0/copy_psnr_y": 25.0}
        problems = find_problems(figures)
        assert [p.split(":")[0] for p in problems] == ["loss is not finite", "dead tokens", "collapse"]
        assert not find_problems({"live/g": 0.9, "token0/moved_psnr_y": 25.0, "token0/copy_psnr_y": 20.0})
