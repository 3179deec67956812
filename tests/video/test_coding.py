"""Decoded pictures in the codecs of others, with the subtitles and chapters of their source."""

from fractions import Fraction

import av
import pytest

from imfcodec.errors import InputError, UsageError
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.coding import VideoCoding
from imfcodec.video.extras import Extras
from imfcodec.video.writer import open_writer

FRAMES = 6


@pytest.fixture(scope="module")
def clip():
    """A talking face of odd size, six frames at 25 a second."""
    video = talking_face_format(67, 65, Fraction(25))
    return video, list(talking_face(video, FRAMES))


def write(path, clip, coding=None, extras=None):
    video, frames = clip
    with open_writer(path, video, coding=coding, extras=extras) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.mark.parametrize(
    ("codec", "suffix", "name", "size"),
    [
        ("h264", ".mkv", "h264", (68, 66)),
        ("hevc", ".mp4", "hevc", (68, 66)),
        ("av1", ".mp4", "av1", (68, 66)),
        ("ffv1", ".mkv", "ffv1", (67, 65)),
    ],
)
def test_every_codec_is_written(clip, tmp_path, codec, suffix, name, size):
    path = tmp_path / f"film{suffix}"
    write(path, clip, VideoCoding(codec))
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert name in (context.name, context.codec.canonical_name) and (context.width, context.height) == size
        assert sum(1 for _ in container.decode(video=0)) == FRAMES
        if codec == "hevc":
            assert context.codec_tag == "hvc1"  # which Apple's players want


def test_the_rate_factor_makes_the_file_smaller(clip, tmp_path):
    for crf in (None, 10, 45):
        write(tmp_path / f"{crf}.mp4", clip, VideoCoding("h264", crf))
    sizes = [(tmp_path / f"{crf}.mp4").stat().st_size for crf in (None, 10, 45)]
    assert sizes[0] == sizes[1] > 2 * sizes[2]


@pytest.mark.parametrize(
    ("name", "coding", "message"),
    [
        ("film.mp4", ("ffv1", None), "holds no FFV1"),
        ("film.mkv", ("ffv1", 3), "takes no --crf"),
        ("film.mkv", (None, 3), "takes no --crf"),
        ("film.mp4", (None, 60), "--crf 60 is outside 0 to 51 of h264"),
        ("film.y4m", ("h264", None), r"for \.mp4 and \.mkv alone"),
    ],
)
def test_choices_that_do_not_fit(clip, tmp_path, name, coding, message):
    with pytest.raises(UsageError, match=message):
        write(tmp_path / name, clip, VideoCoding(*coding))
    assert not list(tmp_path.iterdir())


def test_values_out_of_range():
    with pytest.raises(UsageError, match="outside 0 to 51"):
        VideoCoding("hevc", 52)
    with pytest.raises(UsageError, match="--codec vp9 is unknown"):
        VideoCoding("vp9")
    assert VideoCoding("av1", 63).crf == 63


def test_subtitles_and_chapters_are_copied(clip, extras, tmp_path):
    with Extras(extras) as source:
        write(tmp_path / "film.mkv", clip, extras=source)
        assert not source.notes
    with av.open(str(tmp_path / "film.mkv")) as container:
        stream = container.streams.subtitles[0]
        shown = [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]
        assert stream.language == "eng"
        assert shown == [(0, b"Hello"), (Fraction(12, 100), b"<i>there</i>")]
        chapters = [(c["start"] * c["time_base"], c["metadata"]["title"]) for c in container.chapters()]
        assert chapters == [(0, "one"), (Fraction(1, 10), "two")]


def test_text_becomes_what_the_file_holds(clip, extras, tmp_path):
    """To .mp4 and back to .mkv: words, times and language stay."""
    for name, source in (("film.mp4", extras), ("back.mkv", tmp_path / "film.mp4")):
        with Extras(source) as subtitles:
            write(tmp_path / name, clip, extras=subtitles)
            assert not subtitles.notes
    for name, codec in (("film.mp4", "mov_text"), ("back.mkv", "subrip")):
        with av.open(str(tmp_path / name)) as container:
            stream = container.streams.subtitles[0]
            assert stream.codec_context.codec.canonical_name == codec and stream.language == "eng"
            packets = [packet for packet in container.demux(stream) if packet.size > 2]
            assert [packet.pts * packet.time_base for packet in packets] == [0, Fraction(12, 100)]
            words = [word for word in (b"Hello", b"there") for packet in packets if word in bytes(packet)]
            assert words == [b"Hello", b"there"]
            assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["one", "two"]


def test_what_a_file_cannot_hold_is_said(clip, extras, tmp_path, monkeypatch):
    """Pictures as subtitles, in .mp4."""
    monkeypatch.setattr("imfcodec.video.extras._TEXT", frozenset())
    with Extras(extras) as source:
        write(tmp_path / "film.mp4", clip, extras=source)
        assert source.notes == [".mp4 holds no such subtitles, left out: subtitle 1 (subrip, eng)"]
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert not container.streams.subtitles


def test_extras_of_what_is_no_media_file(tmp_path):
    (tmp_path / "no.mkv").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"no\.mkv: cannot be read"):
        Extras(tmp_path / "no.mkv")
