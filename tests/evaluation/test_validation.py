"""Validation of a model file: figures and pictures."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from imfcodec import api
from imfcodec.errors import InputError, UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.evaluation.validation import Validator, make_validator
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer
from imfcodec.zoo import available_models

FRAMES, SIDE = 9, 128
QUALITIES = (10, 60)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A talking face, longer than what is validated."""
    path = tmp_path_factory.mktemp("clips") / "face.mkv"
    video = talking_face_format(SIDE, SIDE, Fraction(25))
    with open_writer(path, video) as writer:
        for frame in talking_face(video, FRAMES + 3):
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def model_file() -> Path:
    return next(model.path for model in available_models() if model.default)


@pytest.fixture(scope="module")
def validation(clip, model_file):
    return Validator((clip,), QUALITIES, FRAMES, device="cpu")(model_file)


def test_figures_are_those_of_encode_and_compare(validation, clip, model_file, tmp_path):
    """The rate is the size of the file; better quality costs more and gives more."""
    names = ("kbps", "psnr_y", "psnr_u", "psnr_v", "ssim_y")
    figures = validation.figures
    assert set(figures) == {f"val/q{q}/{name}" for q in QUALITIES for name in names}
    assert np.isfinite(list(figures.values())).all()
    with open_clip(clip, audio=False) as source, open_writer(tmp_path / "cut.y4m", source.format) as writer:
        for frame, _ in zip(source.frames(), range(FRAMES), strict=False):
            writer.write(frame)
    for quality in QUALITIES:
        stream = tmp_path / f"{quality}.imf"
        api.encode(tmp_path / "cut.y4m", stream, quality=quality, model=str(model_file), device="cpu")
        assert figures[f"val/q{quality}/kbps"] == pytest.approx(stream.stat().st_size * 8e-3 * 25 / FRAMES)
    assert all(figures[f"val/q10/{name}"] < figures[f"val/q60/{name}"] for name in ("kbps", "psnr_y", "ssim_y"))


def test_pictures_show_original_and_decoded(validation):
    """uint8 RGB, side by side; alike, but not the same."""
    assert set(validation.pictures) == {f"val/q{quality}/face" for quality in QUALITIES}
    for picture in validation.pictures.values():
        assert picture.dtype == np.uint8 and picture.shape == (SIDE, 2 * SIDE, 3)
        original, decoded = np.hsplit(picture.astype(float), 2)
        assert 0 < np.abs(original - decoded).mean() < 20
    assert picture[SIDE // 2 + 8, SIDE // 2, 0] > picture[SIDE // 2 + 8, SIDE // 2, 2]  # skin is redder than blue


def test_validator_of_files_and_folders(clip, tmp_path):
    """Folders stand for their videos; what cannot be read is said at once."""
    assert make_validator([clip, clip.parent]).clips == (clip, clip)
    with pytest.raises(UsageError, match="needs a video"):
        make_validator([])
    with pytest.raises(UsageError, match="holds no video"):
        make_validator([tmp_path])
    with pytest.raises(InputError, match="missing"):
        make_validator([tmp_path / "missing.mp4"])
