"""Values that options cannot have, and options that say two things: a line that names the option, and nothing made."""

import os
from fractions import Fraction
from types import SimpleNamespace

import pytest

from imfcodec.api import EncodeOptions, encode
from imfcodec.api.sound import open_sound
from imfcodec.cli import run
from imfcodec.cli.options import fraction_of
from imfcodec.errors import LimitError, UsageError
from imfcodec.frames import AudioTrack
from imfcodec.video.editing import EditedClip, Edits
from imfcodec.video.reader import open_clip


@pytest.fixture
def clip(tmp_path):
    """Three grey frames of 64x64, an eighth of a second."""
    path = tmp_path / "in.y4m"
    path.write_bytes(b"YUV4MPEG2 W64 H64 F25:1\n" + 3 * (b"FRAME\n" + bytes([128]) * (64 * 64 * 3 // 2)))
    return path


def refused(capfd, folder, arguments):
    """The line a command ends with that asks for what cannot be; checks that it left nothing."""
    before = sorted(os.listdir(folder))
    code = run([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    assert code == UsageError.exit_code and err.count("\n") == 1 and not out, err
    assert sorted(os.listdir(folder)) == before
    return err


OPTIONS = (
    *(
        "-q",
        "-b",
        "-t",
        "--golden-interval",
        "--keyint",
        "--spatial",
        "--target-size",
        "--target-psnr",
        "--vbv",
        "--ss",
    ),
    *("--target-ssim", "--min-fps", "--to", "--fps", "--scale", "--crop", "--rate", "--threads", "--max-pixels"),
    *("--jobs", "--max-memory", "--coded-size", "--audio"),
)


@pytest.mark.parametrize("option", OPTIONS)
def test_values_out_of_range(capfd, clip, option):
    for value in ("nan", "inf", "-1", "", "1e9999999", "5x"):
        err = refused(capfd, clip.parent, ["encode", clip, clip.with_suffix(".imf"), option, value])
        assert option.strip("-").replace("keyint", "key-interval") in err.replace("quality", "q")


@pytest.mark.parametrize(
    "arguments",
    [
        ("-q", "50", "-b", "6k"),
        ("-q", "50", "--target-psnr", "30"),
        ("--min-fps", "5", "--coded-size", "1"),
        ("--to", "1", "-t", "1"),
        ("--roi-strength", "5"),
        ("--roi", ""),
        ("--fps", "25/000"),
        ("--fps", "3"),  # none of three frames lasts that long
    ],
)
def test_options_that_exclude_each_other_or_leave_nothing(capfd, clip, arguments):
    assert arguments[0].strip("-") in refused(
        capfd, clip.parent, ["encode", clip, clip.with_suffix(".imf"), *arguments]
    )


def test_a_mask_is_an_input(capfd, clip):
    """Which neither stream nor statistics may replace, -y or not."""
    mask, stream = clip.with_name("mask.y4m"), clip.with_suffix(".imf")
    mask.write_bytes(clip.read_bytes())
    for target, stats in ((mask, stream), (stream, mask)):
        line = ["encode", "-y", "--roi", mask, "--stats", stats, clip, target]
        assert "is an input itself" in refused(capfd, clip.parent, line)
    with pytest.raises(UsageError, match="is an input itself"):
        encode(clip, mask, roi=(str(mask),), overwrite=True)


def test_rates_are_numbers_or_fractions():
    assert fraction_of("25") == 25
    assert fraction_of("29.97") == Fraction(2997, 100)
    assert fraction_of("30000/1001") == Fraction(30000, 1001)
    assert [fraction_of(text) for text in ("1e9", "1/0", "-1", ".", "1/2/3", "")] == [None] * 6


@pytest.mark.parametrize("scale", [(99999, 99999), (-2, 5000), (5000, -2), (8, 8)])
def test_sizes_are_checked_before_frames_get_them(clip, scale):
    with open_clip(clip) as opened, pytest.raises(LimitError, match="--scale makes frames of"):
        EditedClip(opened, opened.frames, Edits(scale=scale))


def test_no_rate_of_sound_stands_for_the_usual_one():
    sound = SimpleNamespace(audio=AudioTrack("aac", 48000, 2, Fraction(1, 48000), b""))
    with pytest.raises(UsageError, match="Opus bit rate 0"):
        open_sound(sound, EncodeOptions(audio="opus:0"), lambda lines: None)


def test_options_of_a_page_that_is_not_written(capfd, clip):
    assert "--plot" in refused(capfd, clip.parent, ["info", clip, "--reference", clip])
