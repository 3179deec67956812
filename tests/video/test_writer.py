import io
from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import BT709_FULL, make_format, make_frames, same_pixels

from imfcodec.errors import ImfError, InputError, UsageError
from imfcodec.frames import Colour, Frame
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer


def write_all(path, video, frames, **options):
    with open_writer(path, video, **options) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".y4m"])
def test_the_description_of_the_video_survives(tmp_path, suffix):
    video = make_format(sample_aspect=Fraction(4, 3), colour=BT709_FULL)
    write_all(tmp_path / f"clip{suffix}", video, make_frames(video, 3))
    with open_clip(tmp_path / f"clip{suffix}") as clip:
        assert clip.format.sample_aspect == Fraction(4, 3)
        assert clip.format.frame_rate == 25
        assert clip.format.colour.full_range
        assert suffix == ".y4m" or clip.format.colour == BT709_FULL


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_rotation_travels_beside_the_pixels(tmp_path, suffix, rotation):
    video = make_format(rotation=rotation)
    write_all(tmp_path / f"turned{suffix}", video, make_frames(video, 2))
    with open_clip(tmp_path / f"turned{suffix}") as clip:
        assert clip.format.rotation == rotation
        assert (clip.format.width, clip.format.height) == (64, 48)


def test_h264_is_visually_lossless_and_pads_odd_sizes(tmp_path):
    video = make_format(33, 17)
    y = np.tile(np.arange(33, dtype=np.uint8) * 6 + 16, (17, 1))
    chroma = np.full((9, 17), 128, np.uint8)
    write_all(tmp_path / "odd.mp4", video, [Frame(y, chroma, chroma, 0)])
    with open_clip(tmp_path / "odd.mp4") as clip:
        frame = next(clip.frames())
    assert frame.y.shape == (18, 34)
    assert np.abs(frame.y[:17, :33].astype(int) - y).mean() < 1
    assert np.abs(frame.y[:17, 33].astype(int) - y[:, 32]).mean() < 3


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_variable_rate_keeps_its_time_stamps(tmp_path, suffix):
    video = make_format(time_base=Fraction(1, 1000))
    stamps = [0, 40, 90, 100, 300, 333, 1000]
    write_all(tmp_path / f"vfr{suffix}", video, make_frames(video, 7, stamps))
    with open_clip(tmp_path / f"vfr{suffix}") as clip:
        assert clip.variable_rate
        read = [frame.pts * clip.format.time_base for frame in clip.frames()]
    assert read == [Fraction(pts, 1000) for pts in stamps]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("last", [None, 5000])
def test_the_last_frame_is_shown_as_long_as_it_should(tmp_path, suffix, last):
    video = make_format(time_base=Fraction(1, 1000))
    with open_writer(tmp_path / f"slides{suffix}", video) as writer:
        for frame in make_frames(video, 3, [0, 1000, 2500]):
            writer.write(frame)
        writer.last_duration = last
    with av.open(str(tmp_path / f"slides{suffix}")) as container:
        assert container.duration / 1_000_000 == pytest.approx(2.5 + (last or 40) / 1000, abs=0.02)
    with open_clip(tmp_path / f"slides{suffix}") as clip:
        assert clip.last_duration * clip.format.time_base == pytest.approx((last or 40) / 1000, abs=0.02)


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(1, 2), Fraction(1_000_003, 999_983)])
@pytest.mark.parametrize("rotation", [0, 90])
def test_mkv_holds_any_shape_of_pixels(tmp_path, aspect, rotation):
    video = make_format(33, 17, sample_aspect=aspect, rotation=rotation)
    frames = make_frames(video, 3)
    write_all(tmp_path / "wide.mkv", video, frames)
    with open_clip(tmp_path / "wide.mkv") as clip:
        assert float(clip.format.sample_aspect) == pytest.approx(float(aspect), rel=1e-3)
        assert all(same_pixels(a, b) for a, b in zip(frames, clip.frames(), strict=True))


def test_y4m_bytes_are_exact():
    video = make_format(17, 16, rate=Fraction(30000, 1001), sample_aspect=Fraction(12, 11))
    frames = make_frames(video, 2)
    sink = io.BytesIO()
    write_all(sink, video, frames)
    header = b"YUV4MPEG2 W17 H16 F30000:1001 Ip A12:11 C420jpeg XYSCSS=420JPEG XCOLORRANGE=LIMITED\n"
    body = b"".join(b"FRAME\n" + f.y.tobytes() + f.u.tobytes() + f.v.tobytes() for f in frames)
    assert sink.getvalue() == header + body


class Pipe(io.RawIOBase):
    """A sink that can only be written to."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.data += bytes(data)
        return len(bytes(data))


def test_y4m_goes_out_through_a_pipe():
    video = make_format(33, 17)
    frames = make_frames(video, 3)
    pipe = Pipe()
    write_all(pipe, video, frames)
    assert not pipe.closed
    with open_clip(io.BytesIO(bytes(pipe.data))) as clip:
        assert all(same_pixels(a, b) for a, b in zip(frames, clip.frames(), strict=True))


@pytest.mark.parametrize(
    "matrix,red", [(1, (63, 102, 240)), (6, (81, 90, 240)), (2, (81, 90, 240)), (9, (74, 97, 240))]
)
def test_pictures_use_the_matrix_of_the_video(tmp_path, matrix, red):
    video = make_format(33, 17, colour=Colour(matrix=matrix))
    planes = [np.full(shape, value, np.uint8) for shape, value in zip([(17, 33), (9, 17), (9, 17)], red, strict=True)]
    write_all(f"{tmp_path}/out/", video, [Frame(*planes, 0)])
    with av.open(str(tmp_path / "out" / "00001.png")) as container:
        rgb = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert rgb.shape == (17, 33, 3)
    assert np.abs(rgb.astype(int) - [255, 0, 0]).max() <= 3


def test_picture_series_are_numbered_and_replaced_as_a_whole(tmp_path):
    video = make_format()
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "notes.txt").write_text("keep")
    pattern = folder / "shot_%03d.png"
    write_all(pattern, video, make_frames(video, 3))
    assert sorted(file.name for file in folder.glob("*.png")) == ["shot_001.png", "shot_002.png", "shot_003.png"]
    with pytest.raises(UsageError, match="exists already"):
        open_writer(pattern, video)
    write_all(pattern, video, make_frames(video, 2), overwrite=True)
    assert sorted(file.name for file in tmp_path.rglob("*.*")) == ["notes.txt", "shot_001.png", "shot_002.png"]
    with open_clip(pattern) as clip:
        assert len(list(clip.frames())) == 2


def test_unsuitable_targets_are_usage_errors(tmp_path):
    video = make_format()
    (tmp_path / "there.mp4").write_bytes(b"precious")
    for name, reason in (
        ("clip.avi", "unknown kind"),
        ("clip", "unknown kind"),
        ("one.png", "unknown kind"),
        ("there.mp4", "exists already"),
        ("no/such/clip.mkv", "does not exist"),
    ):
        with pytest.raises(UsageError, match=reason):
            open_writer(tmp_path / name, video)
    assert (tmp_path / "there.mp4").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.y4m", "series/"])
def test_failure_leaves_nothing_behind(tmp_path, name):
    video = make_format()
    frames = make_frames(video, 2)
    target = f"{tmp_path}/{name}"
    with pytest.raises(RuntimeError), open_writer(target, video) as writer:
        writer.write(frames[0])
        raise RuntimeError
    with pytest.raises(UsageError, match="64x48"), open_writer(target, video) as writer:
        writer.write(Frame(frames[0].y[:-2], frames[0].u, frames[0].v, 0))
    with pytest.raises(InputError, match="no frames"), open_writer(target, video):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_target_appears_only_when_complete_and_is_replaced_on_request(tmp_path):
    video = make_format()
    target = tmp_path / "clip.mkv"
    target.write_bytes(b"old")
    with open_writer(target, video, overwrite=True) as writer:
        writer.write(make_frames(video, 1)[0])
        assert target.read_bytes() == b"old"
    assert target.read_bytes() != b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_a_one_line_error():
    class Full(Pipe):
        def write(self, data):
            raise OSError(28, "No space left on device")

    video = make_format()
    with pytest.raises(ImfError, match="cannot be written: No space"):
        write_all(Full(), video, make_frames(video, 1))
