"""Packing keeps every weight, whatever the shape of the matrix and of the panels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsegen.formats.masked_panels import MaskedPanels, column_masks, pack


def matrix_of(out: int, columns: int, density: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kept = rng.random((out, columns)) < density
    return (rng.standard_normal((out, columns)) * kept).astype(np.float32)


@given(
    out=st.integers(1, 20),
    columns=st.integers(1, 40),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    rows=st.integers(1, 6),
    block=st.integers(1, 50),
    multiple=st.integers(1, 4),
    dense=st.booleans(),
)
def test_unpack_gives_back_the_matrix(
    out: int, columns: int, density: float, rows: int, block: int, multiple: int, dense: bool
) -> None:
    matrix = matrix_of(out, columns, density)
    packed = pack(matrix, rows=rows, block=block, multiple=multiple, dense=dense)
    np.testing.assert_array_equal(packed.unpack(), matrix)
    assert packed.panels % multiple == 0
    assert packed.nonzeros == (matrix.size if dense else np.count_nonzero(matrix))


def test_columns_of_a_visit_are_sorted_by_mask() -> None:
    matrix = np.array([[1, 0, 2, 0, 3], [0, 0, 4, 5, 6]], np.float32)
    packed = pack(matrix, rows=2, block=5)
    assert packed.masks == (1, 2, 3)
    assert packed.columns.tolist() == [0, 3, 2, 4]
    assert packed.values.tolist() == [1, 5, 2, 4, 3, 6]
    assert packed.segments.tolist() == [[[0, 1, 2, 4]]]
    assert packed.value_segments.tolist() == [[[0, 1, 2, 6]]]


def test_blocks_cut_the_columns() -> None:
    packed = pack(np.ones((2, 5), np.float32), rows=2, block=2)
    assert packed.segments.tolist() == [[[0, 2]], [[2, 4]], [[4, 5]]]


@pytest.mark.parametrize(("rows", "masks"), [(4, (15,)), (3, (1, 7))])
def test_vectors_of_rows_leave_one_mask_and_that_of_the_last_panel(rows: int, masks: tuple[int, ...]) -> None:
    kept = np.random.default_rng(0).random((1, 30)) < 0.5
    packed = pack(np.repeat(kept, 4, axis=0).astype(np.float32), rows=rows, block=30)
    assert packed.masks == masks


def test_statistics() -> None:
    packed: MaskedPanels = pack(matrix_of(8, 64, 0.5), rows=4, block=64)
    told = packed.statistics()
    assert told.rows_per_vector == packed.nonzeros / len(packed.columns)
    assert 1 < told.rows_per_vector < 4
    assert told.bytes == 4 * (packed.nonzeros + len(packed.columns) + packed.segments.size * 2)
    assert told.masks == len(packed.masks)
    assert told.padding == 0
    assert pack(matrix_of(8, 64, 0.5), rows=4, block=64, dense=True).statistics().padding > 0.4


def test_column_masks_count_kept_rows_as_bits() -> None:
    matrix = np.array([[1, 0], [1, 1], [0, 1]], np.float32)
    assert column_masks(matrix, 2).tolist() == [[3, 2], [0, 1]]
    assert column_masks(matrix, 2, dense=True).tolist() == [[3, 3], [1, 1]]
