"""Lookups keep every weight, and as many visits as the fullest feature of a tile asks for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.formats.lookups import pack, visits
from sparsegen.graph import Array
from tests.formats.matrices import matrices
from tests.sampling import examples


@examples(60)
@given(
    matrix=matrices(rows=200, columns=70),
    vectors=st.integers(1, 4),
    lanes=st.sampled_from([8, 16]),
)
def test_unpack_gives_back_the_matrix(matrix: Array, vectors: int, lanes: int) -> None:
    packed = pack(matrix, vectors=vectors, lanes=lanes)
    np.testing.assert_array_equal(packed.unpack(), matrix)
    assert len(packed.values) == visits(matrix, vectors=vectors, lanes=lanes) == packed.starts[-1]
    assert packed.nbytes == packed.values.nbytes * 5 // 4 + packed.starts.nbytes


def test_visits_and_places() -> None:
    matrix = np.zeros((9, 17), np.float32)
    matrix[0, [3, 5, 16]] = [1, 2, 3]
    matrix[1, 4] = 4
    matrix[8, 15] = 5
    packed = pack(matrix, vectors=1, lanes=8)
    assert packed.starts.tolist() == [0, 2, 3, 4, 4]
    assert packed.values[:, :2].tolist() == [[1, 4], [2, 0], [3, 0], [5, 0]]
    assert packed.places[:3, 0].tolist() == [3, 5, 0]
    assert packed.places[3, 0] == 15
