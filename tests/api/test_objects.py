"""The objects of the API: what they keep, and that they do what the functions do."""

import io
from dataclasses import replace

import numpy as np
import pytest

from imfcodec import api
from imfcodec.errors import InputError, ModelError, UsageError
from imfcodec.frames import Colour

OPTIONS = api.EncodeOptions(quality=20, golden_interval=4, key_interval=6)


@pytest.fixture(scope="module")
def stream(face_y4m, tiny):
    """The small talking face in two groups, as bytes."""
    target = io.BytesIO()
    api.Encoder(OPTIONS, model=tiny).encode(face_y4m, target)
    return target.getvalue()


def same(one, other):
    """Whether two lists of frames are the same in every sample and time stamp."""
    assert [frame.pts for frame in one] == [frame.pts for frame in other]
    planes = ((getattr(a, name), getattr(b, name)) for a, b in zip(one, other, strict=True) for name in "yuv")
    return all(np.array_equal(a, b) for a, b in planes)


def test_one_encoder_makes_the_same_stream_again_and_as_the_function(face_y4m, tiny, stream):
    encoder, target, other = api.Encoder(OPTIONS, model=tiny), io.BytesIO(), io.BytesIO()
    stats = encoder.encode(face_y4m, target)
    assert stats == replace(stats, frames=10, byte_count=len(stream))
    encoder.encode(face_y4m, other)
    assert target.getvalue() == other.getvalue() == stream
    again = io.BytesIO()
    api.encode(face_y4m, again, OPTIONS, quality=20, model=tiny)
    assert again.getvalue() == stream
    api.encode(face_y4m, smaller := io.BytesIO(), OPTIONS, quality=0, model=tiny)
    assert len(smaller.getvalue()) < len(stream)


def test_frames_of_the_callers_own(face_format, face_frames, tiny, stream, tmp_path):
    """Fed frame by frame, a clip gives the stream its file gives; those of another size are refused."""
    target = io.BytesIO()
    plain = replace(face_format, colour=Colour())  # Y4M does not tell
    clip = api.Clip(plain, (frame for frame in face_frames), last_duration=1)
    assert api.Encoder(OPTIONS, model=tiny).encode_clip(clip, target).frames == 10
    assert target.getvalue() == stream
    wrong = api.Clip(replace(face_format, width=94), iter(face_frames))
    with pytest.raises(InputError, match="96x80 in a clip of 94x80"):
        api.Encoder(model=tiny).encode_clip(wrong, tmp_path / "wrong.imf")
    with pytest.raises(InputError, match="no frames"):
        api.Encoder(model=tiny).encode_clip(api.Clip(face_format, iter(())), tmp_path / "none.imf")
    assert not list(tmp_path.iterdir())


def test_decoder_goes_on_where_it_stopped(tiny, stream):
    frames = list(api.decode_frames(io.BytesIO(stream), model=tiny))
    assert len(frames) == 10
    with api.Decoder(io.BytesIO(stream), model=tiny) as decoder:
        assert decoder.format == decoder.header.format and (decoder.format.width, decoder.format.height) == (96, 80)
        first = next(decoder)
        batches = list(decoder.batches(4))
        assert decoder.bytes_read == len(stream) and decoder.last_duration == 1
    assert [len(batch) for batch in batches] == [4, 4, 1]
    assert same([first, *(frame for batch in batches for frame in batch)], frames)


def test_closed_decoder_has_no_frames(tiny, stream, tmp_path):
    """A path is closed with the decoder, also half-way; a stream of the caller's is not."""
    path = tmp_path / "face.imf"
    path.write_bytes(stream)
    source = io.BytesIO(stream)
    for place in (path, source):
        with api.Decoder(place, model=tiny) as decoder:
            next(decoder)
        assert not list(decoder)
    assert not source.closed


def test_model_is_loaded_once_and_checked(tiny, stream):
    assert api.Model("nobody").file is None and api.Model("x.safetensors").file == "x.safetensors"
    assert tiny.load() is tiny.load() is tiny.load(tiny.model_id)
    with pytest.raises(ModelError, match="nobody"):
        api.Model("nobody").load()
    name = next(row["name"] for row in api.list_models() if row["default"])
    with pytest.raises(ModelError, match="made with model 00"):
        api.Model(name, device="cpu").load(bytes(8))
    with pytest.raises(ModelError, match="needs model 00"):
        api.Model(device="cpu").load(bytes(8))
    with pytest.raises(UsageError, match="0 threads"):
        api.Model(threads=0)


def test_threads_are_the_models_only_while_it_computes(tiny_file, stream):
    """Neither between two frames, nor after them or an error, does the process have another number of threads."""
    import torch

    before, during = torch.get_num_threads(), []
    model = api.Model(threads=before + 1)

    def steps():
        for index in range(2):
            during.append(torch.get_num_threads())
            yield index
        raise ZeroDivisionError

    seen = []
    with pytest.raises(ZeroDivisionError):
        for index in model.paced(steps()):
            seen.append((index, torch.get_num_threads()))
    assert seen == [(0, before), (1, before)] and during == [before + 1] * 2
    assert torch.get_num_threads() == before
    list(api.decode_frames(io.BytesIO(stream), model=str(tiny_file), device="cpu", threads=before + 1))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "wrong", [{"quality": 101}, {"structure": "none"}, {"golden_interval": 33}, {"key_interval": 0}, {"audio": "mp3"}]
)
def test_options_are_checked_when_they_are_chosen(wrong):
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        api.EncodeOptions(**wrong)


def test_objects_need_no_torch(fresh_process, stream, tmp_path):
    """Opening a stream and choosing options load no model."""
    path = tmp_path / "face.imf"
    path.write_bytes(stream)
    script = (
        "import sys; from imfcodec import api; api.Encoder(api.EncodeOptions(), model='talk'); "
        "print(api.Decoder(sys.argv[1]).format.width); sys.exit('torch' in sys.modules)"
    )
    result = fresh_process("-c", script, path, timeout=60)
    assert (result.returncode, result.stdout) == (0, b"96\n"), result.stderr
