import io
import itertools
import os
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import (
    make_format,
    make_frames,
    same_pixels,
    write_click,
    write_encoded,
    write_sound,
    write_tracks,
    write_video,
)

from imfcodec.errors import InputError, LimitError, UsageError
from imfcodec.video.reader import RawSpec, SourceOptions, open_clip, tracks_of
from imfcodec.video.tiff import count_pages
from imfcodec.video.writer import open_writer

STRICT = SourceOptions(strict=True)
# File, codec and options of kinds of file that play up to where they are cut.
SOURCES = [
    ("clip.mkv", "libx264", {}),
    ("clip.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "100000"}),
    ("clip.avi", "mpeg4", {}),
    ("clip.ts", "libx264", {}),
    ("clip.y4m", "rawvideo", {}),
]


def write_clip(path, video, frames, **options):
    with open_writer(path, video, **options) as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.fixture
def y4m_bytes():
    video = make_format(33, 17)
    sink = io.BytesIO()
    write_clip(sink, video, make_frames(video, 5))
    return sink.getvalue()


@pytest.mark.parametrize("suffix", [".y4m", ".mkv"])
@pytest.mark.parametrize("size", [(64, 48), (33, 17), (16, 31), (17, 16)])
def test_lossless_files_give_back_the_exact_planes(tmp_path, suffix, size):
    video = make_format(*size, rate=Fraction(30000, 1001))
    frames = make_frames(video, 4)
    with open_clip(write_clip(tmp_path / f"clip{suffix}", video, frames)) as clip:
        assert (clip.format.width, clip.format.height) == size
        assert clip.format.frame_rate == Fraction(30000, 1001)
        assert clip.frame_count_hint == 4
        read = list(clip.frames())
    assert len(read) == 4
    assert all(same_pixels(a, b) for a, b in zip(frames, read, strict=True))
    assert read[0].u.shape == (-(-size[1] // 2), -(-size[0] // 2))


def test_frames_can_be_read_twice_from_a_file(tmp_path):
    video = make_format()
    path = write_clip(tmp_path / "clip.mkv", video, make_frames(video, 3))
    with open_clip(path) as clip:
        first, second = list(clip.frames()), list(clip.frames())
    assert [f.pts for f in first] == [f.pts for f in second]
    assert all(same_pixels(a, b) for a, b in zip(first, second, strict=True))


def test_one_frame_is_a_video(tmp_path):
    video = make_format(rate=Fraction(30))
    for name in ("one.mp4", "one.mkv", "one.y4m"):
        with open_clip(write_clip(tmp_path / name, video, make_frames(video, 1))) as clip:
            assert not clip.variable_rate
            assert len(list(clip.frames())) == 1


def test_length_and_coded_bytes_are_those_of_the_pictures_alone(tmp_path):
    video = make_format(rate=Fraction(25))
    with open_clip(write_clip(tmp_path / "clip.y4m", video, make_frames(video, 5))) as clip:
        assert (clip.duration_seconds, clip.coded_bytes()) == (0.2, 5 * 64 * 48 * 3 // 2)
    write_clip(tmp_path / "%02d.png", video, make_frames(video, 5))
    with open_clip(tmp_path / "%02d.png") as clip:
        assert clip.duration_seconds == 0.2
        assert clip.coded_bytes() == sum(path.stat().st_size for path in tmp_path.glob("*.png"))
    write_click(tmp_path / "sound.mkv", "aac", 44100, 1.0)
    with open_clip(tmp_path / "sound.mkv") as clip, av.open(str(tmp_path / "sound.mkv")) as container:
        pictures = sum(packet.size for packet in container.demux(video=0))
        assert clip.coded_bytes() == pictures < (tmp_path / "sound.mkv").stat().st_size
        assert clip.duration_seconds == pytest.approx(len(list(clip.frames())) / clip.format.frame_rate, abs=0.01)


@pytest.mark.parametrize("codec,suffix", [("libx264", ".mp4"), ("libvpx-vp9", ".webm"), ("mpeg4", ".mov")])
def test_constant_rate_is_seen_in_every_container(tmp_path, codec, suffix):
    video = make_format()
    write_encoded(tmp_path / f"c{suffix}", codec, "yuv420p", [[f.y, f.u, f.v] for f in make_frames(video, 12)])
    with open_clip(tmp_path / f"c{suffix}") as clip:
        stamps = [frame.pts for frame in clip.frames()]
        step = 1 / (clip.format.frame_rate * clip.format.time_base)
    assert (clip.format.frame_rate, clip.variable_rate, clip.frame_count_hint) == (25, False, 12)
    assert [pts - stamps[0] for pts in stamps] == [n * step for n in range(12)]


def test_ten_bits_lose_two_and_nothing_else(tmp_path):
    video = make_format()
    frames = make_frames(video, 3)
    deep = [[plane.astype(np.uint16) * 4 for plane in (f.y, f.u, f.v)] for f in frames]
    write_encoded(tmp_path / "deep.mkv", "ffv1", "yuv420p10le", deep)
    with open_clip(tmp_path / "deep.mkv") as clip:
        assert all(same_pixels(a, b) for a, b in zip(frames, clip.frames(), strict=True))


def test_other_chroma_layouts_keep_luma_exactly(tmp_path):
    video = make_format()
    y = make_frames(video, 1)[0].y
    chroma = np.full((48, 64), 90, np.uint8)
    write_encoded(tmp_path / "444.mkv", "ffv1", "yuv444p", [[y, chroma, chroma]])
    write_encoded(tmp_path / "grey.mkv", "ffv1", "gray", [[y]])
    for name, expected in (("444.mkv", 90), ("grey.mkv", 128)):
        with open_clip(tmp_path / name) as clip:
            frame = next(clip.frames())
        assert np.array_equal(frame.y, y)
        assert np.all(frame.u == expected) and frame.u.shape == (24, 32)


def test_full_range_stays_full_range(tmp_path):
    video = make_format()
    frame = make_frames(video, 1)[0]
    planes = [frame.y, frame.u.repeat(2, 0), frame.v.repeat(2, 0)]
    write_encoded(tmp_path / "full.mkv", "ffv1", "yuv422p", [planes], color_range=2, colorspace=1)
    with open_clip(tmp_path / "full.mkv") as clip:
        assert clip.format.colour.full_range and clip.format.colour.matrix == 1
        assert np.array_equal(next(clip.frames()).y, frame.y)


def test_rgb_becomes_bt709(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 255
    with av.open(str(tmp_path / "red.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, "rgb24")))
        container.mux(stream.encode(None))
    with open_clip(tmp_path / "red.png") as clip:
        frame = next(clip.frames())
    assert clip.format.colour.matrix == 1 and not clip.format.colour.full_range
    assert abs(int(frame.y.mean()) - 63) <= 1 and abs(int(frame.v.mean()) - 240) <= 1


def test_headerless_video_needs_its_size(tmp_path):
    video = make_format(33, 17)
    frames = make_frames(video, 3)
    path = tmp_path / "clip.yuv"
    path.write_bytes(b"".join(plane.tobytes() for f in frames for plane in (f.y, f.u, f.v)))
    with pytest.raises(UsageError, match="size"):
        open_clip(path)
    with open_clip(path, raw=RawSpec(33, 17, Fraction(24))) as clip:
        assert clip.format.frame_rate == 24
        assert all(same_pixels(a, b) for a, b in zip(frames, clip.frames(), strict=True))
    with pytest.raises(InputError, match="whole number"):
        open_clip(path, raw=RawSpec(32, 17, Fraction(24)))
    with pytest.raises(LimitError):
        open_clip(path, raw=RawSpec(8, 17, Fraction(24)))
    with pytest.raises(InputError, match="pixel format"):
        open_clip(path, raw=RawSpec(33, 17, Fraction(24), "no_such_format"))


def test_y4m_comes_through_a_pipe(y4m_bytes):
    read_end, write_end = os.pipe()

    def feed():
        with os.fdopen(write_end, "wb") as sink:
            sink.write(y4m_bytes)

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(read_end, "rb") as source, open_clip(source) as clip:
        assert clip.frame_count_hint is None and clip.audio is None
        frames = list(clip.frames())
        with pytest.raises(UsageError, match="once"):
            next(clip.frames())
    thread.join()
    assert all(same_pixels(a, b) for a, b in zip(make_frames(make_format(33, 17), 5), frames, strict=True))
    assert [frame.pts for frame in frames] == [0, 1, 2, 3, 4]


def test_broken_pipes_are_named(y4m_bytes):
    with pytest.raises(InputError, match="Y4M"):
        open_clip(io.BytesIO(b""))
    with pytest.raises(InputError, match="Y4M"):
        open_clip(io.BytesIO(b"no video at all" * 99))
    with open_clip(io.BytesIO(y4m_bytes[:-100])) as clip:
        assert len(list(clip.frames())) == 4 and clip.cut_off
        assert any("after 4 frames" in note for note in clip.notes)
    strict = SourceOptions(strict=True)
    with open_clip(io.BytesIO(y4m_bytes[:-100]), options=strict) as clip, pytest.raises(InputError, match="cut off"):
        list(clip.frames())


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.mp4: no such file"):
        open_clip(tmp_path / "gone.mp4")
    with pytest.raises(InputError, match="is a folder"):
        open_clip(tmp_path)
    for name, content in (("a.txt", b"hello\n" * 500), ("b.mp4", b"\0" * 5000)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="not a readable video"):
            open_clip(tmp_path / name)


def test_a_file_without_pictures_is_an_input_error(tmp_path):
    header = b"YUV4MPEG2 W64 H48 F25:1 Ip C420jpeg\n"
    (tmp_path / "empty.y4m").write_bytes(header)
    with pytest.raises(InputError, match="no video frames"):
        open_clip(tmp_path / "empty.y4m")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(InputError, match="no video track"):
        open_clip(tmp_path / "sound.mkv")


def test_unknown_codecs_are_input_errors(tmp_path):
    write_click(tmp_path / "clip.mkv", "aac", 44100, 1.0)
    whole = (tmp_path / "clip.mkv").read_bytes()
    (tmp_path / "video.mkv").write_bytes(whole.replace(b"V_MPEG4/ISO/AVC", b"V_STRANGE/CODEC"))
    with pytest.raises(InputError, match="no decoder"):
        open_clip(tmp_path / "video.mkv")
    (tmp_path / "sound.mkv").write_bytes(whole.replace(b"A_AAC", b"A_ODD"))
    with pytest.raises(InputError, match="unknown kind"):
        open_clip(tmp_path / "sound.mkv")
    with open_clip(tmp_path / "sound.mkv", audio=False) as clip:
        assert clip.frame_count_hint == 50


def test_what_is_cut_off_is_read_up_to_the_cut(tmp_path):
    frames = make_frames(make_format(), 20)
    for name, codec, options in SOURCES:
        whole = write_video(tmp_path / name, frames, codec, container_options=options).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * 3 // 4 + 1])
        with open_clip(tmp_path / name) as clip:
            assert 8 <= len(list(clip.frames())) < 20, name
            assert clip.cut_off and any("cut off" in note for note in clip.notes), name
        with pytest.raises(InputError, match="cut off"), open_clip(tmp_path / name, options=STRICT) as clip:
            list(clip.frames())


def test_a_cut_that_takes_the_index_is_named(tmp_path):
    whole = write_video(tmp_path / "clip.mp4", make_frames(make_format(), 5), "libx264").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cut off before"):
        open_clip(tmp_path / "clip.mp4")


def test_a_live_recording_that_is_cut_off_is_known_by_its_last_block(tmp_path):
    path = write_video(tmp_path / "a.mkv", make_frames(make_format(), 20), "ffv1", container_options={"live": "1"})
    with open_clip(path) as clip:
        assert not clip.cut_off and not clip.notes
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with open_clip(path) as clip:
        assert clip.cut_off and len(list(clip.frames())) < 20 and clip.notes[0].startswith("cut off")


def test_bytes_between_transport_packets_do_not_cut_a_file_off(tmp_path):
    data = write_video(tmp_path / "clip.ts", make_frames(make_format(), 10), "libx264").read_bytes()
    (tmp_path / "clip.ts").write_bytes(data[: 188 * 20] + bytes(77) + data[188 * 20 :])
    with open_clip(tmp_path / "clip.ts") as clip:
        assert not clip.cut_off and len(list(clip.frames())) == 10
    (tmp_path / "clip.ts").write_bytes(data[:-50])
    with open_clip(tmp_path / "clip.ts") as clip:
        assert clip.cut_off


def test_cut_off_transport_packets_with_times_before_them(tmp_path):
    options = {"mpegts_m2ts_mode": "1"}
    frames = make_frames(make_format(), 20)
    path = write_video(tmp_path / "clip.m2ts", frames, "libx264", container_options=options)
    with open_clip(path) as clip:
        assert not clip.cut_off
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 768 * 576 + 90])
    with open_clip(path) as clip:
        assert clip.cut_off and 8 <= len(list(clip.frames())) < 20


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(InputError, match="is empty; get the file again"):
        open_clip(tmp_path / "clip.mp4")


@pytest.mark.parametrize("name,codec,pixel_format", [("a.gif", "gif", "rgb8"), ("a.mjpeg", "mjpeg", "yuvj420p")])
def test_damage_that_only_the_decoder_complains_of_is_said(tmp_path, name, codec, pixel_format):
    path = write_video(tmp_path / name, make_frames(make_format(), 12), codec, pixel_format=pixel_format)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = np.random.default_rng(1).bytes(200)
    path.write_bytes(data)
    with open_clip(path) as clip:
        assert list(clip.frames()) and clip.notes[0].startswith("damaged, frames may be")
    with pytest.raises(InputError, match="--strict"):
        open_clip(path, options=STRICT)


@pytest.mark.parametrize("name,codec", [("a.png", "png"), ("a.webp", "libwebp")])
def test_a_picture_that_ends_too_early_is_called_cut_off(tmp_path, name, codec):
    pixel_format = "rgb24" if codec == "png" else "yuv420p"
    path = write_video(tmp_path / name, make_frames(make_format(), 1), codec, pixel_format=pixel_format)
    with open_clip(path) as clip:
        assert not clip.cut_off
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="is cut off before"):
        open_clip(path)


def test_another_shape_of_pixels_midway_is_said(tmp_path):
    parts = []
    for aspect in (Fraction(4, 3), Fraction(1)):
        planes = [[np.full(size, 90, np.uint8) for size in ((48, 64), (24, 32), (24, 32))] for _ in range(3)]
        write_encoded(tmp_path / "part.ts", "libx264", "yuv420p", planes, sample_aspect_ratio=aspect)
        parts.append((tmp_path / "part.ts").read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    with open_clip(tmp_path / "both.ts") as clip:
        assert clip.notes[0].startswith("the shape of a pixel changes (4:3, 1:1)")


def test_a_cut_photograph_is_not_taken_for_a_whole_one(tmp_path):
    path = write_video(tmp_path / "a.jpg", make_frames(make_format(), 1), "mjpeg", pixel_format="yuvj420p")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_clip(path) as clip:
        assert clip.notes[0].startswith("damaged")


def test_damage_is_counted_and_does_not_end_the_reading(tmp_path):
    frames = make_frames(make_format(), 20)
    for name, codec, options in SOURCES[:-1]:
        data = bytearray(write_video(tmp_path / name, frames, codec, container_options=options).read_bytes())
        data[len(data) // 2 : len(data) // 2 + 2000] = np.random.default_rng(1).bytes(2000)
        (tmp_path / name).write_bytes(data)
        with open_clip(tmp_path / name) as clip:
            assert len(list(clip.frames())) == clip.frame_count_hint >= 5, name
            assert clip.notes, name
        with pytest.raises(InputError, match="--strict"):
            open_clip(tmp_path / name, options=STRICT)


def test_frames_that_do_not_decode_are_repeated(tmp_path):
    frames = make_frames(make_format(), 10)
    options = {"pixel_format": "yuvj420p"}
    with open_clip(write_video(tmp_path / "clip.mkv", frames, "mjpeg", spoil={4, 5, 9}, **options)) as clip:
        read = list(clip.frames())
        assert (len(read), clip.variable_rate, clip.damaged_frames, clip.repeated_frames) == (10, False, 3, 3)
        assert "3 damaged frames repeated" in clip.notes
        assert all(same_pixels(read[n], read[3]) for n in (4, 5)) and not same_pixels(read[6], read[5])
        assert same_pixels(read[9], read[8])
        assert [f.pts for f in clip.frames()] == [f.pts for f in read]


def test_a_lost_transport_packet_costs_a_warning(tmp_path):
    data = write_video(tmp_path / "clip.ts", make_frames(make_format(), 25), "libx264").read_bytes()
    middle = len(data) // 376 * 188
    (tmp_path / "clip.ts").write_bytes(data[:middle] + data[middle + 188 :])
    with open_clip(tmp_path / "clip.ts") as clip:
        assert len(list(clip.frames())) == 25 and not clip.cut_off
        assert len(clip.notes) == 1 and "damaged frame" in clip.notes[0]


@pytest.mark.parametrize("first", [1, 10, 18, 19])
def test_a_jump_of_days_is_said_wherever_it_is(tmp_path, first):
    """Matroska has no decoding stamps; those FFmpeg makes where pictures are coded in another order come behind it."""
    days = 31 * 3600 * 25
    frames = make_frames(make_format(), 20, [n + days * (n >= first) for n in range(20)])
    path = write_video(tmp_path / "a.mkv", frames, "libx264", options={"bf": "3", "b_strategy": "0"})
    with open_clip(path) as clip:
        times = [frame.pts * clip.format.time_base for frame in clip.frames()]
        assert (clip.variable_rate, times) == (False, [Fraction(n, 25) for n in range(20)])
        assert clip.last_duration * clip.format.time_base == Fraction(1, 25)
        assert clip.notes == ["its time stamps jump once: they go on from there without a gap"]


def test_sound_in_another_codec_midway_is_said_and_left_out(tmp_path):
    """In either order; silence takes its place, not packets that the track's decoder cannot read."""
    parts = {codec: write_sound(tmp_path / f"{codec}.ts", codec) for codec in ("mp2", "aac")}
    for own, other in (("mp2", "aac"), ("aac", "mp2")):
        path = tmp_path / "both.ts"
        path.write_bytes(parts[own] + parts[other])
        with open_clip(path) as clip:
            line = f"its sound changes from '{own}' to '{other}' midway: only what is in '{own}' is taken over"
            assert line in clip.notes and clip.audio.codec == own
            with open_clip(tmp_path / f"{own}.ts") as alone:
                assert len(list(clip.audio_packets())) == len(list(alone.audio_packets()))
                assert not alone.notes
            assert list(clip.decoded_audio()) and not any("cannot be decoded" in note for note in clip.notes)


def test_av1_without_a_container_that_is_cut_off_is_said(tmp_path):
    if "libsvtav1" not in av.codecs_available:
        pytest.skip("this FFmpeg cannot code AV1")
    path = write_video(tmp_path / "a.obu", make_frames(make_format(), 6), "libsvtav1")
    with open_clip(path) as clip:
        assert not clip.cut_off and len(list(clip.frames())) == 6
    path.write_bytes(path.read_bytes()[:-1])
    with open_clip(path) as clip:
        count = len(list(clip.frames()))
        assert clip.cut_off and clip.notes == [f"cut off: what there is ends after {count} frames; get the file again"]


def test_further_pages_of_a_tiff_are_said(tmp_path):
    path = write_video(tmp_path / "a.tiff", make_frames(make_format(), 1), "tiff", pixel_format="rgb24")
    with open_clip(path) as clip:
        assert not clip.notes
    data = path.read_bytes()
    small = bytearray(data)
    small[int.from_bytes(data[4:8], "little") + 10] = 1  # the first entry says: a smaller version of another page
    for pages, said in (([data], "1 page"), ([data, data], "2 pages"), ([small, data], "1 page")):
        path.write_bytes(chained(data, pages))
        with open_clip(path) as clip:
            assert clip.notes == [f"left out: {said} after the first; a series of files holds them all"]
            assert len(list(clip.frames())) == 1
    path.write_bytes(chained(data, [data], circle=True))
    assert count_pages(path) == 2
    path.write_bytes(b"II*\0\x08")
    assert count_pages(path) == 0


def chained(first: bytes, others: list[bytes], *, circle: bool = False) -> bytes:
    """A little-endian TIFF with further pages that show the pixels of the first."""
    at = int.from_bytes(first[4:8], "little")
    size = 2 + 12 * int.from_bytes(first[at : at + 2], "little")
    places = [len(first) + number * (size + 4) for number in range(len(others))]
    links = [place.to_bytes(4, "little") for place in (*places, at if circle else 0)]
    whole = first[: at + size] + links[0] + first[at + size + 4 :]
    return whole + b"".join(other[at : at + size] + link for other, link in zip(others, links[1:], strict=True))


def test_a_clock_that_starts_again_goes_on(tmp_path):
    once = write_video(tmp_path / "once.ts", make_frames(make_format(), 25), "libx264", start=10).read_bytes()
    (tmp_path / "twice.ts").write_bytes(once + once)
    with open_clip(tmp_path / "twice.ts") as clip:
        times = [frame.pts * clip.format.time_base for frame in clip.frames()]
        assert (clip.variable_rate, times) == (False, [Fraction(n, 25) for n in range(50)])
        assert any("jump once" in note for note in clip.notes)


@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("dropped", [(), (3, 4, 9)])
def test_h264_in_avi_is_shown_when_ffmpeg_shows_it(tmp_path, b_frames, dropped):
    frames = make_frames(make_format(), 15)
    kept = [frame for index, frame in enumerate(frames) if index not in dropped]
    options = {"bf": str(b_frames), "b_strategy": "0"}
    with open_clip(write_video(tmp_path / "clip.avi", kept, "libx264", options=options)) as clip:
        times = [frame.pts * clip.format.time_base * 25 for frame in clip.frames()]
        assert len(times) == len(kept) and clip.variable_rate == bool(dropped)
        if not b_frames:
            assert times == [n for n in range(15) if n not in dropped]
        assert clip.format.frame_rate == 25 or dropped
        assert all(early < late for early, late in itertools.pairwise(times))


@pytest.mark.parametrize("codec,suffix", [("libx264", ".h264"), ("libx265", ".h265"), ("mpeg2video", ".m2v")])
def test_elementary_streams_know_their_rate(tmp_path, codec, suffix):
    frames = make_frames(make_format(rate=Fraction(24)), 6)
    path = write_video(tmp_path / f"clip{suffix}", frames, codec, rate=24)
    with open_clip(path) as clip:
        assert (clip.format.frame_rate, len(list(clip.frames())), clip.variable_rate) == (24, 6, False)
    with open_clip(path, options=SourceOptions(rate=Fraction(10))) as clip:
        assert clip.format.frame_rate == 10
    with pytest.raises(UsageError, match="--rate"):
        video = make_format()
        open_clip(
            write_clip(tmp_path / "own.mkv", video, make_frames(video, 3)), options=SourceOptions(rate=Fraction(9))
        )


@pytest.mark.parametrize("rate", [12, 120])
def test_the_rate_in_the_head_of_h264_comes_before_guesses(tmp_path, rate):
    """FFmpeg takes 12 frames a second for 24 fields, which is near its default of 25."""
    path = write_video(tmp_path / "clip.h264", make_frames(make_format(rate=Fraction(rate)), 6), "libx264", rate=rate)
    with open_clip(path) as clip:
        assert clip.format.frame_rate == rate


def test_pictures_may_carry_what_pyav_does_not_know(tmp_path):
    write_video(tmp_path / "still.tiff", make_frames(make_format(), 1), "tiff", pixel_format="rgb24")  # with Exif
    with open_clip(tmp_path / "still.tiff") as clip:
        assert len(list(clip.frames())) == 1 and not clip.notes


def test_a_gif_keeps_its_pauses(tmp_path):
    stamps = [0, 25, 50, 125]
    path = write_video(tmp_path / "slides.gif", make_frames(make_format(), 4, stamps), "gif", pixel_format="rgb8")
    with open_clip(path) as clip:
        times = [frame.pts * clip.format.time_base for frame in clip.frames()]
        assert times == [0, 1, 2, 5] and clip.variable_rate


def test_picture_series_start_anywhere_and_have_no_gaps(tmp_path):
    video = make_format()
    with open_writer(tmp_path / "s_%03d.png", video) as writer:
        for frame in make_frames(video, 6):
            writer.write(frame)
    for number in range(6, 0, -1):
        (tmp_path / f"s_{number:03d}.png").rename(tmp_path / f"s_{number + 998:03d}.png")
    with open_clip(tmp_path / "s_%03d.png", options=SourceOptions(rate=Fraction(30))) as clip:
        assert (clip.format.frame_rate, len(list(clip.frames())), clip.last_duration) == (30, 6, 1)
    (tmp_path / "s_1001.png").unlink()
    (tmp_path / "s_1002.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"s_1001\.png is missing"):
        open_clip(tmp_path / "s_%03d.png")
    with open_clip(tmp_path / "s_%03d.png", options=SourceOptions(allow_gaps=True)) as clip:
        read = list(clip.frames())
        assert len(read) == 6 and same_pixels(read[3], read[1]) and "2 damaged frames repeated" in clip.notes
    with pytest.raises(InputError, match="no such pictures"):
        open_clip(tmp_path / "t_%03d.png")


def test_percent_signs_in_the_names_of_a_series(tmp_path):
    """Read as they are written: doubled ones are part of the name."""
    video = make_format()
    with open_writer(tmp_path / "50%%_%3d.png", video) as writer:
        for frame in make_frames(video, 2):
            writer.write(frame)
    assert (tmp_path / "50%_  2.png").is_file()
    with open_clip(tmp_path / "50%%_%3d.png") as clip:
        assert len(list(clip.frames())) == 2
    with pytest.raises(InputError, match="no such file"):
        open_clip(tmp_path / "50%_%3d.png")


def test_the_track_that_is_marked_is_read(tmp_path):
    path = write_tracks(tmp_path / "tracks.mkv")
    with open_clip(path) as clip:
        assert (clip.format.width, clip.audio.codec) == (64, "opus")
        assert any("video 1 (mpeg4, 96x96)" in note and "audio 1 (flac, deu)" in note for note in clip.notes)
    for options, expected in (
        (SourceOptions(video_track=1, audio_track="1"), (96, "flac")),
        (SourceOptions(audio_track="deu"), (64, "flac")),
        (SourceOptions(video_track=2, audio_track="ENG"), (64, "opus")),
    ):
        with open_clip(path, options=options) as clip:
            assert (clip.format.width, clip.audio.codec) == expected
    for options in (SourceOptions(video_track=3), SourceOptions(audio_track="3"), SourceOptions(audio_track="fra")):
        with pytest.raises(UsageError, match="there is"):
            open_clip(path, options=options)
    container, chapters, tracks = tracks_of(path)
    assert (container, chapters, [track.default for track in tracks]) == (
        "matroska,webm",
        0,
        [False, True, False, True],
    )


def test_interlaced_pictures_are_deinterlaced(tmp_path):
    frames = make_frames(make_format(), 8)
    for index, frame in enumerate(frames):  # fields that flicker: nothing in them is still
        frame.y[::2], frame.y[1::2] = (40, 200) if index % 2 else (200, 40)
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1", "crf": "1"}
    path = write_video(tmp_path / "fields.mkv", frames, "libx264", options=options)
    with open_clip(path) as clip:
        read = list(clip.frames())
        assert len(read) == 8 and any("bwdif" in note for note in clip.notes)
        assert np.ptp(read[4].y.mean(axis=1)) < 100
    with open_clip(path, options=SourceOptions(deinterlace=False)) as clip:
        assert np.ptp(next(clip.frames()).y.mean(axis=1)) > 100 and any("combs" in note for note in clip.notes)
    plain = write_video(tmp_path / "plain.mkv", frames, "libx264")
    with open_clip(plain, options=SourceOptions(deinterlace=True)) as clip:
        assert np.ptp(list(clip.frames())[4].y.mean(axis=1)) < 100
    with open_clip(plain) as clip:
        assert not clip.notes


def test_what_is_left_out_is_said(tmp_path):
    rgba = np.full((48, 64, 4), 128, np.uint8)
    with av.open(str(tmp_path / "clear.mov"), "w") as container:
        stream = container.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "argb"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format="argb")))
        container.mux(stream.encode(None))
    with open_clip(tmp_path / "clear.mov") as clip:
        assert clip.notes == ["left out: transparency"]
    small, large = make_format(), make_format(96, 64)
    parts = [
        write_video(tmp_path / f"{n}.h264", make_frames(video, 3), "libx264").read_bytes()
        for n, video in enumerate((small, large))
    ]
    (tmp_path / "sizes.h264").write_bytes(b"".join(parts))
    with open_clip(tmp_path / "sizes.h264") as clip:
        assert {frame.y.shape for frame in clip.frames()} == {(48, 64)}
        assert any("64x48, 96x64" in note for note in clip.notes)


@pytest.mark.parametrize("size", [(15, 64), (4098, 32), (2400, 2400)])
def test_sizes_outside_the_limits_are_refused(tmp_path, size):
    (tmp_path / "big.y4m").write_bytes(f"YUV4MPEG2 W{size[0]} H{size[1]} F25:1 C420jpeg\nFRAME\n".encode() + bytes(99))
    with pytest.raises(LimitError, match=f"{size[0]}x{size[1]}"):
        open_clip(tmp_path / "big.y4m")


def test_sound_can_be_left_alone(tmp_path):
    write_click(tmp_path / "clip.mp4", "aac", 44100, 1.0)
    with open_clip(tmp_path / "clip.mp4", audio=False) as clip:
        assert clip.audio is None and list(clip.audio_packets()) == []
    with open_clip(tmp_path / "clip.mp4") as clip:
        assert (clip.audio.codec, clip.audio.sample_rate, clip.audio.channels) == ("aac", 44100, 1)
        assert clip.audio.extradata and sum(1 for _ in clip.audio_packets()) > 80
