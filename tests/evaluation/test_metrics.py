"""Metrics: exact values, agreement with FFmpeg's filters, errors, and the two report formats."""

import csv
import io
import json
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from imfcodec.errors import UsageError
from imfcodec.evaluation.metrics import (
    METRIC_NAMES,
    PSNR_CAP,
    ComparisonReport,
    FrameMetrics,
    compare_files,
    compare_frame_streams,
    compare_frames,
    psnr,
)
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.frames import Frame
from imfcodec.video.peercodecs import decode_with_peer, encode_with_peer
from imfcodec.video.planes import view_plane
from imfcodec.video.reader import RawSpec
from imfcodec.video.writer import open_writer

RATE = Fraction(25)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tests share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def faces():
    """Eight frames of 192x176, large enough for MS-SSIM."""
    return list(talking_face(talking_face_format(192, 176, RATE), 8))


@pytest.fixture(scope="module")
def coded_faces(faces):
    """The same through x264 at two qualities."""
    return {crf: decode_with_peer("x264", encode_with_peer("x264", faces, RATE, crf)) for crf in (22, 36)}


def flat_frame(value, side=32):
    half = side // 2
    return Frame(np.full((side, side), value, np.uint8), *np.full((2, half, half), 128, np.uint8), pts=0)


def write_y4m(path, frames):
    height, width = frames[0].y.shape
    with open_writer(path, talking_face_format(width, height, RATE)) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def ffmpeg_metadata(name, reference, distorted):
    """Per-frame results of FFmpeg's `psnr` or `ssim` filter, as it writes them into frame metadata."""
    height, width = reference[0].y.shape
    graph = av.filter.Graph()
    filter_ = graph.add(name)
    sources = []
    for pad in range(2):
        source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("yuv420p"), time_base=1 / RATE)
        source.link_to(filter_, 0, pad)
        sources.append(source)
    sink = graph.add("buffersink")
    filter_.link_to(sink)
    graph.configure()
    results = []
    for index, pair in enumerate(zip(distorted, reference, strict=True)):
        for source, frame in zip(sources, pair, strict=True):
            source.push(to_picture(frame, index))
        results.append(dict(sink.pull().metadata))
    return results


def to_picture(frame, pts):
    height, width = frame.y.shape
    picture = av.VideoFrame(width, height, "yuv420p")
    for plane, samples in zip(picture.planes, (frame.y, frame.u, frame.v), strict=True):
        view_plane(plane)[:] = samples
    picture.pts, picture.time_base = pts, 1 / RATE
    return picture


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


@pytest.mark.parametrize("crf", [22, 36])
def test_psnr_agrees_with_ffmpeg(faces, coded_faces, crf):
    """Frame by frame and plane by plane."""
    report = compare_frame_streams(faces, coded_faces[crf])
    for ours, theirs in zip(report.frames, ffmpeg_metadata("psnr", faces, coded_faces[crf]), strict=True):
        for plane in "yuv":
            assert getattr(ours, f"psnr_{plane}") == pytest.approx(float(theirs[f"lavfi.psnr.psnr.{plane}"]), abs=0.05)


@pytest.mark.parametrize(("crf", "tolerance"), [(22, 0.004), (36, 0.02)])
def test_ssim_is_near_ffmpegs(faces, coded_faces, crf, tolerance):
    """The definitions differ (see the module): near at high quality, and never far."""
    report = compare_frame_streams(faces, coded_faces[crf])
    theirs = [float(frame["lavfi.ssim.Y"]) for frame in ffmpeg_metadata("ssim", faces, coded_faces[crf])]
    assert [frame.ssim_y for frame in report.frames] == pytest.approx(theirs, abs=tolerance)


def test_mean_and_5th_percentile():
    """Reductions over frames, per metric; a metric that is not defined stays so."""
    values = np.arange(21.0)
    report = ComparisonReport(tuple(FrameMetrics(v, 2 * v, 3 * v, 4 * v, v / 100, None) for v in values))
    assert report.mean == FrameMetrics(10, 20, 30, 40, pytest.approx(0.1), None)
    assert report.percentile_5 == FrameMetrics(1, 2, 3, 4, pytest.approx(0.01), None)


def test_files_are_compared_like_frames(tmp_path, faces, coded_faces):
    """Through Y4M nothing is lost."""
    reference, distorted = (
        write_y4m(tmp_path / name, frames) for name, frames in (("a.y4m", faces), ("b.y4m", coded_faces[36]))
    )
    assert compare_files(reference, distorted) == compare_frame_streams(faces, coded_faces[36])


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
    write_y4m(tmp_path / "a.y4m", faces)
    height, width = faces[0].y.shape
    (tmp_path / "b.yuv").write_bytes(b"".join(plane.tobytes() for f in faces for plane in (f.y, f.u, f.v)))
    raw = RawSpec(width, height, Fraction(25))
    for first, second in (("a.y4m", "b.yuv"), ("b.yuv", "a.y4m")):
        assert compare_files(tmp_path / first, tmp_path / second, raw=raw).mean.psnr_y == 100


def test_nothing_to_compare_is_refused():
    """A mean over no frames does not exist."""
    with pytest.raises(UsageError, match="nothing to compare"):
        compare_frame_streams([], [])


def test_json_and_csv_hold_every_frame():
    """Both formats are read back and compared."""
    frames = (FrameMetrics(30.5, 40.25, 41.0, 33.0, 0.75, None), FrameMetrics(31.5, 40.25, 41.0, 33.75, 0.5, 0.25))
    report = ComparisonReport(frames)
    loaded = json.loads(report.to_json())
    assert loaded["frame_count"] == 2 and loaded["mean"]["psnr_y"] == 31
    assert [FrameMetrics(**frame) for frame in loaded["frames"]] == list(frames)
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert list(rows[0]) == ["frame", *METRIC_NAMES]
    assert [row["frame"] for row in rows] == ["0", "1"] and rows[0]["ms_ssim_y"] == ""
    assert float(rows[1]["ssim_y"]) == 0.5
