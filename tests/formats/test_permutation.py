"""Rows that keep the same columns meet in panels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.formats.masked_panels import pack
from sparsegen.formats.permutation import order_rows


@given(out=st.integers(1, 20), columns=st.integers(1, 20), rows=st.integers(1, 5), seed=st.integers(0, 100))
def test_every_row_is_somewhere(out: int, columns: int, rows: int, seed: int) -> None:
    matrix = (np.random.default_rng(seed).random((out, columns)) < 0.5).astype(np.float32)
    assert sorted(order_rows(matrix, rows=rows)) == list(range(out))


def test_vectors_whose_rows_lie_apart_meet_again() -> None:
    rng = np.random.default_rng(0)
    matrix = np.repeat(rng.random((8, 64)) < 0.5, 4, axis=0).astype(np.float32)
    shuffled = matrix[rng.permutation(32)]
    assert pack(shuffled, rows=4, block=64).statistics().masks > 4
    packed = pack(shuffled[order_rows(shuffled, rows=4)], rows=4, block=64)
    assert packed.masks == (15,)


def test_full_rows_are_not_mixed_with_empty_ones() -> None:
    matrix = np.zeros((8, 16), np.float32)
    matrix[::2] = 1
    packed = pack(matrix[order_rows(matrix, rows=4)], rows=4, block=16)
    assert packed.statistics().rows_per_vector == 4
