"""The dyadic order."""

import pytest

from imfcodec.bitstream.packet import MAX_CHUNK_FRAMES
from imfcodec.models.structure import dyadic_levels, interval_level


@pytest.mark.parametrize("length", range(1, MAX_CHUNK_FRAMES + 1))
def test_every_frame_comes_once_and_after_its_neighbours(length):
    known = {0, length}
    for level in dyadic_levels(length):
        for token in level:
            assert {token.left, token.right} <= known
            assert token.left < token.position < token.right
            assert 0 < token.fraction < 1
        positions = {token.position for token in level}
        assert len(positions) == len(level) and not positions & known
        known |= positions
    assert known == set(range(length + 1))


def test_levels_by_interval():
    assert [interval_level(n) for n in (2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64)] == [2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
