"""The ablation benchmark: equal bits, its table, and what it holds equal between variants."""

import numpy as np
import pytest

from benchmarks.ablations import (
    BASE,
    FIGURES,
    SPAN,
    VARIANTS,
    Point,
    Result,
    count_multiply_adds,
    measure,
    middle_group,
    psnr_at,
    read_results,
    summarise,
    write_results,
)
from imfcodec.config import DEFAULT
from imfcodec.errors import InputError, UsageError
from imfcodec.training.config import load_stage
from imfcodec.training.dataset import StoredClip
from imfcodec.training.objectives import AlignObjective, make_objective
from imfcodec.training.rollout import TrainedModel

FALLING = [Point(400.0, 34.0), Point(25.0, 30.0), Point(100.0, 32.0)]  # in no order


@pytest.mark.parametrize(("bits", "expected"), [(25, 30), (50, 31), (100, 32), (200, 33), (400, 34)])
def test_quality_at_equal_bits_is_linear_in_their_logarithm(bits, expected):
    assert psnr_at(FALLING, bits) == pytest.approx(expected)


def test_nothing_is_said_outside_the_measured_bits():
    assert psnr_at(FALLING, 24.9) is None and psnr_at(FALLING, 401) is None and psnr_at([], 60) is None
    hardly = [Point(8.0, 27.0), Point(8.0, 27.2), Point(0.0, 26.0)]
    assert psnr_at(hardly, 60) is None and 27 <= psnr_at(hardly, 8.0) <= 27.2


def test_the_table_reads_back_and_is_not_mixed_with_another(tmp_path):
    path, figures = tmp_path / "a.tsv", dict.fromkeys(FIGURES, "7")
    results = [
        Result(name, figures, {0: Point(10.0, 30.0), 80: Point(90.0, 33.0)}) for name in ("base", "one reference")
    ]
    assert read_results(path, "3 steps", [0, 80]) == (["3 steps"], {})
    write_results(path, ["3 steps", "a note"], results, [60, 120])
    assert read_results(path, "3 steps", [0, 80]) == (["3 steps", "a note"], {r.variant: r for r in results})
    assert path.read_text().splitlines()[-1].endswith("\t32.45\t-")
    assert "| one reference | 0 | 0 | 10 to 90 | 30.00 to 33.00 | 32.45 | - |" in summarise(results, [60, 120])
    with pytest.raises(UsageError, match="choose another --out"):
        read_results(path, "4 steps", [0, 80])
    with pytest.raises(InputError, match="damaged row"):
        read_results(path, "3 steps", [0, 90])


def test_one_reference_and_two_are_measured_on_the_same_frame(tmp_path):
    frames, height, width = 13, 70, 140
    data = np.arange(frames, dtype=np.uint8)[:, None].repeat(height * width * 3 // 2, 1)
    np.save(tmp_path / "clip.npy", data)
    clip = StoredClip(tmp_path / "clip.npy", frames, height, width)
    one, two = middle_group(clip, 1), middle_group(clip, 2)
    assert two.frames[0, :, 0].tolist() == [2, 2 + SPAN // 2, 2 + SPAN]
    assert one.frames[0, :, 0].tolist() == [2, 2 + SPAN // 2]
    assert two.pictures()[1].luma.shape == (1, 1, 64, 64)
    assert one.shape.target.position == two.shape.target.position == SPAN // 2
    assert one.shape.target.references == (0,) and two.shape.target.references == (0, SPAN)


@pytest.mark.parametrize("references", [1, 2])
def test_the_target_is_coded_at_each_quantiser_index(small_config, tmp_path, references):
    """More bits at a finer one; the unmoved copy does not depend on it."""
    random = np.random.default_rng(0)
    np.save(tmp_path / "clip.npy", random.integers(0, 256, (13, 64 * 64 * 3 // 2), dtype=np.uint8))
    groups = [middle_group(StoredClip(tmp_path / "clip.npy", 13, 64, 64), references)]
    curve, copy = measure(TrainedModel(small_config), AlignObjective(references), groups, [0, 160])
    assert list(curve) == [0, 160] and 0 < curve[0].bits < curve[160].bits
    assert 0 < copy < 20 and all(np.isfinite(point.psnr_y) for point in curve.values())


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_stage_with_an_objective(name):
    config = load_stage("align", {**BASE, **VARIANTS[name], "steps": 1})
    assert isinstance(make_objective(config.objective, config.options), AlignObjective)


@pytest.mark.parametrize("name", ["width 64, depth 4", "width 128, depth 0"])
def test_variants_of_equal_cost_are_within_a_tenth_of_the_base(name):
    base = count_multiply_adds(DEFAULT, 2)
    other = count_multiply_adds(load_stage("align", {**VARIANTS[name], "steps": 1}).model, 2)
    assert abs(other / base - 1) < 0.1


def test_one_reference_costs_less_than_two():
    assert count_multiply_adds(DEFAULT, 1) < count_multiply_adds(DEFAULT, 2)
