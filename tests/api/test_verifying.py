"""Verification: a stream that does not decode to what its encoder meant never gets its name."""

from dataclasses import replace
from fractions import Fraction

import pytest

from imfcodec import api
from imfcodec.codec.encoder import Encoder
from imfcodec.errors import OutputError


@pytest.mark.parametrize("options", [{"golden_interval": 4}, {"structure": "low-delay"}, {}])
def test_sound_streams_pass_and_are_the_same(clip, tiny, tmp_path, options):
    plain, checked = tmp_path / "plain.imf", tmp_path / "checked.imf"
    options |= {"model": tiny, "quality": 30, "key_interval": 9, "edits": api.Edits(end=Fraction(13, 25))}
    api.encode(clip, plain, **options)
    api.encode(clip, checked, verify=True, **options)
    assert checked.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("kind", ["KEY", "CHUNK"])
def test_a_payload_that_decodes_to_something_else(clip, tiny, tmp_path, monkeypatch, kind):
    """Another quantiser index than was encoded with: the stream is intact, and its pictures are wrong."""
    make = Encoder._packet

    def wrong(self, *arguments, **options):
        packet = make(self, *arguments, **options)
        if packet.kind.name != kind:
            return packet
        return replace(packet, key_qindex=packet.key_qindex and 5, quantisers=replace(packet.quantisers, golden=5))

    monkeypatch.setattr(Encoder, "_packet", wrong)
    api.encode(clip, tmp_path / "wrong.imf", model=tiny, golden_interval=4)
    with pytest.raises(OutputError, match="verification failed, nothing is kept"):
        api.encode(clip, tmp_path / "checked.imf", model=tiny, golden_interval=4, verify=True)
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.imf"]


def test_bytes_that_change_on_their_way(clip, tiny, tmp_path, monkeypatch):
    from imfcodec.api.verifying import VerifiedSink

    write = VerifiedSink.write
    monkeypatch.setattr(VerifiedSink, "write", lambda sink, data: write(sink, bytes(data[:-1]) + b"!"))
    with pytest.raises(OutputError, match="verification failed"):
        api.encode(clip, tmp_path / "checked.imf", model=tiny, verify=True)
    assert not list(tmp_path.iterdir())
