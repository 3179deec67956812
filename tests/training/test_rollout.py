"""Rollout and codec: one executor, the same symbols, and bits that are what a payload takes."""

import numpy as np
import pytest
import torch

from imfcodec.bitstream.packet import Quantisers
from imfcodec.codec.encoder import Encoder, OperatingPoint
from imfcodec.codec.planes import to_frames
from imfcodec.codec.settings import EncoderSettings
from imfcodec.entropy.coder import CodingTables
from imfcodec.latents.symbols import SymbolReader, SymbolWriter
from imfcodec.models.coding import Table
from imfcodec.models.executor import Executor, Qindices
from imfcodec.models.structure import Chunk, plan
from imfcodec.training.export import export
from imfcodec.training.likelihoods import RateEstimator
from imfcodec.training.rollout import Rollout
from imfcodec.training.start import load_trained
from imfcodec.training.tables import SymbolCounts, gaussian_tables, hyper_tables
from imfcodec.zoo import load_model

CHUNKS = {
    "split": Chunk(8, True, (True, False, True, False, True)),
    "whole": Chunk(5, True, (False,)),
    "past": Chunk(3, False),
}
QINDICES = Qindices(*(torch.tensor([value]) for value in (150, 12, 100)))
KEY = torch.tensor([180])


class Recorder:
    """Passes everything on to another coder and keeps the symbols and rows."""

    def __init__(self, coder):
        self.coder, self.sets = coder, []

    def code(self, values, rows, table):
        symbols = self.coder.code(values, rows, table)
        self.sets.append((table, symbols.detach().clone(), rows.detach().clone()))
        return symbols

    def take_bits(self):
        return self.coder.take_bits()


@pytest.fixture(scope="module")
def model():
    return load_trained().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tables(model):
    """Made from the model, without counts."""
    none = SymbolCounts(model.network.config.hyper_channels)
    fitted = {Table.GAUSSIAN: gaussian_tables(none), Table.HYPER: hyper_tables(model.bottleneck, none)}
    return {table: CodingTables(values) for table, values in fitted.items()}


def run(executor, chunk, pictures, like):
    """Code a key frame and a chunk, as the codec does."""
    known = {0: executor.key(KEY, like, None if pictures is None else pictures[0])}
    for level in plan(chunk):
        executor.run(level, known, QINDICES, pictures)
    return known


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for (table, symbols, rows), (other, values, numbers) in zip(ours, theirs, strict=True):
        assert table is other and torch.equal(symbols, values) and torch.equal(rows.round(), numbers.round())


def escaped(model, tables, sets):
    """By how much escapes cost more than the estimator has it, bits; it knows nothing of them."""
    excess = 0.0
    for table, symbols, rows in sets:
        values, numbers = (x.flatten().numpy().astype(np.int32) for x in (symbols, rows.round()))
        indices = values - tables[table].offsets[numbers]
        outside = (indices < 0) | (indices >= tables[table].escapes[numbers])
        if table is Table.GAUSSIAN and outside.any():
            chosen = torch.from_numpy(outside)
            coder = RateEstimator(model.bottleneck)
            coder.code(symbols.flatten()[chosen][None], rows.flatten()[chosen][None], table)
            excess += tables[table].information(values[outside], numbers[outside]) - float(coder.take_bits())
    return excess


@pytest.mark.parametrize("name", CHUNKS)
@torch.no_grad()
def test_rollout_and_codec_code_the_same_symbols(model, tables, face_pictures, name, monkeypatch):
    """Estimated, written and read; but for escapes the estimate is within a hundredth of the payload."""
    chunk, pictures = CHUNKS[name], dict(enumerate(face_pictures))
    estimators = []
    plain = model.estimator
    monkeypatch.setattr(model, "estimator", lambda: estimators.append(Recorder(plain())) or estimators[-1])
    rollout = Rollout(model)
    outcome, anchor = rollout.key(pictures[0], KEY)
    known = {0: anchor}
    outcomes = [outcome, *rollout.run(plan(chunk), known, QINDICES, pictures).values()]
    estimated = sum(float(o.bits) for o in outcomes)

    writer = Recorder(SymbolWriter(tables))
    written = run(Executor(model.network, writer), chunk, pictures, pictures[0])
    assert_same(estimators[0].sets, writer.sets)
    payload = writer.coder.finish(check=False)
    reader = Recorder(SymbolReader(tables, payload))
    read = run(Executor(model.network, reader), chunk, None, pictures[0])
    assert_same(writer.sets, reader.sets)

    assert set(written) == set(read) == set(known) == set(range(chunk.length + 1))
    for position in known:
        assert torch.equal(written[position].token.u, read[position].token.u)
        assert torch.equal(known[position].token.u, read[position].token.u)
        if read[position].reference is not None:
            assert torch.equal(known[position].reference.picture.luma, read[position].reference.picture.luma)
    assert 8 * len(payload) > 300
    excess = escaped(model, tables, writer.sets)
    assert estimated + excess == pytest.approx(8 * len(payload), rel=0.01, abs=9)
    assert estimated == pytest.approx(8 * len(payload), rel=0.06, abs=9), "tables are coarser than the model"


@torch.no_grad()
def test_outcomes_are_what_the_decoder_shows(model, face_pictures):
    """Bits and pictures by frame, with the original, its role and what it was predicted from."""
    chunk, pictures = CHUNKS["split"], dict(enumerate(face_pictures))
    rollout = Rollout(model)
    known = {0: rollout.key(pictures[0], KEY)[1]}
    outcomes = rollout.run(plan(chunk), known, QINDICES, pictures)
    steps = {step.position: step for level in plan(chunk) for step in level}
    assert set(outcomes) == set(steps) == set(range(1, 9))
    for position, outcome in outcomes.items():
        step = steps[position]
        assert outcome.role is step.role and outcome.target is pictures[position] and outcome.bits.shape == (1,)
        assert torch.equal(outcome.qindex, QINDICES.of(step))
        assert torch.equal(outcome.reference.luma, known[step.references[0]].reference.picture.luma)
        assert torch.equal(outcome.symbols.u, known[position].symbols.u)
        error = (outcome.picture.luma - outcome.target.luma).square().mean()
        assert 10 * torch.log10(error) < -20
    golden = sum(float(o.bits) for p, o in outcomes.items() if steps[p].latent)
    assert golden > sum(float(o.bits) for p, o in outcomes.items() if not steps[p].latent)


@torch.no_grad()
def test_the_encoder_writes_the_symbols_of_a_rollout(model, tables, face_pictures, tmp_path):
    """From frames to packets, with an exported model file; weights there have 16 bits, in which they came."""
    none = SymbolCounts(model.network.config.hyper_channels)
    export(model.network, model.bottleneck, none, tmp_path / "model.safetensors")
    loaded = load_model(str(tmp_path / "model.safetensors"))
    frames = [to_frames(picture, 64, 64, [i])[0] for i, picture in enumerate(face_pictures[:6])]
    point = OperatingPoint(key=180, quantisers=Quantisers(150, 12, 100), interval=5, split=False)
    key, chunk = Encoder(loaded, EncoderSettings(), point).encode(iter(frames))
    pictures = dict(enumerate(face_pictures))
    for packet, flags in ((key, ()), (chunk, (False,))):
        writer = SymbolWriter(tables)
        executor = Executor(model.network, SymbolWriter(tables) if packet is chunk else writer)
        known = {0: executor.key(KEY, pictures[0], pictures[0])}
        if packet is chunk:
            writer.flags = flags
            for level in plan(CHUNKS["whole"]):
                Executor(model.network, writer).run(level, known, QINDICES, pictures)
        assert packet.payload == writer.finish(check=True)


@torch.no_grad()
def test_a_picture_can_be_given_as_a_reference(model, face_pictures):
    rollout = Rollout(model)
    anchor = rollout.given(face_pictures[0])
    assert anchor.reference.picture is face_pictures[0] and not anchor.token.u.any()
    known = {0: anchor}
    outcomes = rollout.run(plan(Chunk(1, False)), known, QINDICES, dict(enumerate(face_pictures)))
    again = rollout.given(face_pictures[1], known[1])
    assert torch.equal(again.token.u, known[1].token.u) and torch.equal(again.symbols.g, known[1].symbols.g)
    assert torch.equal(outcomes[1].reference.luma, face_pictures[0].luma)
