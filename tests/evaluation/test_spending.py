"""Where bits go over time, read off a stream."""

import io
import itertools

import pytest
import torch

from imfcodec import api
from imfcodec.bitstream.container import StreamReader
from imfcodec.bitstream.packet import VideoPacket
from imfcodec.codec.decoder import Decoder
from imfcodec.evaluation.spending import PARTS, spending_over_time
from imfcodec.latents.symbols import SymbolReader
from imfcodec.zoo import load_model


@pytest.fixture(scope="module", params=["offline", "low-delay"])
def stream(request, face_y4m, tmp_path_factory):
    """The small talking face, two groups of it."""
    path = tmp_path_factory.mktemp("streams") / "face.imf"
    api.encode(face_y4m, path, quality=40, structure=request.param, key_interval=6, golden_interval=4, device="cpu")
    return path.read_bytes()


def packets(stream):
    return [r.item for r in StreamReader(io.BytesIO(stream)).records() if isinstance(r.item, VideoPacket)]


def test_parts_sum_to_the_bits_of_the_file(stream):
    rows = spending_over_time(stream)
    assert sum(row[part] for row in rows for part in PARTS) == pytest.approx(8 * len(stream))
    for row, packet in zip(rows, packets(stream), strict=True):
        inside = sum(row[part] for part in PARTS if part != "other")
        assert all(row[part] >= 0 for part in PARTS if part != "other") and inside <= 8 * len(packet.payload) + 8
    assert rows[0]["other"] > max(row["other"] for row in rows[1:]), "header and end"


def test_each_packet_spends_on_its_own_parts(stream):
    """Key frames first, then tokens, and y where a golden frame is."""
    rows = spending_over_time(stream)
    assert rows[0]["key"] > 0.5 * sum(rows[0][part] for part in PARTS if part != "other") > 0
    for row, packet in zip(rows, packets(stream), strict=True):
        spent = {part for part in PARTS if row[part] > 0} - {"other"}
        if packet.kind.name == "KEY":
            assert spent == {"key"}
        else:
            golden = packet.golden or packet.kind.name == "DELAY_GOLDEN"
            assert ("latent" in spent) == ("golden_token" in spent) == golden
            assert ("token" in spent) == (packet.frame_count > 1 or not golden)


def test_time_is_that_of_the_video(stream):
    rows = spending_over_time(stream)
    assert rows[0]["start"] == 0 and rows[0]["duration"] == pytest.approx(0.04)
    for row, after in itertools.pairwise(rows):
        assert after["start"] == pytest.approx(row["start"] + row["duration"])
    assert rows[-1]["start"] + rows[-1]["duration"] == pytest.approx(0.4)


def test_a_reader_counts_only_where_that_is_asked_for(stream):
    """The information of what is read, the same however it is taken."""
    model, packet = load_model(), packets(stream)[0]
    header = StreamReader(io.BytesIO(stream)).header
    told = []
    list(Decoder(model, header, lambda *notes: told.append(notes[2])).decode(iter([packet])))
    assert 0 < sum(told) <= 8 * len(packet.payload) + 8
    for count in (False, True):
        reader = SymbolReader(model.tables, packet.payload, count=count)
        rows = torch.arange(4.0).reshape(1, 4, 1, 1)
        reader.code(None, rows, next(iter(model.tables)))
        assert (reader.take_bits() > 0) is count and reader.take_bits() == 0
