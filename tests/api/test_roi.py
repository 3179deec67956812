"""Regions of interest through the functions, and on the command line."""

from dataclasses import replace
from fractions import Fraction

import pytest

from imfcodec import api
from imfcodec.cli import run
from imfcodec.errors import UsageError

SHORT = api.Edits(end=Fraction(1, 5))


def encoded(clip, model, tmp_path, **changes):
    """The stream, as bytes."""
    target = tmp_path / "out.imf"
    changes = {"edits": SHORT, "golden_interval": 4, **changes}
    api.encode(clip, target, quality=60, model=model, overwrite=True, **changes)
    return target.read_bytes()


def test_a_region_changes_the_stream_and_a_whole_one_does_not(clip, tiny, tmp_path):
    plain = encoded(clip, tiny, tmp_path)
    assert encoded(clip, tiny, tmp_path, roi=("0,0,64,64",)) == plain
    parts = encoded(clip, tiny, tmp_path, roi=("0,0,16,16", "16,0,16,16"))
    assert parts != plain
    assert encoded(clip, tiny, tmp_path, roi=("0,0,16,16", "16,0,16,16"), jobs=1) == parts


def test_a_region_is_laid_over_what_is_coded(clip, tiny, tmp_path):
    """Its pixels are those of the frames after crop and scale; verified as any stream."""
    edits = replace(SHORT, scale=(128, 128))
    encoded(clip, tiny, tmp_path, roi=("100,100,28,28",), edits=edits, coded_size="1/2", verify=True)
    assert api.probe(tmp_path / "out.imf").total_frames == 5


def test_a_region_outside_the_picture_leaves_no_file(clip, tiny, tmp_path):
    with pytest.raises(UsageError, match="--roi 60,0,10,10 reaches outside frames of 64x64"):
        encoded(clip, tiny, tmp_path, roi=("60,0,10,10",))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--roi", "1,2,3"), "--roi 1,2,3 is not x,y,width,height"),
        (("--roi", "face", "--roi", "1,2,3,4"), "--roi face stands alone"),
        (("--roi", "none.png"), "none.png: no such file"),
        (("--roi-strength", "0"), "'--roi-strength': 0.0 is not in the range 1<=x<=1000"),
    ],
)
def test_one_line_says_what_is_wrong(clip, tiny_file, tmp_path, capfd, options, line):
    target = tmp_path / "out.imf"
    code = run(["encode", "--model", str(tiny_file), "--progress", "none", *options, str(clip), str(target)])
    assert code in (2, 3) and line in capfd.readouterr().err and not target.exists()
