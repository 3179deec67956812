"""A clip, and a stream of several groups made of it."""

from fractions import Fraction

import pytest

from imfcodec import api
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.writer import open_writer

FRAMES = 26


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """26 frames of 64x64 at 25 a second, as Y4M."""
    path = tmp_path_factory.mktemp("clips") / "face.y4m"
    video = talking_face_format(64, 64, Fraction(25))
    with open_writer(path, video) as writer:
        for frame in talking_face(video, FRAMES):
            writer.write(frame)
    return path


@pytest.fixture(scope="session")
def grouped(clip, tiny, tmp_path_factory):
    """The clip in groups of ten frames, chunks of four: key frames at 0, 10 and 20."""
    path = tmp_path_factory.mktemp("streams") / "grouped.imf"
    api.encode(clip, path, quality=30, key_interval=10, golden_interval=4, model=tiny)
    return path
