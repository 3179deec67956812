"""Parts of a source, cropped, scaled and at another rate: what is coded is what FFmpeg's filters give."""

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from imfcodec import api
from imfcodec.errors import LimitError, UsageError
from imfcodec.evaluation import demo
from imfcodec.evaluation.synthetic import talking_face_format
from imfcodec.video.editing import EditedClip
from imfcodec.video.reader import open_clip

PERIOD = Fraction(1, 25)


def edited(path, **edits):
    """Format and frames of an edited file, and how long the last one is shown."""
    with open_clip(path) as source:
        clip = EditedClip(source, source.frames, api.Edits(**edits))
        hint, frames = clip.frame_count_hint, list(clip.frames())
        assert [frame.pts for frame in clip.frames()] == [frame.pts for frame in frames]
        assert hint == len(frames)
        return clip.format, frames, clip.last_duration


@pytest.fixture(scope="module")
def originals(clip):
    with open_clip(clip) as source:
        return list(source.frames())


def test_a_stretch_begins_at_zero(clip, originals):
    """The first frame at or after the start, up to the last one before the end."""
    _, frames, last = edited(clip, start=Fraction(41, 100), end=Fraction(20, 25))
    assert [frame.pts for frame in frames] == list(range(9)) and last is None
    assert all(np.array_equal(one.y, other.y) for one, other in zip(frames, originals[11:20], strict=True))
    assert edited(clip)[1:] == ([*map(same, originals)], 1)
    with pytest.raises(UsageError, match=r"ended before 2 seconds"):
        edited(clip, start=Fraction(2))


class same:
    """Compares equal to a frame with the same samples and time stamp."""

    def __init__(self, frame):
        self.frame = frame

    def __eq__(self, other):
        planes = all(np.array_equal(getattr(self.frame, name), getattr(other, name)) for name in "yuv")
        return planes and self.frame.pts == other.pts


def test_crop_takes_the_rectangle(clip, originals):
    video, frames, _ = edited(clip, crop=(32, 24, 8, 20))
    assert (video.width, video.height) == (32, 24) and len(frames) == 26
    assert np.array_equal(frames[3].y, originals[3].y[20:44, 8:40])
    assert np.array_equal(frames[3].v, originals[3].v[10:22, 4:20])
    with pytest.raises(UsageError, match=r"32x24\+40\+0 lies outside frames of 64x64"):
        edited(clip, crop=(32, 24, 40, 0))


def test_scale_keeps_the_shape_shown(clip):
    """Halving averages; another shape of the frame makes other pixels; -2 keeps both and gives an even side."""
    video, frames, _ = edited(clip, scale=(-2, 32))
    assert (video.width, video.height, video.sample_aspect) == (32, 32, 1)
    blocks = edited(clip)[1][0].y.reshape(32, 2, 32, 2).mean((1, 3))
    assert np.abs(frames[0].y - blocks).mean() < 3
    assert edited(clip, scale=(48, 32))[0].sample_aspect == Fraction(2, 3)
    assert edited(clip, crop=(64, 32, 0, 0), scale=(32, -2))[0].height == 16


@pytest.mark.parametrize(("fps", "count"), [(Fraction(50), 52), (Fraction(5), 5), (Fraction(10), 10)])
def test_rate_repeats_and_leaves_out_frames(clip, originals, fps, count):
    """The clip keeps its length, 1.04 s, to the nearest frame; what is shown was shown about then."""
    video, frames, last = edited(clip, fps=fps)
    assert (video.frame_rate, video.time_base, last) == (fps, 1 / fps, None)
    assert [frame.pts for frame in frames] == list(range(count))
    for frame in frames:
        near = [
            other for other in originals if abs(Fraction(other.pts, 25) - frame.pts / fps) <= max(1 / fps, PERIOD) / 2
        ]
        assert any(np.array_equal(frame.y, other.y) for other in near)


def test_sound_is_cut_with_the_pictures(tmp_path, tiny):
    """Packets outside are left out, those inside keep their distance to the pictures."""
    source = tmp_path / "sound.mkv"
    demo.write_talking_face(source, talking_face_format(64, 64), 40)
    with open_clip(source) as clip:
        whole = list(clip.audio_packets())
        base, frame = clip.audio.time_base, 1 / clip.format.frame_rate
        part = EditedClip(clip, clip.frames, api.Edits(start=10 * frame, end=30 * frame))
        kept = list(part.audio_packets())
    inside = [packet for packet in whole if 10 * frame <= packet.pts * base < 30 * frame]
    assert 0 < len(kept) == len(inside) < len(whole)
    assert kept == [replace(packet, pts=packet.pts - round(10 * frame / base)) for packet in inside]
    target = io.BytesIO()
    stats = api.encode(source, target, edits=api.Edits(start=10 * frame, end=30 * frame), model=tiny, audio="opus:12k")
    assert stats.frames == 20
    sound = api.probe(io.BytesIO(target.getvalue()))
    assert abs(sound.audio_packets * 0.02 - 20 * frame) < 0.05


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"start": Fraction(-1)}, "before the clip"),
        ({"start": Fraction(2), "end": Fraction(2)}, "from 2 to 2 seconds is empty"),
        ({"crop": (1, 64, 0, 0)}, "1x64"),
        ({"scale": (-2, -2)}, "-2x-2"),
        ({"scale": (0, 16)}, "0x16"),
        ({"fps": Fraction(0)}, "0 frames a second"),
    ],
)
def test_edits_out_of_range(wrong, said):
    with pytest.raises(UsageError, match=said):
        api.Edits(**wrong)


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"scale": (14, 16)}, "--scale makes frames of 14x16; the least is 16x16"),
        ({"scale": (-2, 4)}, "--scale makes frames of 4x4; the least is 16x16"),
        ({"scale": (5000, 16)}, "--scale makes frames of 5000x16; the most is 4096x2304"),
        ({"crop": (17, 15, 0, 0)}, "--crop makes frames of 16x14; the least is 16x16"),
        ({"crop": (32, 8, 0, 0), "scale": (-2, 8)}, "--scale makes frames of 32x8; the least is 16x16"),
    ],
)
def test_an_option_that_makes_frames_of_no_size_is_named(clip, edits, said):
    with open_clip(clip) as source, pytest.raises(LimitError, match=f"^{said}$"):
        EditedClip(source, source.frames, api.Edits(**edits))
