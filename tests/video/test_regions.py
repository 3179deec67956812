"""Regions of interest: what may be asked for, and the weights that frames get."""

import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from imfcodec.errors import InputError, UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame, VideoFormat
from imfcodec.limits import DEFAULT_LIMITS
from imfcodec.video.notes import Notes
from imfcodec.video.regions import FaceFinder, check_regions, with_weights
from imfcodec.video.writer import open_writer

VIDEO = VideoFormat(64, 48, Fraction(25), Fraction(1, 25))


def weights(regions, count=3, video=VIDEO, frames=None, said=None):
    """The weights of some frames."""
    frames = frames or list(talking_face(video, count))
    tell = Notes("clip", None if said is None else said.append)
    return [frame.weight for frame in with_weights(iter(frames), regions, video, DEFAULT_LIMITS, tell)]


def test_frames_stay_as_they_are_without_regions():
    frames = list(talking_face(VIDEO, 2))
    assert list(with_weights(iter(frames), (), VIDEO, DEFAULT_LIMITS, Notes("clip", None))) == frames


def test_rectangles_count_and_nothing_else():
    first, second = weights(("0,0,8,4", "60,40,4,8"), 2)
    assert first is second and first.shape == (48, 64)
    assert first[:4, :8].min() == first[40:, 60:].min() == 255
    assert np.count_nonzero(first) == 2 * 32


@pytest.mark.parametrize("text", ["1,2,3", "0,0,0,5", "-1,0,5,5", "1.5,0,4,4", "1,2,3,4,5"])
def test_what_is_no_rectangle_is_refused(text):
    with pytest.raises(UsageError, match=f"--roi {text} is not x,y,width,height in luma pixels"):
        check_regions((text,))


def test_masks_and_faces_stand_alone():
    check_regions(("face",))
    check_regions(("mask.png",))
    with pytest.raises(UsageError, match="--roi face stands alone"):
        check_regions(("0,0,4,4", "face"))


def test_a_rectangle_must_lie_within_the_frames():
    with pytest.raises(UsageError, match="--roi 60,0,5,5 reaches outside frames of 64x48"):
        weights(("60,0,5,5",))


def test_grey_of_a_picture_is_the_weight_of_all_frames(tmp_path):
    """In full range, of any size."""
    grey = np.repeat(np.array([[0, 128, 255]], np.uint8), 24, 0).repeat(8, 1)
    with av.open(str(tmp_path / "mask.png"), "w", format="image2") as container:
        stream = container.add_stream("png", 25)
        stream.width, stream.height, stream.pix_fmt = 24, 24, "gray"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "gray")))
        container.mux(stream.encode(None))
    found = weights((str(tmp_path / "mask.png"),))
    assert len(found) == 3 and all(np.array_equal(weight, grey) for weight in found)


def test_a_mask_video_goes_with_the_frames_and_its_last_one_stays(tmp_path):
    """In limited range: 16 is nothing, 235 all."""
    video = talking_face_format(32, 32, Fraction(25))
    chroma = np.full((16, 16), 128, np.uint8)
    with open_writer(tmp_path / "mask.y4m", video) as writer:
        for number, level in enumerate((16, 235)):
            writer.write(Frame(np.full((32, 32), level, np.uint8), chroma, chroma, number))
    found = weights((str(tmp_path / "mask.y4m"),))
    assert [int(weight.mean()) for weight in found] == [0, 255, 255]


def test_a_mask_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        weights((str(tmp_path / "mask.png"),))


def test_faces_count_where_they_were_last_seen(monkeypatch):
    """Looked for in every eighth frame."""
    pytest.importorskip("cv2")
    answers = iter([[], [(8, 16, 4, 4)], []])
    monkeypatch.setattr(FaceFinder, "find", lambda self, luma: next(answers))
    found = weights(("face",), 24)
    assert found[7] is None and found[8] is found[23]
    assert np.count_nonzero(found[8]) == 16 and found[8][16, 8] == 255


def test_one_line_where_there_is_no_face():
    pytest.importorskip("cv2")
    grey, chroma = np.full((48, 64), 128, np.uint8), np.full((24, 32), 128, np.uint8)
    said = []
    assert weights(("face",), frames=[Frame(grey, chroma, chroma, 0)], said=said) == [None]
    assert said == ["clip: no face was found: coded without --roi"]


def test_faces_need_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match=r"--roi face needs OpenCV; .* 'imfcodec\[roi\]'"):
        weights(("face",))


def test_a_face_is_found_in_pictures_of_any_height():
    """Here where it is drawn, in the middle."""
    pytest.importorskip("cv2")
    for side in (128, 640):
        (face,) = FaceFinder().find(next(talking_face(talking_face_format(side, side), 1)).y)
        x, y, width, height = (place / side for place in face)
        assert 0.1 < x < 0.4 < 0.6 < x + width < 0.9 and 0.1 < y < 0.4 < 0.6 < y + height < 0.95
