import os
import threading
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import click_and_flash, make_format, make_frames, write_click

from imfcodec.api.options import EncodeOptions
from imfcodec.api.sound import open_sound
from imfcodec.errors import InputError, UsageError
from imfcodec.frames import AudioPacket, AudioTrack
from imfcodec.video.adts import read_adts_head
from imfcodec.video.audio import OpusEncoder, can_copy, require_copyable, transcode_opus
from imfcodec.video.notes import Notes
from imfcodec.video.reader import open_clip, tracks_of
from imfcodec.video.writer import open_writer


def copy_clip(source, target, opus_bps=None):
    """Copy a clip the way decode does: frames and sound come separately and go out interleaved by time."""
    with open_clip(source) as clip:
        track, packets = clip.audio, clip.audio_packets()
        if opus_bps:
            track, packets = transcode_opus(packets, track, opus_bps)
        write_interleaved(target, clip, track, packets)


def write_interleaved(target, clip, track, packets):
    """Write the frames of a clip and the packets of a track."""
    with open_writer(target, clip.format, audio=track) as writer:
        waiting = next(packets, None)
        for frame in clip.frames():
            while waiting and waiting.pts * track.time_base <= frame.pts * clip.format.time_base:
                writer.write_audio(waiting)
                waiting = next(packets, None)
            writer.write(frame)
        while waiting:
            writer.write_audio(waiting)
            waiting = next(packets, None)


CODECS = [
    ("aac", 44100, ".mp4"),
    ("ac3", 48000, ".mp4"),
    ("flac", 16000, ".mkv"),
    ("libmp3lame", 44100, ".mp4"),
    ("libopus", 48000, ".mkv"),
]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec,rate,source_suffix", CODECS)
def test_copied_sound_stays_in_sync(tmp_path, codec, rate, source_suffix, suffix):
    source, target = tmp_path / f"in{source_suffix}", tmp_path / f"out{suffix}"
    write_click(source, codec, rate, 1.0)
    click, flash = click_and_flash(source)
    copy_clip(source, target)
    copied_click, copied_flash = click_and_flash(target)
    assert copied_click - copied_flash == pytest.approx(click - flash, abs=0.003)


def test_sound_and_pictures_stay_together_in_a_pipe(tmp_path):
    """An MP4 in fragments has the times of one in a file, also with AAC of a transport stream."""
    source, pipe, got = (tmp_path / name for name in ("in.ts", "pipe.mp4", "got.mp4"))
    write_click(source, "aac", 48000, 1.0)
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.write_bytes(pipe.read_bytes()))
    reader.start()
    copy_clip(source, pipe)
    reader.join()
    copy_clip(source, tmp_path / "file.mp4")
    click, flash = click_and_flash(tmp_path / "file.mp4")
    assert click_and_flash(got) == pytest.approx((click, flash), abs=0.001)


def test_aac_of_a_transport_stream_is_described_once(tmp_path):
    """Not in a head of seven bytes before every packet; what is left are the packets that an MP4 holds."""
    for name in ("in.ts", "in.mp4"):
        write_click(tmp_path / name, "aac", 48000, 1.0)
    with open_clip(tmp_path / "in.ts") as stream, open_clip(tmp_path / "in.mp4") as file:
        assert len(stream.audio.extradata) == 2 and file.audio.extradata.startswith(stream.audio.extradata)
        ours, theirs = ([packet.data for packet in clip.audio_packets()] for clip in (stream, file))
        assert len(ours) > 50 and ours == theirs[-len(ours) :]
    click, flash = click_and_flash(tmp_path / "in.ts")
    for suffix in (".mp4", ".mkv"):
        copy_clip(tmp_path / "in.ts", tmp_path / f"out{suffix}")
        copied_click, copied_flash = click_and_flash(tmp_path / f"out{suffix}")
        assert copied_click - copied_flash == pytest.approx(click - flash, abs=0.003)


def test_heads_of_aac_packets_are_read_with_care():
    head = bytes.fromhex("fff14c4001fffc") + b"x" * 8  # AAC LC, 48 kHz, one channel, 15 bytes
    assert read_adts_head(head) == (7, bytes.fromhex("1188"))
    for wrong in (b"", head[:6], head + b"x", head[:-1], b"\x00" + head[1:], head[:2] + b"\x7c" + head[3:]):
        assert read_adts_head(wrong) is None


def test_copied_packets_are_the_same_bytes(tmp_path):
    write_click(tmp_path / "in.mp4", "aac", 44100, 1.0)
    copy_clip(tmp_path / "in.mp4", tmp_path / "out.mp4")
    with open_clip(tmp_path / "in.mp4") as before, open_clip(tmp_path / "out.mp4") as after:
        assert before.audio == after.audio
        assert list(before.audio_packets()) == list(after.audio_packets())


def test_a_video_that_starts_after_its_sound_stays_in_sync(tmp_path):
    write_click(tmp_path / "in.mp4", "aac", 48000, 1.0, video_start=0.4)
    click, flash = click_and_flash(tmp_path / "in.mp4")
    assert flash - click == pytest.approx(0.4, abs=0.03)
    copy_clip(tmp_path / "in.mp4", tmp_path / "out.mp4")
    copied_click, copied_flash = click_and_flash(tmp_path / "out.mp4")
    assert copied_flash - copied_click == pytest.approx(flash - click, abs=0.003)


def test_sound_that_an_edit_list_skips_stays_away(tmp_path):
    """But for the packet before the first that plays, which the decoder may need to start."""
    write_click(tmp_path / "in.mp4", "aac", 48000, 1.0, video_start=0.5)
    with av.open(str(tmp_path / "in.mp4")) as before, av.open(str(tmp_path / "cut.mp4"), "w") as after:
        streams = {stream.index: after.add_stream_from_template(stream) for stream in before.streams}
        for packet in before.demux():
            if packet.size:
                shift = round(Fraction(1, 2) / packet.time_base)
                packet.stream, packet.pts, packet.dts = (
                    streams[packet.stream.index],
                    packet.pts - shift,
                    packet.dts - shift,
                )
                after.mux(packet)
    copy_clip(tmp_path / "cut.mp4", tmp_path / "out.mkv")
    with open_clip(tmp_path / "cut.mp4") as clip:
        assert -2048 < next(clip.audio_packets()).pts <= 0
    (click, flash), (copied_click, copied_flash) = map(click_and_flash, (tmp_path / "cut.mp4", tmp_path / "out.mkv"))
    assert click == pytest.approx(0.5, abs=0.03) and copied_click - copied_flash == pytest.approx(
        click - flash, abs=0.003
    )


def write_tone(path, codec, rate, layout, start=0):
    """A fifth of a second of sound beside a video."""
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("mpeg2video", rate=25), container.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt, sound.layout = 64, 48, "yuv420p", layout
        for index in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((72, 64), 40 * index, np.uint8), "yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(video.encode(picture))
        channels = av.AudioLayout(layout).nb_channels
        frame = av.AudioFrame.from_ndarray(np.ones((1, channels * rate // 5), np.int16), "s16", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for piece in av.AudioResampler(format=sound.format.name, layout=layout, rate=rate).resample(frame):
            container.mux(sound.encode(piece))
        container.mux([*sound.encode(None), *video.encode(None)])
    return path


@pytest.mark.parametrize("layout", ["7.1", "5.1"])
def test_quicktime_channels_in_another_order(tmp_path, layout):
    """Looking twice at such a layout, or at a frame that has it, once ended the process."""
    path = write_tone(tmp_path / "in.mov", "pcm_s16le", 48000, layout)
    with open_clip(path) as clip:
        assert clip.audio.channels == av.AudioLayout(layout).nb_channels
        assert sum(frame.samples for frame in clip.decoded_audio()) == 9600
    assert tracks_of(path)[2] == tracks_of(path)[2]


def test_slow_mp3_does_not_go_into_mp4(tmp_path):
    with open_clip(write_tone(tmp_path / "in.mkv", "libmp3lame", 11025, "mono")) as clip:
        assert can_copy(clip.audio, ".mkv") and not can_copy(clip.audio, ".mp4")


def test_sound_that_changes_midway_is_coded_anew(tmp_path):
    parts = [
        write_tone(tmp_path / f"{rate}.ts", "aac", rate, layout)
        for rate, layout in ((48000, "mono"), (44100, "stereo"))
    ]
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    lines = []
    with open_clip(tmp_path / "both.ts") as clip, open_clip(parts[0]) as whole:
        assert clip.sound_changes and not whole.sound_changes
        assert open_sound(clip, EncodeOptions(), Notes("both.ts", lines.append)).track.codec == "opus"
        assert open_sound(whole, EncodeOptions(), Notes("48000.ts", lines.append)).track.codec == "aac"
    assert len(lines) == 1 and "changes midway" in lines[0]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_opus_is_small_and_in_sync(tmp_path, suffix, rate):
    source, target = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    write_click(source, "aac", rate, 1.0)
    click, flash = click_and_flash(source)
    copy_clip(source, target, opus_bps=12_000)
    new_click, new_flash = click_and_flash(target)
    assert new_click - new_flash == pytest.approx(click - flash, abs=0.005)
    with open_clip(target) as clip:
        assert (clip.audio.codec, clip.audio.sample_rate, clip.audio.channels) == ("opus", 48000, 1)
        assert sum(len(packet.data) for packet in clip.audio_packets()) * 8 / 2 < 16_000


GAPS = [
    ("pcm_s16le", ".mkv", 48000, {"gap": (0.3, 0.7)}),
    ("aac", ".mkv", 48000, {"gap": (0.3, 0.7)}),
    ("flac", ".mkv", 44100, {"gap": (0.3, 0.7)}),
    ("pcm_s16le", ".mkv", 44100, {"sound_start": 0.52}),
    ("aac", ".mp4", 44100, {"sound_start": 0.52}),
    ("mp2", ".ts", 48000, {"sound_start": 0.4, "gap": (0.6, 0.8)}),
    ("pcm_s16le", ".mkv", 48000, {"jitter": 60}),
    ("alac", ".mov", 44100, {"gap": (0.3, 0.7)}),
    ("alac", ".mov", 48000, {"sound_start": 0.4}),
]


@pytest.mark.parametrize("opus_bps", [None, 24_000])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec,source_suffix,rate,fault", GAPS)
def test_gaps_odd_stamps_and_late_starts_stay_in_sync(tmp_path, codec, source_suffix, rate, fault, suffix, opus_bps):
    source, target = tmp_path / f"in{source_suffix}", tmp_path / f"out{suffix}"
    write_click(source, codec, rate, 1.0, **fault)
    with open_clip(source) as clip, open_clip(source) as timed:
        track, packets = clip.audio, clip.audio_packets()
        if opus_bps or not can_copy(track):
            encoder = OpusEncoder(track.channels, opus_bps or 24_000)
            track, packets = encoder.track, encoder.encode_all(timed.decoded_audio())
        write_interleaved(target, clip, track, packets)
    click, flash = click_and_flash(target)
    assert click - flash == pytest.approx(0, abs=0.02)


def test_damaged_packets_cost_their_own_sound(tmp_path):
    write_click(tmp_path / "in.mkv", "flac", 48000, 1.0)
    with open_clip(tmp_path / "in.mkv") as clip:
        packets = list(clip.audio_packets())
        packets[3] = replace(packets[3], data=bytes(len(packets[3].data)))
        track, opus = transcode_opus(packets, clip.audio, 24_000)
        write_interleaved(tmp_path / "out.mkv", clip, track, opus)
    click, flash = click_and_flash(tmp_path / "out.mkv")
    assert click - flash == pytest.approx(0, abs=0.01)


def test_opus_refuses_what_it_cannot_do():
    track = AudioTrack("aac", 44100, 1, Fraction(1, 44100), b"\x12\x08")
    with pytest.raises(UsageError, match="6000"):
        transcode_opus([], track, 100)
    with pytest.raises(UsageError, match="no decoder"):
        transcode_opus([], AudioTrack("no_such_codec", 44100, 1, Fraction(1, 44100)), 12_000)
    with pytest.raises(InputError, match="not a sound codec"):
        transcode_opus([], AudioTrack("h264", 44100, 1, Fraction(1, 44100)), 12_000)
    with pytest.raises(InputError, match="cannot be decoded"):
        list(transcode_opus([AudioPacket(0, 1024, b"\xff" * 50)], track, 12_000)[1])


def test_sound_that_cannot_travel_is_refused(tmp_path):
    video = make_format()
    strange = AudioTrack("wmav2", 44100, 2, Fraction(1, 44100))
    with pytest.raises(UsageError, match="wmav2"):
        require_copyable(strange)
    with pytest.raises(UsageError, match="cannot be copied"):
        open_writer(tmp_path / "out.mkv", video, audio=strange)
    unannounced = open_writer(tmp_path / "out.mkv", video)
    with pytest.raises(UsageError, match="announced"), unannounced as writer:
        writer.write_audio(AudioPacket(0, 1024, b"x"))
    assert list(tmp_path.iterdir()) == []


def test_damaged_descriptions_of_sound_are_input_errors(tmp_path):
    video = make_format()
    for channels, rate in ((0, 48000), (300, 48000), (2, 0), (2, 1 << 40)):
        with pytest.raises(InputError, match="claims"):
            open_writer(tmp_path / "out.mkv", video, audio=AudioTrack("aac", rate, channels, Fraction(1, 48000)))
    opus = AudioTrack("opus", 48000, 1, Fraction(1, 48000), b"OpusHead")
    with pytest.raises(InputError, match="damaged"), open_writer(tmp_path / "out.mkv", video, audio=opus) as writer:
        writer.write_audio(AudioPacket(1 << 70, 960, b"x"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec,sample_bytes", [("pcm_s16le", 2), ("pcm_s16be", 2), ("pcm_f32le", 4)])
def test_uncompressed_stereo_can_be_copied(tmp_path, suffix, codec, sample_bytes):
    video = make_format()
    track = AudioTrack(codec, 48000, 2, Fraction(1, 48000))
    packets = [AudioPacket(n * 480, 480, bytes([n]) * 960 * sample_bytes) for n in range(4)]
    with open_writer(tmp_path / f"out{suffix}", video, audio=track) as writer:
        writer.write(make_frames(video, 1)[0])
        for packet in packets:
            writer.write_audio(packet)
    with open_clip(tmp_path / f"out{suffix}") as clip:
        assert (clip.audio.codec, clip.audio.channels) == (codec, 2)
        assert b"".join(packet.data for packet in clip.audio_packets()) == b"".join(packet.data for packet in packets)


def test_targets_without_sound_drop_it(tmp_path):
    video = make_format()
    track = AudioTrack("aac", 44100, 1, Fraction(1, 44100), b"\x12\x08")
    with open_writer(tmp_path / "out.y4m", video, audio=track) as writer:
        assert not writer.holds_audio
        writer.write_audio(AudioPacket(0, 1024, b"x"))
        writer.write(make_frames(video, 1)[0])
    assert (tmp_path / "out.y4m").exists()
