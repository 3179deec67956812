"""Metrics: exact values, agreement with FFmpeg's filters, errors, and the two report formats."""

import csv
import io
import json
import re
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from imfcodec.errors import UsageError
from imfcodec.evaluation.metrics import (
    METRIC_NAMES,
    ComparisonReport,
    FrameMetrics,
    compare_files,
    compare_frame_streams,
    compare_frames,
)
from imfcodec.evaluation.quality import PSNR_CAP, XPSNR_MIN_SAMPLES, XpsnrMeter, psnr, ssim_8x8
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Colour, Frame
from imfcodec.video import filters
from imfcodec.video.filters import PairFilter
from imfcodec.video.peercodecs import decode_with_peer, encode_with_peer
from imfcodec.video.planes import to_picture
from imfcodec.video.reader import RawSpec
from imfcodec.video.scaling import limit_range
from imfcodec.video.writer import open_writer, rgb_pixels

RATE = Fraction(25)
FACES = talking_face_format(192, 176, RATE)
DISTORTIONS = ("noise", "blur", "x264 at crf 22", "x264 at crf 36")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tests share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def faces():
    """Six frames of 192x176, large enough for MS-SSIM."""
    return list(talking_face(FACES, 6))


@pytest.fixture(scope="module")
def distorted_faces(faces):
    """The same, made worse in several ways."""
    random = np.random.default_rng(0)
    coded = {crf: decode_with_peer("x264", encode_with_peer("x264", faces, RATE, crf)) for crf in (22, 36)}
    return {
        "noise": [change_planes(frame, lambda plane: add_noise(plane, random)) for frame in faces],
        "blur": [change_planes(frame, lambda plane: cv2.GaussianBlur(plane, (0, 0), 1.5)) for frame in faces],
        **{f"x264 at crf {crf}": frames for crf, frames in coded.items()},
    }


@pytest.fixture(scope="module")
def reports(faces, distorted_faces):
    """Figures of each distortion."""
    return {name: compare_frame_streams(faces, frames, FACES) for name, frames in distorted_faces.items()}


def change_planes(frame, change):
    return replace(frame, y=change(frame.y), u=change(frame.u), v=change(frame.v))


def add_noise(plane, random):
    return np.clip(plane + random.normal(0, 8, plane.shape).round(), 0, 255).astype(np.uint8)


def flat_frame(value, side=32):
    half = side // 2
    return Frame(np.full((side, side), value, np.uint8), *np.full((2, half, half), 128, np.uint8), pts=0)


def write_y4m(path, frames):
    height, width = frames[0].y.shape
    with open_writer(path, talking_face_format(width, height, RATE)) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def by_ffmpeg(name, reference, distorted):
    """What FFmpeg's filter of that name says of each frame."""
    pair_filter = PairFilter(name, FACES)
    return [pair_filter.compare(*pair) for pair in zip(reference, distorted, strict=True)]


def test_psnr_of_a_known_error():
    """An error of 5 everywhere is 20 log10(255 / 5) dB; the largest error possible is 0 dB."""
    zero, five = np.zeros((4, 4), np.uint8), np.full((4, 4), 5, np.uint8)
    assert psnr(five, zero) == psnr(zero, five) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(zero, np.full((4, 4), 255, np.uint8)) == pytest.approx(0)


def test_identical_frames_reach_the_cap(faces):
    """Nothing is infinite."""
    metrics = compare_frames(faces[0], faces[0])
    assert metrics.psnr_y == metrics.psnr_u == metrics.psnr_v == metrics.psnr_611 == PSNR_CAP
    assert metrics.ssim_y == pytest.approx(1) and metrics.ms_ssim_y == pytest.approx(1)


def test_weighted_psnr_is_6_to_1_to_1():
    """Luma counts six times."""
    reference = flat_frame(100)
    distorted = replace(reference, y=reference.y + 1, u=reference.u + 2, v=reference.v + 4)
    metrics = compare_frames(reference, distorted)
    assert metrics.psnr_u > metrics.psnr_v
    assert metrics.psnr_611 == pytest.approx((6 * metrics.psnr_y + metrics.psnr_u + metrics.psnr_v) / 8)


@pytest.mark.parametrize(("side", "expected"), [(160, False), (161, True)])
def test_ms_ssim_needs_more_than_160_samples(side, expected):
    """Smaller pictures have none, without an error."""
    luma = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    chroma = np.zeros(((side + 1) // 2, (side + 1) // 2), np.uint8)
    frame = Frame(luma, chroma, chroma, 0)
    assert (compare_frames(frame, frame).ms_ssim_y is not None) == expected


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_psnr_agrees_with_ffmpeg(faces, distorted_faces, reports, distortion):
    """Frame by frame and plane by plane."""
    for ours, theirs in zip(
        reports[distortion].frames, by_ffmpeg("psnr", faces, distorted_faces[distortion]), strict=True
    ):
        for plane in "yuv":
            assert getattr(ours, f"psnr_{plane}") == pytest.approx(float(theirs[f"psnr.{plane}"]), abs=0.05)


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_ssim_8x8_agrees_with_ffmpeg(faces, distorted_faces, reports, distortion):
    """Frame by frame."""
    theirs = [float(found["Y"]) for found in by_ffmpeg("ssim", faces, distorted_faces[distortion])]
    assert [frame.ssim_y_8x8 for frame in reports[distortion].frames] == pytest.approx(theirs, abs=0.002)


def test_ssim_8x8_leaves_out_what_ffmpeg_leaves_out():
    """Sides that are no multiple of 4 end at one."""
    random = np.random.default_rng(0)
    first, second = (
        Frame(*(random.integers(0, 256, s, np.uint8) for s in ((39, 61), (20, 31), (20, 31))), 0) for _ in "ab"
    )
    theirs = PairFilter("ssim", talking_face_format(61, 39, RATE)).compare(first, second)
    assert ssim_8x8(first.y, second.y) == pytest.approx(float(theirs["Y"]), abs=1e-5)


@pytest.mark.parametrize(("distortion", "tolerance"), [("x264 at crf 22", 0.004), ("x264 at crf 36", 0.02)])
def test_gaussian_ssim_is_near_ffmpegs(faces, distorted_faces, reports, distortion, tolerance):
    """The definitions differ (see `quality`): near at high quality, and never far."""
    theirs = [float(found["Y"]) for found in by_ffmpeg("ssim", faces, distorted_faces[distortion])]
    assert [frame.ssim_y for frame in reports[distortion].frames] == pytest.approx(theirs, abs=tolerance)


def test_rgb_psnr_is_of_the_mean_error_of_three_channels(faces, distorted_faces):
    """Also by FFmpeg's filter, which is shown each channel as luma."""
    pair = faces[0], distorted_faces["x264 at crf 36"][0]
    channels = zip(*(np.moveaxis(rgb_pixels(frame, FACES), 2, 0) for frame in pair), strict=True)
    errors = [
        float(PairFilter("psnr", FACES).compare(*(replace(faces[0], y=plane) for plane in planes))["mse.y"])
        for planes in channels
    ]
    assert compare_frames(*pair, FACES).psnr_rgb == pytest.approx(10 * np.log10(255**2 / np.mean(errors)), abs=0.05)


def test_rgb_psnr_goes_by_the_colour_of_the_video(faces, distorted_faces):
    """In full range the same samples lie closer together than in limited range."""
    pair = faces[0], distorted_faces["noise"][0]
    full = replace(FACES, colour=replace(FACES.colour, full_range=True))
    assert compare_frames(*pair, full).psnr_rgb > compare_frames(*pair, FACES).psnr_rgb + 0.5


def test_xpsnr_is_what_ffmpeg_writes_into_its_file(tmp_path, faces, distorted_faces):
    """The reference comes first: the weights are those of its blocks."""
    distorted = distorted_faces["x264 at crf 36"]
    graph = av.filter.Graph()
    sources = [graph.add_buffer(width=192, height=176, format="yuv420p", time_base=1 / RATE) for _ in range(2)]
    xpsnr, sink = graph.add("xpsnr", f"stats_file={tmp_path / 'stats'}"), graph.add("buffersink")
    for pad, source in enumerate(sources):
        source.link_to(xpsnr, 0, pad)
    xpsnr.link_to(sink)
    graph.configure()
    for index, pair in enumerate(zip(faces, distorted, strict=True)):
        for source, frame in zip(sources, pair, strict=True):
            source.push(to_picture(frame, index))
        sink.pull()
    del graph, sources, source, xpsnr, sink  # closes the file
    theirs = [float(figure) for figure in re.findall(r"XPSNR y: ([\d.]+)  ", (tmp_path / "stats").read_text())]
    meter = XpsnrMeter(FACES)
    ours = [meter.measure(*pair) for pair in zip(faces, distorted, strict=True)]
    assert ours == pytest.approx(theirs, abs=0.001)


def test_xpsnr_goes_by_the_frame_rate(faces, distorted_faces):
    """Above 32 frames per second movement is steady speed no more."""
    slow, fast = (XpsnrMeter(replace(FACES, frame_rate=Fraction(rate))) for rate in (25, 50))
    pairs = list(zip(faces, distorted_faces["blur"], strict=True))
    assert [slow.measure(*pair) for pair in pairs] != [fast.measure(*pair) for pair in pairs]
    assert XpsnrMeter(FACES).measure(faces[0], faces[0]) == PSNR_CAP


def test_xpsnr_is_none_where_it_cannot_be_measured(monkeypatch, faces):
    """FFmpeg divides by zero for tiny pictures, and older ones lack the filter."""
    tiny = flat_frame(100, side=44)
    assert 44 * 44 < XPSNR_MIN_SAMPLES <= 45 * 45
    assert XpsnrMeter(talking_face_format(44, 44, RATE)).measure(tiny, tiny) is None
    smallest = flat_frame(100, side=46)
    assert XpsnrMeter(talking_face_format(46, 46, RATE)).measure(smallest, smallest) == PSNR_CAP
    monkeypatch.setattr(filters.av.filter, "filters_available", {"psnr"})
    assert XpsnrMeter(FACES).measure(faces[0], faces[0]) is None
    with pytest.raises(UsageError, match="no filter 'xpsnr'"):
        PairFilter("xpsnr", FACES)


def test_slow_metrics_are_measured_when_asked_for(faces, distorted_faces, reports):
    """And the first frame has none before it to be consistent with."""
    quick = reports["x264 at crf 36"]
    slow = compare_frame_streams(faces, distorted_faces["x264 at crf 36"], FACES, all_metrics=True)
    names = {"xpsnr_y", "warping_error", "reference_warping_error"}
    assert set(slow.mean.measured()) - set(quick.mean.measured()) == names
    assert set(slow.frames[1].measured()) - set(slow.frames[0].measured()) == names - {"xpsnr_y"}
    assert slow.mean.psnr_rgb == quick.mean.psnr_rgb and slow.mean.lpips is None


def test_mean_and_5th_percentile():
    """Over the frames that have the metric; the worst are the highest where lower is better."""
    frames = [
        FrameMetrics(*v * np.arange(1, 8), lpips=v / 100, warping_error=None if v == 0 else v) for v in np.arange(21.0)
    ]
    report = ComparisonReport(tuple(frames))
    assert report.mean == FrameMetrics(
        10, 20, 30, 40, 50, 60, 70, lpips=pytest.approx(0.1), warping_error=pytest.approx(10.5)
    )
    assert report.percentile_5 == FrameMetrics(
        1, 2, 3, 4, 5, 6, 7, lpips=pytest.approx(0.19), warping_error=pytest.approx(19.05)
    )


def test_files_are_compared_like_frames(tmp_path, faces, distorted_faces):
    """Through Y4M nothing is lost but the description of colour."""
    reference, distorted = (
        write_y4m(tmp_path / name, frames)
        for name, frames in (("a.y4m", faces), ("b.y4m", distorted_faces["x264 at crf 36"]))
    )
    assert compare_files(reference, distorted) == compare_frame_streams(faces, distorted_faces["x264 at crf 36"])


@pytest.mark.parametrize(("reference_count", "distorted_count", "shorter"), [(3, 2, "distorted"), (2, 3, "reference")])
def test_different_lengths_are_refused(tmp_path, faces, reference_count, distorted_count, shorter):
    """The message says which video ends first."""
    reference = write_y4m(tmp_path / "a.y4m", faces[:reference_count])
    distorted = write_y4m(tmp_path / "b.y4m", faces[:distorted_count])
    with pytest.raises(UsageError, match=f"the {shorter} video ends after 2 frames"):
        compare_files(reference, distorted)


def test_different_sizes_are_refused(tmp_path, faces):
    """The message gives both sizes."""
    reference = write_y4m(tmp_path / "a.y4m", faces[:1])
    distorted = write_y4m(tmp_path / "b.y4m", [flat_frame(0)])
    with pytest.raises(UsageError, match=r"192x176.*32x32"):
        compare_files(reference, distorted)


def test_headerless_video_is_compared_with_any_other(tmp_path, faces):
    write_y4m(tmp_path / "a.y4m", faces[:2])
    height, width = faces[0].y.shape
    (tmp_path / "b.yuv").write_bytes(b"".join(plane.tobytes() for f in faces[:2] for plane in (f.y, f.u, f.v)))
    raw = RawSpec(width, height, Fraction(25))
    for first, second in (("a.y4m", "b.yuv"), ("b.yuv", "a.y4m")):
        assert compare_files(tmp_path / first, tmp_path / second, raw=raw).mean.psnr_y == 100


def test_nothing_to_compare_is_refused():
    """A mean over no frames does not exist."""
    with pytest.raises(UsageError, match="nothing to compare"):
        compare_frame_streams([], [])


def test_json_and_csv_hold_every_frame():
    """Both formats are read back and compared."""
    frames = (
        FrameMetrics(30.5, 40.25, 41.0, 33.0, 29.5, 0.75, 0.7, lpips=0.125),
        FrameMetrics(31.5, 40.25, 41.0, 33.75, 29.5, 0.5, 0.7, 0.25, lpips=0.25),
    )
    report = ComparisonReport(frames)
    loaded = json.loads(report.to_json())
    assert loaded["frame_count"] == 2 and loaded["mean"]["psnr_y"] == 31
    assert loaded["percentile_5"]["lpips"] == pytest.approx(0.24375) and loaded["mean"]["xpsnr_y"] is None
    assert [FrameMetrics(**frame) for frame in loaded["frames"]] == list(frames)
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert list(rows[0]) == ["frame", *METRIC_NAMES]
    assert [row["frame"] for row in rows] == ["0", "1"] and rows[0]["ms_ssim_y"] == ""
    assert float(rows[1]["ssim_y"]) == 0.5


def test_range_rate_and_padding_are_understood(tmp_path):
    """Equal pictures are equal whatever their range, rate and padding; other matrices are refused."""
    video = talking_face_format(65, 49, RATE)
    frames = list(talking_face(video, 3))
    full = [
        replace(
            f, y=np.round((f.y.clip(16, 235) - 16.0) * 255 / 219).astype(np.uint8), u=f.u * 0 + 128, v=f.v * 0 + 128
        )
        for f in frames
    ]
    limited = list(limit_range(full))
    clips = {
        "full.mkv": (replace(video, colour=Colour(1, 1, 1, True)), full),
        "limited.mkv": (replace(video, colour=Colour(1, 1, 1)), limited),
        "slow.mkv": (replace(video, frame_rate=Fraction(10), time_base=Fraction(1, 10)), limited),
        "padded.mp4": (replace(video, colour=Colour(1, 1, 1)), limited),
        "bt601.mkv": (replace(video, colour=Colour(6, 6, 6)), limited),
    }
    for name, (form, pictures) in clips.items():
        with open_writer(tmp_path / name, form) as writer:
            for index, frame in enumerate(pictures):
                writer.write(replace(frame, pts=index))
    said: list[str] = []

    def luma(name: str) -> float:
        return compare_files(tmp_path / "limited.mkv", tmp_path / name, say=said.append).mean.psnr_y

    assert luma("full.mkv") > 90 and "limited range" in said.pop()
    assert luma("slow.mkv") > 90 and "frame rates differ" in said.pop()
    assert luma("padded.mp4") > 40 and "padded to 66x50" in said.pop()
    with pytest.raises(UsageError, match="matrices differ"):
        luma("bt601.mkv")
    assert not said
