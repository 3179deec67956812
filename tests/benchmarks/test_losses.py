"""The scripts behind the tables of losses and of drift, on a few small frames."""

import io
import random
from fractions import Fraction

from benchmarks import drift, losses
from imfcodec.bitstream.container import StreamReader, StreamWriter, list_packets
from imfcodec.bitstream.header import StreamHeader
from imfcodec.bitstream.packet import LostPacket, PacketKind, Quantisers, VideoPacket
from imfcodec.evaluation.synthetic import talking_face, talking_face_format
from imfcodec.video.writer import open_writer


def rows_of(text: str, first: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith(first)]


def test_the_share_of_packets_is_lost_that_was_asked_for():
    header, sink = StreamHeader(talking_face_format(64, 64, Fraction(25)), bytes(8)), io.BytesIO()
    with StreamWriter(sink, header) as writer:
        for number in range(200):
            kind = PacketKind.DELAY_TOKEN if number else PacketKind.KEY
            writer.write_video(VideoPacket(kind, 1, header.pts_from(number, 1), b"p", Quantisers(0, 0, 0)))
    stream = sink.getvalue()
    for percent, fewest, most, missing in (
        (0, 0, 0, False),
        (10, 8, 34, False),
        (10, 8, 34, True),
        (100, 199, 199, True),
    ):
        damaged = losses.lose(stream, percent, random.Random(1), missing=missing)
        items = list(StreamReader(io.BytesIO(damaged), conceal=True))
        lost = [item for item in items if isinstance(item, LostPacket)]
        assert fewest <= sum(item.frame_count or 0 for item in lost) <= most and not isinstance(items[0], LostPacket)
    assert len(list(list_packets(io.BytesIO(stream)))) == 201


def test_the_table_of_losses_has_a_row_for_each_share(tmp_path, capsys, monkeypatch):
    video = talking_face_format(64, 64, Fraction(25))
    with open_writer(tmp_path / "face.y4m", video) as writer:
        for frame in talking_face(video, 9):
            writer.write(frame)
    monkeypatch.setattr(losses, "LOSSES", (0, 60))
    options = ["--frames", "9", "--seeds", "1", "--structures", "low-delay", "--resilience"]
    losses.main([str(tmp_path), *options])
    text = capsys.readouterr().out
    clean, lossy = rows_of(text, "| low-delay")
    assert (clean[1], clean[4], lossy[1]) == ("0 %", "0%", "60 %") and clean[2] == clean[3]
    assert float(lossy[2]) <= float(clean[2]) and int(lossy[4].rstrip("%")) > 0
    assert "resilience" in text and "kbps" in text and "9 frames, quality 30" in text


def test_the_table_of_drift_has_a_row_for_each_mark(capsys):
    drift.main(["--marks", "2", "5", "--structures", "low-delay"])
    rows = rows_of(capsys.readouterr().out, "| low-delay")
    assert [(row[1], row[6]) for row in rows] == [("2", "1"), ("5", "1")]
    assert all(0 <= float(row[2]) < 2 and float(row[4]) > 20 and abs(float(row[4]) - float(row[5])) < 1 for row in rows)
