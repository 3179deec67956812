"""The coding order: plans of every length and structure."""

import random

import pytest

from imfcodec.bitstream.packet import MAX_CHUNK_FRAMES
from imfcodec.models.coding import Role
from imfcodec.models.structure import (
    END_LEVEL,
    MAX_LEVEL,
    PAST_LEVEL,
    Chunk,
    golden_between,
    golden_levels,
    halves,
    interval_level,
    needed,
    plan,
    token_levels,
    undecided,
)

LENGTHS = range(1, MAX_CHUNK_FRAMES + 1)


def decided(length, choose) -> Chunk:
    """A chunk whose intervals are split where `choose` says so."""
    chunk = Chunk(length, True)
    while intervals := undecided(chunk):
        chunk = Chunk(length, True, (*chunk.splits, *(choose(interval) for interval in intervals)))
    return chunk


def check(chunk, levels):
    """Every frame once, after all that it is predicted and guessed from, in its place between them."""
    known, references, last = {0}, {0}, chunk.before + chunk.length
    known |= set(range(1, chunk.before + 1))
    for level in levels:
        assert level and len({step.role for step in level}) == 1
        assert [step.position for step in level] == sorted({step.position for step in level})
        assert len({(len(step.references), len(step.neighbours)) for step in level}) == 1, "one batch"
        for step in level:
            assert step.position not in known and 1 <= step.position <= last
            assert set(step.references) <= references and set(step.neighbours) <= known
            assert step.latent == (step.role is Role.GOLDEN) and step.role is not Role.KEY
            for ends, share in ((step.references, step.place), (step.neighbours, step.fraction)):
                assert list(ends) == sorted(set(ends)) and len(ends) in (1, 2)
                if len(ends) == 2:
                    assert ends[0] < step.position < ends[1] and 0 < share < 1
                    assert share == pytest.approx((step.position - ends[0]) / (ends[1] - ends[0]))
                else:
                    assert ends[0] < step.position and share == 0
            assert 0 <= step.level <= MAX_LEVEL and 1 <= step.span <= last
            assert step.role is Role.GOLDEN or step.depth == 0
        known |= {step.position for step in level}
        references |= {step.position for step in level if step.latent}
    assert known == set(range(last + 1))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("chance", [0.0, 0.3, 0.6, 1.0])
def test_plans_are_valid_for_every_length(length, chance):
    for _ in range(1 if chance in (0, 1) else 8):
        chunk = decided(length, lambda _: random.random() < chance)
        levels = plan(chunk)
        check(chunk, levels)
        steps = [step for level in levels for step in level]
        goldens = [step for step in steps if step.role is Role.GOLDEN]
        assert len(goldens) == 1 + sum(chunk.splits)
        assert steps[0].position == length and steps[0].references == (0,) and steps[0].level == END_LEVEL
        assert [depth for level in golden_levels(chunk) for depth in {s.depth for s in level}] == list(
            range(len(golden_levels(chunk)))
        )
        assert levels[: len(golden_levels(chunk))] == golden_levels(chunk), "golden frames first"
        ends = sorted({0, *(step.position for step in goldens)})
        for step in steps[len(goldens) :]:
            nearest = max(e for e in ends if e < step.position), min(e for e in ends if e > step.position)
            assert step.references == nearest, "token frames lie between the nearest golden frames"
        for step in goldens[1:]:
            assert step.references == step.neighbours and step.level == interval_level(step.neighbours)


@pytest.mark.parametrize("length", LENGTHS)
def test_all_frames_are_golden_where_every_interval_is_split(length):
    chunk = decided(length, lambda _: True)
    assert len(chunk.splits) == length - 1
    assert all(step.role is Role.GOLDEN for level in plan(chunk) for step in level)


@pytest.mark.parametrize("length", LENGTHS)
def test_chunks_without_a_golden_end_and_low_delay_look_back_alone(length):
    for before in (0, 1, 5, 31):
        chunk = Chunk(length, False, before=before)
        levels = plan(chunk)
        check(chunk, levels)
        assert all(len(level) == 1 for level in levels)
        for (step,) in levels:
            assert step.references == (0,) and step.neighbours == (step.position - 1,) and step.level == PAST_LEVEL
            assert step.span == step.position


@pytest.mark.parametrize("before", range(MAX_CHUNK_FRAMES))
def test_a_golden_frame_in_low_delay_follows_token_frames(before):
    chunk = Chunk(1, True, before=before)
    check(chunk, plan(chunk))
    ((step,),) = plan(chunk)
    assert (step.position, step.references, step.neighbours, step.level) == (before + 1, (0,), (0,), END_LEVEL)
    assert not undecided(chunk)


@pytest.mark.parametrize("length", LENGTHS)
def test_splits_are_asked_for_depth_by_depth(length):
    """What is undecided are the intervals of one depth, left to right; what an encoder did before stays."""
    chunk, done = Chunk(length, True), golden_levels(Chunk(length, True))
    depths = 0
    while intervals := undecided(chunk):
        assert intervals == sorted(intervals) and all(right - left > 1 for left, right in intervals)
        depths += 1
        flags = [(len(intervals) - i) % 2 == 1 for i in range(len(intervals))]  # the last, the longest, and others
        middles = tuple(
            golden_between(interval, depths) for interval, flag in zip(intervals, flags, strict=True) if flag
        )
        chunk = Chunk(length, True, (*chunk.splits, *flags))
        assert golden_levels(chunk) == [*done, middles]
        done = golden_levels(chunk)
    assert depths <= 5 and depths == (length - 1).bit_length()
    check(chunk, plan(chunk))


def test_intervals_without_an_entry_are_not_split():
    for length in LENGTHS:
        assert plan(Chunk(length, True)) == plan(decided(length, lambda _: False))


@pytest.mark.parametrize("length", [1, 2, 3, 7, 16, 31, 32])
def test_what_a_frame_needs_is_closed_and_no_more(length):
    chunk = decided(length, lambda _: random.random() < 0.5)
    levels = plan(chunk)
    everything = {step for level in levels for step in level}
    for position in range(1, length + 1):
        part = needed(levels, position)
        steps = {step for level in part for step in level}
        positions = {step.position for step in steps}
        assert position in positions and all(part) and steps <= everything
        assert all({*step.references, *step.neighbours} <= positions | {0} for step in steps)
        used = {p for step in steps for p in (*step.references, *step.neighbours)}
        assert positions <= used | {position}, "everything else is used by something"
        order = [step for level in levels for step in level if step in steps]
        assert [step for level in part for step in level] == order


def test_token_frames_of_several_intervals_share_their_levels():
    levels = token_levels([(8, 16), (0, 8), (16, 17)])
    assert [[step.position for step in level] for level in levels] == [
        [4, 12],
        [2, 6, 10, 14],
        [1, 3, 5, 7, 9, 11, 13, 15],
    ]
    assert token_levels([]) == [] == token_levels([(3, 4)])


def test_halves_meet_in_the_middle():
    assert halves((0, 8)) == ((0, 4), (4, 8)) and halves((3, 6)) == ((3, 4), (4, 6))


def test_levels_by_interval():
    spans = (2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 1000)
    assert [interval_level((5, 5 + n)) for n in spans] == [2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 7]
