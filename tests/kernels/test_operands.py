"""Constants that a kernel picks by the variable of an unrolled loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tvm import sym, tirx

from sparsegen.kernels.operands import pick
from tests.sampling import examples

ROWS = st.tuples(*(st.integers(1, 7) for _ in range(3)), *(st.integers(-40, 40) for _ in range(4)))


def picked(constants: list[int]) -> list[int]:
    """What `pick` gives for every place."""
    places = (tirx.const(place, "int32") for place in range(len(constants)))
    return [int(sym.Analyzer().simplify(pick(constants, place))) for place in places]


def even_rows(blocks: int, rows: int, width: int, base: int, *steps: int) -> list[int]:
    """Where taps of some channels lie: at even distances in a row, from row to row and between channels."""
    places = np.indices((blocks, rows, width)).reshape(3, -1)
    constants: list[int] = (base + np.array(steps) @ places).tolist()
    return constants


@examples(30, soak=1000)
@given(ROWS, st.integers(0, 5), st.integers(-9, 9))
def test_constants_at_even_distances_are_picked_one_moved_or_not(
    shape: tuple[int, ...], place: int, moved: int
) -> None:
    constants = even_rows(*shape)
    assert picked(constants) == constants
    constants[place % len(constants)] += moved
    assert picked(constants) == constants


@examples(30, soak=1000)
@given(st.lists(st.integers(-100, 100), min_size=1, max_size=12))
def test_any_constants_are_picked(constants: list[int]) -> None:
    assert picked(constants) == constants


@pytest.mark.parametrize("shape", [(1, 1, 5), (1, 3, 3), (1, 7, 7), (4, 3, 3)])
def test_places_of_taps_are_computed(shape: tuple[int, int, int]) -> None:
    assert "Select" not in str(pick(even_rows(*shape, 176, 5184, 160, 16), tirx.Var("tap", "int32")))
