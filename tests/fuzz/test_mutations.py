"""Damaged streams, with and without valid checksums: typed errors alone, and concealment that keeps its promises."""

import io
import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.hostile import LIMITS, make_streams, try_file, write_tiny_model
from imfcodec import api, zoo
from imfcodec.bitstream.container import StreamReader, verify_structure
from imfcodec.errors import CorruptStreamError, ImfError
from imfcodec.evaluation.mutations import StreamParts, mutate

SEED = st.integers(0, 2**32)
SHORT = settings(
    deadline=20_000,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),  # shrinking takes minutes; the seed alone does it again
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of some thousand weights."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    write_tiny_model(path)
    return path


@pytest.fixture(scope="module")
def streams(model):
    return make_streams(model)


@pytest.fixture(autouse=True)
def _load_once(model, monkeypatch):
    loaded = zoo.load_model(str(model))
    monkeypatch.setattr(zoo, "load_model", lambda *arguments, **options: loaded)


def test_streams_come_apart_and_together(streams):
    for stream in streams:
        assert StreamParts.split(stream).join() == stream
        cut = StreamParts.split(stream[:-3])
        assert cut.rest and len(cut.join()) == len(stream) - 3
    assert StreamParts.split(b"IM").join() != streams[0]


@settings(SHORT, max_examples=60)
@given(SEED)
def test_valid_mutations_have_valid_checksums(streams, seed):
    """Every packet the mutated stream comes apart into passes its checksum: what is refused breaks another rule."""
    dice = random.Random(seed)
    data = mutate(dice.choice(streams), dice, valid=True)
    try:
        verify_structure(io.BytesIO(data))
    except ImfError as error:
        assert "checksum" not in str(error) and "hash does not match" not in str(error)


@settings(SHORT, max_examples=150)
@given(SEED, st.booleans())
def test_readers_raise_typed_errors_alone(streams, seed, valid):
    dice = random.Random(seed)
    data = mutate(dice.choice(streams), dice, valid=valid)
    for read in (verify_structure, lambda source: list(StreamReader(source, conceal=True))):
        try:
            read(io.BytesIO(data))
        except ImfError as error:
            assert "\n" not in str(error)


@settings(SHORT, max_examples=15)
@given(SEED, st.booleans())
def test_decoders_raise_typed_errors_alone(streams, model, seed, valid):
    dice = random.Random(seed)
    data = mutate(dice.choice(streams), dice, valid=valid)
    faults, outcome = try_file(data, model, seconds=5, mebibytes=256)
    assert not faults and outcome in ("decoded", "refused")


@settings(SHORT, max_examples=12)
@given(SEED)
def test_concealment_keeps_every_frame_in_its_place(streams, model, seed):
    """Any video packet lost, damaged, doubled or swapped: the same time stamps, and what is not marked is right."""
    dice = random.Random(seed)
    stream = dice.choice(streams[::2])  # constant rate: a stamp lost with its packet cannot be known
    parts = StreamParts.split(stream)
    at, other = dice.randrange(1, len(parts.packets) - 2), dice.randrange(1, len(parts.packets) - 2)
    fault = dice.choice(("lose", "damage", "double", "swap"))
    if fault == "lose":
        del parts.packets[at]
    elif fault == "double":
        parts.packets.insert(at, parts.packets[at])
    elif fault == "swap":
        parts.packets[at], parts.packets[other] = parts.packets[other], parts.packets[at]
    else:
        first, body = parts.packets[at]
        parts.packets[at] = first, bytes(byte ^ 0x55 for byte in body)
    whole = list(api.decode_frames(io.BytesIO(stream), model=str(model), limits=LIMITS))
    frames = list(api.decode_frames(io.BytesIO(parts.join()), conceal=True, model=str(model), limits=LIMITS))
    assert [frame.pts for frame in frames] == [frame.pts for frame in whole]


def test_what_is_not_concealed_is_right(streams, model):
    """A packet whose loss is known: frames that are not marked are those of the whole stream, sample for sample."""
    for stream in streams[::2]:
        whole = list(api.decode_frames(io.BytesIO(stream), model=str(model), limits=LIMITS))
        parts = StreamParts.split(stream)
        places = [at for at, (first, _) in enumerate(parts.packets[:-2]) if at and first != 5]
        offset = len(stream) - sum(len(body) + 4 for _, body in parts.packets)
        for at in places:
            end = offset + sum(len(body) + 4 for _, body in parts.packets[: at + 1])
            damaged = stream[: end - 1] + bytes((stream[end - 1] ^ 0xFF,)) + stream[end:]
            with pytest.raises(CorruptStreamError):
                list(api.decode_frames(io.BytesIO(damaged), model=str(model), limits=LIMITS))
            frames = list(api.decode_frames(io.BytesIO(damaged), conceal=True, model=str(model), limits=LIMITS))
            assert [frame.pts for frame in frames] == [frame.pts for frame in whole]
            assert any(frame.concealed for frame in frames)
            for ours, theirs in zip(frames, whole, strict=True):
                assert ours.concealed or (ours.y == theirs.y).all()
