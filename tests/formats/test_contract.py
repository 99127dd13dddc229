"""What every format keeps: a round trip without loss, whatever the matrix, and true statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsegen.formats import column_combined, masked_panels  # noqa: F401  (they register)
from sparsegen.formats.registry import FORMATS
from tests.kernels.contract import WEIGHTS
from tests.sampling import examples

Array = NDArray[np.float32]


@st.composite
def matrices(draw: st.DrawFn) -> Array:
    """Filter matrices of any density, with empty rows and columns."""
    out, columns = draw(st.integers(1, 20)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    matrix = rng.standard_normal((out, columns)) * (rng.random((out, columns)) < draw(st.floats(0, 1)))
    matrix *= (rng.random((out, 1)) < draw(st.sampled_from([0.5, 1]))) * (rng.random(columns) < 0.9)
    return matrix.astype(np.float32)


@pytest.mark.parametrize("name", FORMATS)
@examples(60)
@given(
    matrix=matrices(),
    rows=st.integers(1, 6),
    block=st.sampled_from([1, 4, 9, 64]),
    multiple=st.integers(1, 3),
)
def test_unpack_gives_back_the_matrix(name: str, matrix: Array, rows: int, block: int, multiple: int) -> None:
    packed = FORMATS[name](matrix, rows=rows, block=block, multiple=multiple)
    np.testing.assert_array_equal(packed.unpack(), matrix)
    assert packed.shape == matrix.shape
    assert packed.panels * rows >= len(matrix)
    assert packed.panels % multiple == 0


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", WEIGHTS)
def test_statistics_of_any_weights(name: str, kind: str) -> None:
    dense = np.random.default_rng(0).standard_normal((13, 12)).astype(np.float32)
    matrix = WEIGHTS[kind](dense)
    told = FORMATS[name](matrix, rows=4, block=12).statistics()
    assert told.bytes >= 4 * np.count_nonzero(matrix)
    assert told.masks >= 1
    assert 0 <= told.rows_per_vector <= 4
    assert 0 <= told.padding <= 1
    if name == "masked_panels":
        assert told.padding == 0
