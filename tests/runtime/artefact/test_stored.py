"""Arrays in the forms in which files store them: small, and the same bits again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsegen.runtime.artefact.sections import Sections
from sparsegen.runtime.artefact.stored import Stored, store, store_filters
from sparsegen.runtime.artefact.unstored import unstored
from sparsegen.runtime.transformed import TransformedFilters
from tests.sampling import examples

MATRIX = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


class Held:
    """Sections as a reader has them, of those that are to be written."""

    def __init__(self, sections: Sections) -> None:
        self._bytes = {each.name: each.data for each in sections}

    def bytes_of(self, name: str) -> NDArray[np.uint8]:
        return self._bytes[name]

    @property
    def total(self) -> int:
        return sum(each.nbytes for each in self._bytes.values())


def stored(array: NDArray[Any]) -> tuple[Stored, int]:
    """How an array is stored, and in how many bytes, once it was found to come back."""
    sections = Sections()
    how = store(array, array.dtype.name, array.shape, "weights/a", sections)
    held: Any = Held(sections)
    back = unstored({"shape": array.shape, "dtype": array.dtype.name, "stored": how}, held)
    assert back.tobytes() == array.tobytes()
    return how, held.total


def numbers(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


@pytest.mark.parametrize(
    ("array", "how", "size"),
    [
        (np.array([1, 0, 0, 2, 0, 0, 0, 0], np.float32), "zeros", 2 * 4 + 1),
        (np.array([0] * 9, np.float32), "zeros", 2),
        (np.array([-0.0] * 8, np.float32), "raw", 32),
        (np.array([1, 2, 3, 4, 5, 6, 7, 0], np.float32), "raw", 32),
        (np.array([np.nan, 0, 0, -0.0], np.float32), "zeros", 9),
        (numbers(-7, 248, 0, 3), "narrow", 4),
        (numbers(0, 60_000, 120_000), "deltas", 6),
        (numbers(0, 200, 400, 600), "deltas", 4),
        (numbers(5, 70_000, 6), "raw", 12),
        (numbers(-(1 << 31), (1 << 31) - 1), "raw", 8),
        (np.array([1, 2], np.int64), "raw", 16),
        (np.array([], np.float32), "raw", 0),
        (np.array([], np.int32), "raw", 0),
        (np.array(3, np.int32), "narrow", 1),
    ],
)
def test_the_smallest_form_is_taken(array: NDArray[Any], how: str, size: int) -> None:
    found, total = stored(array)
    assert (next(iter(found)), total) == (how, size)


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(0, 300), max_size=40))
@examples(200)
def test_any_whole_numbers_come_back(values: list[int]) -> None:
    _, total = stored(numbers(*values))
    assert total <= 4 * len(values)


@given(st.lists(st.floats(width=32) | st.just(0.0), max_size=40), st.integers(0, 2))
@examples(200)
def test_any_numbers_come_back(values: list[float], rank: int) -> None:
    array = np.array(values, np.float32)
    stored(array.reshape((1,) * rank + array.shape))


@pytest.mark.parametrize("zeros", [False, True])
def test_filters_are_stored_in_place_of_what_is_made_of_them(zeros: bool) -> None:
    filters = np.random.default_rng(0).standard_normal((6, 4, 3, 3)).astype(np.float32)
    if zeros:
        filters[::2] = 0
    made = TransformedFilters(lambda: filters, MATRIX, (4, 4, 6, 4))
    sections = Sections()
    how = store_filters(made, "weights/a", sections)
    held: Any = Held(sections)
    assert list(how) == ["transformed", "matrix"]
    assert list(how["transformed"]) == (["zeros", "mask"] if zeros else ["raw"])
    assert held.total == (filters.nbytes // 2 + 27 if zeros else filters.nbytes)
    back = unstored({"shape": made.shape, "dtype": "float32", "stored": how}, held)
    assert back.tobytes() == made.array().tobytes()


def test_arrays_that_do_not_fit_their_sections_are_refused() -> None:
    sections = Sections()
    how = store(numbers(1, 2, 3), "int32", (3,), "weights/a", sections)
    held: Any = Held(sections)
    with pytest.raises(ValueError, match=r"shape \(4,\) is stored in 12 bytes"):
        unstored({"shape": (4,), "dtype": "int32", "stored": how}, held)
