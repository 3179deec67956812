"""The command line: start-up, commands, pipes, output files and exit codes."""

import io
import json
import re
import resource
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from types import SimpleNamespace

import av
import pytest

from imfcodec import api
from imfcodec.bitstream.container import StreamReader, StreamWriter, list_packets
from imfcodec.bitstream.packet import AudioBatch, PacketKind, VideoPacket
from imfcodec.cli import run
from imfcodec.evaluation import demo
from imfcodec.evaluation.synthetic import talking_face_format
from imfcodec.video.planes import to_picture
from imfcodec.video.reader import open_clip
from imfcodec.video.writer import open_writer

START_UP_SECONDS = 0.5
HEAVY = {"torch", "numpy", "av", "compressai", "constriction"}
SOUND_FRAMES = 20


@pytest.fixture
def imf(capsysbinary, monkeypatch):
    """Run a command line in this process; returns code, out (bytes) and err (text)."""

    def command(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        code = run([str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        return SimpleNamespace(code=code, out=out, err=err.decode())

    return command


@pytest.fixture(scope="session")
def stream(face_y4m, tmp_path_factory):
    """The small talking face as an .imf stream: a key frame and two chunks."""
    path = tmp_path_factory.mktemp("streams") / "face.imf"
    api.encode(face_y4m, path, quality=30, golden_interval=8, device="cpu")
    return path


@pytest.fixture(scope="session")
def sound_clip(tmp_path_factory):
    """A small talking face with sound, as Matroska."""
    path = tmp_path_factory.mktemp("clips") / "sound.mkv"
    demo.write_talking_face(path, talking_face_format(64, 64), SOUND_FRAMES)
    return path


@pytest.fixture
def damaged(stream, tmp_path):
    """The stream with one byte of its first chunk changed."""
    data = bytearray(stream.read_bytes())
    with stream.open("rb") as file:
        chunk = next(packet for packet in list_packets(file) if packet.kind is PacketKind.CHUNK)
    data[chunk.offset + chunk.size // 2] ^= 0x55
    path = tmp_path / "damaged.imf"
    path.write_bytes(data)
    return path


def rewrite_sound(source, target, codec):
    """Copy a clip with its sound, at 8 kHz, in another codec."""
    with open_clip(source) as clip, av.open(str(target), "w") as container:
        video = container.add_stream("mpeg4", rate=clip.format.frame_rate)
        video.width, video.height, video.pix_fmt = clip.format.width, clip.format.height, "yuv420p"
        sound = container.add_stream(codec, rate=8000)
        sound.layout = "mono"
        for index, frame in enumerate(clip.frames()):
            container.mux(video.encode(to_picture(frame, index)))
        resampler = av.AudioResampler(format=sound.format.name, layout="mono", rate=8000)
        for piece in clip.decoded_audio():
            for resampled in resampler.resample(piece):
                container.mux(sound.encode(resampled))
        container.mux(video.encode(None))


def spoil_packet(source, target, number):
    """Copy a video whose packet `number` becomes zeros, as PNG pictures."""
    with open_clip(source) as clip, av.open(str(target), "w") as container:
        stream = container.add_stream("png", rate=clip.format.frame_rate)
        stream.width, stream.height, stream.pix_fmt = clip.format.width, clip.format.height, "rgb24"
        for index, frame in enumerate(clip.frames()):
            for packet in stream.encode(to_picture(frame, index).reformat(format="rgb24")):
                copy = av.Packet(bytes(packet.size) if index == number else bytes(packet))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.is_keyframe, copy.stream = True, stream
                container.mux(copy)


def fails(result, code):
    """Whether a command failed with this code and one line about it."""
    assert result.code == code, result.err
    assert result.out == b""
    assert re.fullmatch(r"imfcodec: .+\n", result.err), result.err
    return True


def test_help_starts_fast(fresh_process):
    """Help must not wait for torch. Processor time: other load on the machine does not count."""

    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    assert fresh_process("-m", "imfcodec", "--help").returncode == 0
    assert used() - before < START_UP_SECONDS


def test_help_imports_nothing_heavy(fresh_process):
    """All help pages together load neither torch nor NumPy nor PyAV."""
    script = (
        "import sys; from imfcodec.cli import cli, run; "
        "codes = [run([*name, '--help']) for name in ([], *([c] for c in cli.commands))]; "
        f"sys.exit(any(codes) or bool({HEAVY!r} & set(sys.modules)))"
    )
    assert fresh_process("-c", script).returncode == 0


def test_probing_needs_no_torch(fresh_process, stream):
    """A stream can be inspected without loading torch."""
    script = "import sys; from imfcodec.api import probe; probe(sys.argv[1]); sys.exit('torch' in sys.modules)"
    assert fresh_process("-c", script, stream).returncode == 0


def test_encode_and_decode_in_two_processes(fresh_process, imf, face_y4m, tmp_path):
    """The decoder sees only the file: a fresh process gives the same frames as this one."""
    stream, decoded, here = (tmp_path / name for name in ("face.imf", "face.y4m", "here.y4m"))
    encoded = fresh_process("-m", "imfcodec", "encode", face_y4m, stream, "--device", "cpu")
    assert encoded.returncode == 0, encoded.stderr
    result = fresh_process("-m", "imfcodec", "decode", stream, decoded, "--device", "cpu", "--threads", 1)
    assert result.returncode == 0, result.stderr
    assert imf("decode", stream, here, "--device", "cpu", "--threads", 1).code == 0
    assert decoded.read_bytes() == here.read_bytes()


def test_encode_ends_with_one_line_that_adds_up(imf, face_y4m, tmp_path):
    """The last line and --stats give the size of the file, split by what the bytes carry."""
    target, stats_path = tmp_path / "face.imf", tmp_path / "stats.json"
    result = imf("encode", face_y4m, target, "-q", 10, "--stats", stats_path, "--progress", "none")
    assert result.code == 0, result.err
    assert result.out == b""
    stats = json.loads(stats_path.read_text())
    size = target.stat().st_size
    assert stats["byte_count"] == size == sum(stats["bytes_by_kind"].values())
    assert stats["kbps"] == pytest.approx(size * 8 / 1000 / stats["duration_seconds"])
    assert stats["kbps"] == pytest.approx(sum(stats["kbps_by_kind"].values()))
    kinds = r"keys [\d.]+, tokens [\d.]+, audio 0.00, container [\d.]+"
    assert re.fullmatch(rf"10 frames, 0.40 s, {size} bytes, [\d.]+ kbps \({kinds}\), [\d.]+ fps\n", result.err)


def test_pipes_carry_the_same_as_files(imf, stream, face_y4m, tmp_path):
    """`-` on all four ends gives the bytes that files hold."""
    options = ("-q", 30, "--golden-interval", 8, "--device", "cpu")
    piped = imf("encode", "-", "-", *options, stdin=face_y4m.read_bytes())
    assert piped.code == 0, piped.err
    decoded = imf("decode", "-", "-", stdin=piped.out)
    assert decoded.code == 0, decoded.err
    (tmp_path / "piped.imf").write_bytes(piped.out)
    assert imf("decode", tmp_path / "piped.imf", tmp_path / "rec.y4m").code == 0
    assert decoded.out == (tmp_path / "rec.y4m").read_bytes()
    assert api.probe(tmp_path / "piped.imf").total_frames == api.probe(stream).total_frames


def test_low_delay_sends_every_frame_on_its_own(imf, face_y4m, face_frames, tmp_path):
    """One packet a frame."""
    assert imf("encode", face_y4m, tmp_path / "low.imf", "--structure", "low-delay").code == 0
    with (tmp_path / "low.imf").open("rb") as file:
        counts = [packet.frame_count for packet in StreamReader(file) if isinstance(packet, VideoPacket)]
    assert counts == [1] * len(face_frames)


def test_raw_video_needs_its_size_and_rate(imf, face_frames, tmp_path):
    """Headerless video is read with --size and --rate, and refused without."""
    raw = tmp_path / "face.yuv"
    raw.write_bytes(b"".join(plane.tobytes() for f in face_frames[:2] for plane in (f.y, f.u, f.v)))
    target = tmp_path / "face.imf"
    assert imf("encode", raw, target, "--size", "96x80", "--rate", "30000/1001").code == 0
    video = api.probe(target).header.format
    assert (video.width, video.height, str(video.frame_rate)) == (96, 80, "30000/1001")
    assert fails(imf("encode", raw, target, "-y"), 2)
    assert fails(imf("encode", raw, target, "-y", "--size", "96x80"), 2)
    assert fails(imf("encode", raw, target, "-y", "--size", "96by80", "--rate", 25), 2)
    assert fails(imf("encode", raw, target, "-y", "--size", "96x80", "--rate", "1/0"), 2)


def test_copied_sound_survives_unchanged(imf, sound_clip, tmp_path):
    """Packets and time stamps of copied sound are those of the source."""
    stream, decoded = tmp_path / "sound.imf", tmp_path / "sound.mkv"
    assert imf("encode", sound_clip, stream).code == 0
    assert imf("decode", stream, decoded).code == 0
    with open_clip(sound_clip) as source, open_clip(decoded) as copy:
        assert source.audio == copy.audio
        packets = list(source.audio_packets())
        assert packets
        assert [(p.pts, p.data) for p in copy.audio_packets()] == [(p.pts, p.data) for p in packets]


def test_sound_is_interleaved_with_the_picture(imf, sound_clip, tmp_path):
    """No sound runs ahead of the picture, so neither side has to hold back much of the other."""
    stream = tmp_path / "sound.imf"
    assert imf("encode", sound_clip, stream, "--golden-interval", 8).code == 0
    with stream.open("rb") as file:
        reader = StreamReader(file)
        video, track = reader.header.format, reader.header.audio
        items = list(reader)
    end, batches_between = 0.0, 0
    for item, following in zip(items, [*items[1:], None], strict=True):
        if isinstance(item, VideoPacket):
            end = item.pts[-1] * video.time_base + 1 / video.frame_rate
        elif following is not None:
            batches_between += 1
            assert all(packet.pts * track.time_base < end for packet in item.packets)
    assert batches_between >= 2


def test_sound_can_be_shrunk_or_left_out(imf, sound_clip, tmp_path):
    """--audio opus:RATE makes fewer bytes than the source has; none makes no track."""
    streams = {choice: tmp_path / f"{choice[:4]}.imf" for choice in ("copy", "opus:12k", "none")}
    for choice, path in streams.items():
        assert imf("encode", sound_clip, path, "--audio", choice).code == 0
    sizes = {choice: api.probe(path).bytes_by_kind["audio"] for choice, path in streams.items()}
    assert 0 == sizes["none"] < sizes["opus:12k"] < sizes["copy"]
    assert api.probe(streams["none"]).header.audio is None
    assert fails(imf("encode", sound_clip, tmp_path / "bad.imf", "--audio", "mp3"), 2)
    assert fails(imf("encode", sound_clip, tmp_path / "bad.imf", "--audio", "opus:1"), 2)


def test_sound_that_cannot_be_copied_becomes_opus(imf, sound_clip, tmp_path):
    """One line says so, and --audio opus does without it; decode can leave sound out."""
    strange, stream = tmp_path / "strange.avi", tmp_path / "strange.imf"
    rewrite_sound(sound_clip, strange, "pcm_mulaw")
    result = imf("encode", strange, stream)
    assert result.code == 0 and re.search(r"imfcodec: .*strange\.avi: .*'pcm_mulaw'.*Opus at 32 kbit/s", result.err)
    assert api.probe(stream).header.audio.codec == "opus"
    assert imf("decode", stream, tmp_path / "silent.mkv", "--audio", "none").code == 0
    with open_clip(tmp_path / "silent.mkv") as clip:
        assert clip.audio is None
    result = imf("encode", strange, stream, "-y", "--audio", "opus")
    assert result.code == 0 and "imfcodec:" not in result.err


def test_sound_a_target_cannot_hold_becomes_opus(imf, sound_clip, tmp_path):
    """.mp4 knows no unsigned samples: .mkv keeps them."""
    rewrite_sound(sound_clip, tmp_path / "bytes.avi", "pcm_u8")
    assert imf("encode", tmp_path / "bytes.avi", tmp_path / "bytes.imf").code == 0
    for suffix, codec in ((".mkv", "pcm_u8"), (".mp4", "opus")):
        result = imf("decode", tmp_path / "bytes.imf", tmp_path / f"out{suffix}")
        assert result.code == 0 and ("Opus" in result.err) == (codec == "opus"), result.err
        with open_clip(tmp_path / f"out{suffix}") as clip:
            assert clip.audio.codec == codec


def test_bad_sound_does_not_stop_the_pictures(imf, sound_clip, tmp_path):
    """Without --on-error conceal nonsense about sound is an error; with it the pictures come alone."""
    whole, odd = tmp_path / "whole.imf", tmp_path / "odd.imf"
    assert imf("encode", sound_clip, whole).code == 0
    with whole.open("rb") as file, odd.open("wb") as target:
        reader = StreamReader(file)
        track = replace(reader.header.audio, channels=9)
        writer = StreamWriter(target, replace(reader.header, audio=track))
        for item in reader:
            if isinstance(item, VideoPacket):
                writer.write_video(item)
        writer.close()
    assert fails(imf("decode", odd, tmp_path / "out.mkv"), 3)
    result = imf("decode", odd, tmp_path / "out.mkv", "--on-error", "conceal")
    assert result.code == 0 and "the sound is left out" in result.err
    assert imf("decode", odd, tmp_path / "quiet.mkv", "--audio", "none").code == 0
    with open_clip(tmp_path / "out.mkv") as clip:
        assert clip.audio is None and clip.frame_count_hint == SOUND_FRAMES


def test_damage_in_a_source_is_counted(imf, face_format, face_frames, tmp_path):
    """The last line and --stats say how much, one line warns, --strict refuses."""
    source, stats = tmp_path / "bad.mkv", tmp_path / "stats.json"
    with open_writer(source, face_format) as writer:
        for frame in face_frames:
            writer.write(frame)
    spoil_packet(source, tmp_path / "spoilt.mov", 4)
    result = imf("encode", tmp_path / "spoilt.mov", tmp_path / "out.imf", "--stats", stats)
    assert result.code == 0 and result.err.count("1 damaged frame repeated") == 2, result.err
    figures = json.loads(stats.read_text())
    assert (figures["frames"], figures["damaged_frames"], figures["cut_off"]) == (10, 1, False)
    assert fails(imf("encode", tmp_path / "spoilt.mov", tmp_path / "no.imf", "--strict"), 3)
    assert not (tmp_path / "no.imf").exists()


def test_a_source_that_is_cut_off_is_coded_up_to_the_cut(imf, face_y4m, tmp_path):
    """From a file or a pipe: what there is, a line, and exit code 6."""
    cut = face_y4m.read_bytes()[:-100]
    (tmp_path / "cut.y4m").write_bytes(cut)
    for source, data in ((tmp_path / "cut.y4m", b""), ("-", cut)):
        notes = imf("encode", source, tmp_path / "cut.imf", "-y", "--progress", "json", stdin=data).err.splitlines()
        assert json.loads(notes[0])["event"] in ("encode", "note")
        assert any(note.startswith('{"event": "note"') and "after 9 frames" in note for note in notes)
        result = imf("encode", source, tmp_path / "cut.imf", "-y", stdin=data)
        assert result.code == 6 and "after 9 frames" in result.err and "source cut off" in result.err
        assert api.probe(tmp_path / "cut.imf").total_frames == 9
        assert imf("encode", source, tmp_path / "no.imf", "--strict", stdin=data).code == 3
    assert not (tmp_path / "no.imf").exists()


def test_varying_times_that_a_target_cannot_hold_are_said(imf, face_frames, face_format, tmp_path):
    """Y4M has no stamps; Matroska has."""
    source, stream = tmp_path / "uneven.mkv", tmp_path / "uneven.imf"
    video = replace(face_format, time_base=Fraction(1, 1000))
    with open_writer(source, video) as writer:
        for frame, pts in zip(face_frames, (0, 40, 90, 300, 310, 400, 1000, 1100, 1101, 3000), strict=True):
            writer.write(replace(frame, pts=pts))
    assert imf("encode", source, stream).code == 0
    assert "no time stamps" in imf("decode", stream, tmp_path / "out.y4m").err
    assert "no time stamps" not in imf("decode", stream, tmp_path / "out.mkv").err


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_last_frame_stays_as_long_as_in_the_source(imf, face_frames, face_format, tmp_path, suffix):
    """Through the stream into any target that has time stamps; the figures count it."""
    source, stream, target = tmp_path / "slides.mkv", tmp_path / "slides.imf", tmp_path / f"out{suffix}"
    with open_writer(source, replace(face_format, time_base=Fraction(1, 1000))) as writer:
        for frame, pts in zip(face_frames, (0, 1000, 2500), strict=False):
            writer.write(replace(frame, pts=pts))
        writer.last_duration = 5000
    assert "3 frames, 7.50 s" in imf("encode", source, stream, "-q", "20.5", "--dtype", "float32").err
    assert json.loads(imf("info", stream, "--json").out)["last_duration_seconds"] == 5
    assert "3 frames, 7.50 s" in imf("decode", stream, target).err
    with open_clip(target) as clip:
        assert clip.last_duration * clip.format.time_base == 5


def test_info_lists_the_tracks_of_any_media_file(imf, sound_clip, tmp_path):
    """As a table and as JSON; what is no media file is refused."""
    result = imf("info", sound_clip)
    assert result.code == 0 and b"64x64" in result.out and b"audio" in result.out
    report = json.loads(imf("info", sound_clip, "--json").out)
    assert [track["kind"] for track in report["tracks"]] == ["video", "audio"]
    (tmp_path / "notes.txt").write_text("nothing to see")
    assert fails(imf("info", tmp_path / "notes.txt"), 3)


def test_info_tells_what_the_stream_holds(imf, stream):
    """Text, JSON and the packet list agree with the file."""
    text = imf("info", stream)
    assert text.code == 0
    assert "frame rate" in text.out.decode()
    report = json.loads(imf("info", stream, "--json", "--packets").out)
    assert (report["width"], report["height"], report["frames"], report["key_frames"]) == (96, 80, 10, 1)
    assert report["bytes"] == stream.stat().st_size == sum(report["bytes_by_kind"].values())
    assert report["packet_list"][0]["kind"] == "KEY"
    assert sum(packet["frames"] for packet in report["packet_list"]) == 10
    assert imf("info", "-", stdin=stream.read_bytes()).out == text.out
    assert fails(imf("info", "-", "--packets", stdin=stream.read_bytes()), 2)


def test_verify(imf, stream, damaged):
    """An intact stream passes, also when every frame is decoded; a damaged one is refused."""
    assert b"intact, 10 frames" in imf("verify", stream).out
    assert b"all decoded" in imf("verify", stream, "--decode").out
    assert fails(imf("verify", damaged), 3)
    assert fails(imf("verify", "-", "--decode", stdin=stream.read_bytes()), 2)


def test_compare_writes_what_it_prints(imf, face_y4m, tmp_path):
    """A clip equals itself; CSV has a line per frame, JSON the means."""
    csv_path, json_path = tmp_path / "figures.csv", tmp_path / "figures.json"
    result = imf("compare", face_y4m, face_y4m, "--csv", csv_path, "--json", json_path, "--per-frame")
    assert result.code == 0, result.err
    lines = result.out.decode().splitlines()
    assert len(lines) == 1 + 10 + 2
    assert lines[-2].split()[:2] == ["mean", "100"]
    assert len(csv_path.read_text().splitlines()) == 1 + 10
    assert json.loads(json_path.read_text())["mean"]["ssim_y"] == pytest.approx(1)
    assert fails(imf("compare", face_y4m, face_y4m, "--csv", csv_path), 2)


def test_compare_measures_more_when_asked_for(imf, face_y4m, tmp_path):
    """XPSNR and flicker by a flag, LPIPS with a file of weights."""
    path = tmp_path / "figures.json"
    result = imf("compare", face_y4m, face_y4m, "--json", path, "--all-metrics")
    assert result.code == 0, result.err
    assert {"xpsnr", "warping"} <= set(result.out.decode().splitlines()[0].split())
    mean = json.loads(path.read_text())["mean"]
    assert mean["xpsnr_y"] == 100 and mean["warping_error"] == mean["reference_warping_error"]
    assert fails(imf("compare", face_y4m, face_y4m, "--lpips", tmp_path / "missing.pth"), 3)


def test_models_and_doctor(imf):
    """There is one default model, and the installation is in order."""
    rows = json.loads(imf("models", "--json").out)
    assert [row["default"] for row in rows].count(True) == 1
    assert rows[0]["name"] in imf("models").out.decode()
    report = json.loads(imf("doctor", "--json").out)
    assert report["problem"] is None
    assert set(report["weights"]) == {row["name"] for row in rows}
    assert imf("doctor").code == 0


def test_demo(imf, monkeypatch, tmp_path):
    """The demo leaves its four files and prints rate, quality and speed."""
    monkeypatch.setattr(demo, "SECONDS", 0.2)
    monkeypatch.setattr(demo, "talking_face_format", lambda: talking_face_format(96, 96))
    result = imf("demo", tmp_path / "demo")
    assert result.code == 0, result.err
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == sorted(demo.FILES.values())
    with open_clip(tmp_path / "demo" / "side_by_side.png") as clip:
        assert (clip.format.width, clip.format.height) == (192, 96)
    for word in ("kbps", "psnr y", "ssim y", "encode fps", "decode fps"):
        assert word in result.out.decode()
    assert fails(imf("demo", tmp_path / "demo"), 2)


@pytest.mark.parametrize("style", ["json", "lines", "bar", "none"])
def test_progress_styles(imf, stream, tmp_path, style):
    """JSON progress is JSON but for the last line; a bar rewrites its line; none is silent."""
    result = imf("decode", stream, tmp_path / "rec.y4m", "--progress", style)
    assert result.code == 0
    lines = result.err.splitlines()
    assert lines[-1].startswith("10 frames")
    if style == "json":
        last = json.loads(lines[-2])
        assert (last["event"], last["frames"]) == ("decode", 10)
    elif style == "bar":
        assert result.err.startswith("\r")
        assert "10 frames" in lines[-2]
    else:
        assert len(lines) == 1


def test_output_is_not_overwritten_unasked(imf, face_y4m, stream, tmp_path):
    """Existing files stay as they are without -y, and are replaced with it."""
    target, decoded = tmp_path / "face.imf", tmp_path / "face.y4m"
    for path in (target, decoded):
        path.write_bytes(b"precious")
    assert fails(imf("encode", face_y4m, target), 2)
    assert fails(imf("decode", stream, decoded), 2)
    assert fails(imf("encode", face_y4m, tmp_path / "new.imf", "--stats", target), 2)
    assert target.read_bytes() == decoded.read_bytes() == b"precious"
    assert imf("encode", face_y4m, target, "-y").code == 0
    assert imf("decode", stream, decoded, "-y").code == 0
    assert api.probe(target).total_frames == 10


def test_source_is_never_its_own_target(imf, stream):
    """Not even with -y."""
    data = stream.read_bytes()
    assert fails(imf("decode", stream, stream, "-y"), 2)
    assert stream.read_bytes() == data


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["encode", "only-one"],
        ["encode", "in.y4m", "out.imf", "-q", "101"],
        ["encode", "in.y4m", "out.imf", "--device", "abacus"],
        ["encode", "in.y4m", "out.imf", "--golden-interval", "33"],
        ["encode", "in.y4m", "out.imf", "--preset", "slowest"],
        ["encode", "in.y4m", "out.imf", "--temporal", "2"],
        ["encode", "in.y4m", "nowhere/out.imf"],
        ["decode", "in.imf", "out.avi"],
        ["decode", "in.imf", "out.y4m", "--dtype", "float8"],
    ],
)
def test_usage_errors(imf, face_y4m, stream, tmp_path, monkeypatch, arguments):
    """Exit code 2 and one line, and no file appears."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.y4m").write_bytes(face_y4m.read_bytes())
    (tmp_path / "in.imf").write_bytes(stream.read_bytes())
    assert fails(imf(*arguments), 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.imf", "in.y4m"]


def test_unreadable_input(imf, stream, damaged, tmp_path):
    """Exit code 3 for what is missing, empty, foreign, damaged or cut off; nothing is left of the output."""
    truncated, foreign, empty = (tmp_path / name for name in ("truncated.imf", "foreign.imf", "empty.y4m"))
    truncated.write_bytes(stream.read_bytes()[:-20])
    foreign.write_bytes(bytes(range(256)))
    empty.write_bytes(b"YUV4MPEG2 W64 H64 F25:1 Ip A1:1 C420jpeg\n")
    before = sorted(tmp_path.iterdir())
    for source in (tmp_path / "missing.imf", truncated, foreign, damaged):
        assert fails(imf("decode", source, tmp_path / "out.y4m", "--progress", "none"), 3)
        assert fails(imf("info", source), 3)
    for source in (tmp_path / "missing.mp4", foreign, empty):
        assert fails(imf("encode", source, tmp_path / "out.imf"), 3)
    assert sorted(tmp_path.iterdir()) == before


def test_a_limit_exceeded(imf, tmp_path):
    """Exit code 4 for a frame size above the limits."""
    source = tmp_path / "huge.y4m"
    source.write_bytes(b"YUV4MPEG2 W5000 H5000 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1 << 16))
    assert fails(imf("encode", source, tmp_path / "huge.imf"), 4)


def test_model_missing_or_different(imf, face_y4m, stream, tmp_path):
    """Exit code 5 for an unknown model, and for a stream that names one that is not installed."""
    assert fails(imf("encode", face_y4m, tmp_path / "face.imf", "--model", "nobody"), 5)
    renamed = tmp_path / "renamed.imf"
    with stream.open("rb") as source, renamed.open("wb") as target:
        reader = StreamReader(source)
        writer = StreamWriter(target, replace(reader.header, model_id=b"\x00" * 8))
        for packet in reader:
            writer.write_audio(packet.packets) if isinstance(packet, AudioBatch) else writer.write_video(packet)
        writer.close()
    assert imf("verify", renamed).code == 0
    assert fails(imf("decode", renamed, tmp_path / "out.y4m"), 5)
    default = next(row["name"] for row in api.list_models() if row["default"])
    assert fails(imf("decode", renamed, tmp_path / "out.y4m", "--model", default), 5)
    assert not (tmp_path / "out.y4m").exists()


def test_concealed_losses(imf, damaged, tmp_path):
    """Exit code 6: all frames are there, the lost ones made up, and the last line says how many."""
    result = imf("decode", damaged, tmp_path / "out.y4m", "--on-error", "conceal")
    assert result.code == 6, result.err
    assert re.search(r"10 frames, .*, \d+ concealed, 1 packets lost", result.err)
    with open_clip(tmp_path / "out.y4m") as clip:
        assert sum(1 for _ in clip.frames()) == 10


def test_interruption_leaves_nothing_behind(imf, face_y4m, tmp_path, monkeypatch):
    """Exit code 130 when interrupted half-way."""
    from imfcodec.codec.encoder import Encoder

    encode = Encoder.encode

    def interrupted(*arguments):
        yield from islice(encode(*arguments), 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(Encoder, "encode", interrupted)
    result = imf("encode", face_y4m, tmp_path / "face.imf", "--progress", "none")
    assert result.code == 130
    assert "interrupted" in result.err
    assert not list(tmp_path.iterdir())


def test_internal_error_is_one_line_unless_debugging(imf, face_y4m, tmp_path, monkeypatch):
    """A fault of ours is told in one line with exit code 1; --debug raises it."""

    def broken(*arguments, **options):
        raise ZeroDivisionError("of our own\nmaking")

    monkeypatch.setattr(api, "encode", broken)
    result = imf("encode", face_y4m, tmp_path / "face.imf")
    assert fails(result, 1)
    assert "ZeroDivisionError: of our own making" in result.err
    with pytest.raises(ZeroDivisionError):
        run(["--debug", "encode", str(face_y4m), str(tmp_path / "face.imf")])
