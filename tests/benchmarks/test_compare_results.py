"""BD-rate clip by clip from tables."""

import importlib.util
from pathlib import Path

from imfcodec.evaluation.report import CODEC, RatePoint

ROOT = Path(__file__).parent.parent.parent


def load(name):
    """A script of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def curve(codec, factor, model="-"):
    """Four points that need `factor` times the rate of a factor of 1."""
    values = [(2.0, 28.0), (4.0, 31.0), (8.0, 34.0), (16.0, 37.0)]
    return [
        RatePoint("a.mp4", codec, f"q{i}", model, 25, 1.0, 1, rate * factor, psnr, psnr / 40, 40.0, 40.0, 1.0, 1.0)
        for i, (rate, psnr) in enumerate(values)
    ]


def test_rates_are_compared_with_other_codecs_at_their_best_size_and_with_before():
    points = [*curve(CODEC, 1.0, "aa"), *curve("x264", 2.0), *curve("x265", 4.0), *curve("x265@1/2", 1.25)]
    table = load("compare_results").compare(points, curve(CODEC, 0.8, "bb"))
    assert table.splitlines()[0] == "| clip | x264 | x265 | before |"
    assert table.splitlines()[2] == "| a.mp4 | -50 % / -50 % | -20 % / -20 % | +25 % / +25 % |"


def test_a_key_frame_is_read_back_from_its_payload(face_frames, face_format):
    script = load("key_frames")
    model = script.load_model()
    sizes = []
    for qindex in (60, 200):
        size, decoded = script.our_key_frame(model, face_frames[0], face_format, qindex)
        assert decoded.y.shape == face_frames[0].y.shape and script.psnr(face_frames[0].y, decoded.y) > 20
        sizes.append(size)
    assert 0 < sizes[0] < sizes[1]
