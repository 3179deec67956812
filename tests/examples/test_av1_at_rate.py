"""AV1 at the rate of a stream."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from imfcodec import api
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "av1_at_rate.py"
STREAM = ROOT / "bitstreams" / "valid" / "size-129x66.imf"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, SCRIPT, *arguments]
    return subprocess.run([str(part) for part in line], capture_output=True, text=True, timeout=200)


def test_the_largest_that_fits_is_kept(face_frames, face_format, tmp_path):
    source, target = tmp_path / "source.mkv", tmp_path / "av1.mp4"
    video = replace(face_format, rotation=90)
    with open_writer(source, video) as writer:
        for frame in face_frames:
            writer.write(frame)
    done = run(source, STREAM, target)
    assert done.returncode == 0, done.stderr
    summary = api.probe(STREAM)
    most = summary.size_bytes - summary.bytes_by_kind["audio"]
    with open_clip(target, audio=False) as clip:
        assert 0.7 * most < clip.coded_bytes() <= most
        assert clip.duration_seconds == 0.4 and len(list(clip.frames())) == 10
        assert (clip.format.colour, clip.format.rotation) == (video.colour, 90)
    assert f"{clip.format.width}x{clip.format.height}, crf" in done.stdout


def test_what_is_wrong_is_said_in_a_line(face_y4m, tmp_path):
    for source, target in ((tmp_path / "none.mp4", "a.mp4"), (face_y4m, "none/a.mp4")):
        done = run(source, STREAM, tmp_path / target)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and "none" in done.stderr
