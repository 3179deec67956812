"""The table of targets: one small run of the script."""

import pytest

from benchmarks.targets import main


@pytest.mark.parametrize(("target", "value", "unit"), [("--bitrate", 9000, "kbit/s"), ("--target-psnr", 20, "dB")])
def test_a_row_says_what_was_asked_and_what_came(face_y4m, tiny_file, tmp_path, capsys, target, value, unit):
    out = tmp_path / "targets.md"
    options = [target, str(value), "--preset", "fast", "--side", "32", "--model", str(tiny_file), "--out", str(out)]
    main([str(face_y4m), *options])
    text = out.read_text()
    assert capsys.readouterr().out.endswith(text) and "preset fast, scaled to 32 lines" in text
    *_, row = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines())
    clip, asked, got, _, within, passes, _, said = row
    assert clip == face_y4m.stem and asked.endswith(unit) and got.endswith(unit) and int(passes) >= 1
    assert within == "yes" or said != "-", "what is off by more than allowed is said"
