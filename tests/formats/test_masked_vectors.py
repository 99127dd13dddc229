"""Masked vectors keep every weight, once, and count their bytes right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.formats.masked_vectors import pack, packed_bytes
from sparsegen.graph import Array
from tests.formats.matrices import matrices
from tests.kernels.contract import WEIGHTS, weights
from tests.sampling import examples

LANES = 16


@examples(60)
@given(
    matrix=matrices(rows=80, columns=30),
    vectors=st.integers(1, 5),
    lanes=st.sampled_from([8, 16]),
)
def test_unpack_gives_back_the_matrix(matrix: Array, vectors: int, lanes: int) -> None:
    packed = pack(matrix, vectors=vectors, lanes=lanes)
    np.testing.assert_array_equal(packed.unpack(), matrix)
    assert packed.nbytes == packed_bytes(matrix, vectors=vectors, lanes=lanes)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_kept_weights_lie_one_after_the_other(kind: str) -> None:
    matrix = weights((40, 7), kind)
    packed = pack(matrix, vectors=2, lanes=LANES)
    np.testing.assert_array_equal(packed.unpack(), matrix)
    assert len(packed.values) == np.count_nonzero(matrix) + LANES
    assert packed.masks.shape == (2, 7, 2)


def test_masks_and_starts() -> None:
    matrix = np.zeros((33, 2), np.float32)
    matrix[[0, 15, 16, 32], [0, 0, 0, 1]] = [1, 2, 3, 4]
    matrix[1, 1] = 5
    packed = pack(matrix, vectors=2, lanes=LANES)
    assert packed.masks.tolist() == [[[0x8001, 1], [2, 0]], [[0, 0], [1, 0]]]
    assert packed.starts.tolist() == [[0, 3], [4, 4]]
    assert packed.values[:-LANES].tolist() == [1, 2, 3, 5, 4]
