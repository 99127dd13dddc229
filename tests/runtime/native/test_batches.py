"""Any number of rows, by variants of a few batches."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sparsegen_runtime.batches import Family, Piece, families_of, pieces, without_batch

from tests.sampling import examples

IMAGE = (3, 8, 8)


def of(*batches: int) -> list[list[tuple[int, ...]]]:
    return [[(batch, *IMAGE)] for batch in batches]


def test_variants_that_differ_in_the_batch_are_a_family() -> None:
    shapes = [*of(1, 4), [(1, 3, 16, 16)], *of(16), [(4, 3, 16, 16)]]
    found = families_of(shapes)
    assert found == {
        without_batch(shapes[0]): Family({1: 0, 4: 1, 16: 3}, (True,)),
        without_batch(shapes[2]): Family({1: 2, 4: 4}, (True,)),
    }
    assert found[without_batch([(5, *IMAGE)])].rows_of([(5, *IMAGE)]) == 5


def test_inputs_without_a_batch_stay_as_they_are() -> None:
    ((key, family),) = families_of([[(2, 3), (5, 5)], [(4, 3), (5, 5)]]).items()
    assert family == Family({2: 0, 4: 1}, (True, False))
    assert family.rows_of([(3, 3), (5, 5)]) == 3
    assert key == without_batch([(9, 3), (5, 5)])


@pytest.mark.parametrize(
    "shapes",
    [of(4), [[(2, 3), (2, 5)], [(4, 3), (3, 5)]], [[(2,), (4,)], [(4,), (2,)]], [[()], [()]]],
    ids=["one", "two extents", "crossed", "numbers"],
)
def test_others_are_none(shapes: list[list[tuple[int, ...]]]) -> None:
    assert not families_of(shapes)


def test_inputs_of_several_numbers_of_rows_have_none_in_common() -> None:
    (family,) = families_of([[(2, 3), (2, 5)], [(4, 3), (4, 5)]]).values()
    assert family.rows_of([(3, 3), (5, 5)]) is None


@pytest.mark.parametrize(
    ("rows", "seconds", "expected"),
    [
        (3, {1: 1.0, 4: 2.0}, [Piece(0, 3, 4)]),
        (3, {1: 1.0, 4: 3.5}, [Piece(0, 1, 1), Piece(1, 2, 1), Piece(2, 3, 1)]),
        (5, {1: 1.0, 4: 2.0, 16: 9.0}, [Piece(0, 4, 4), Piece(4, 5, 1)]),
        (15, {1: 1.0, 4: 3.0, 16: 8.0}, [Piece(0, 15, 16)]),
        (33, {4: 3.0, 16: 8.0}, [Piece(0, 16, 16), Piece(16, 32, 16), Piece(32, 33, 4)]),
        (2, {2: 1.0, 1: 0.5}, [Piece(0, 2, 2)]),
    ],
)
def test_the_fastest_pieces(rows: int, seconds: dict[int, float], expected: list[Piece]) -> None:
    assert list(pieces(rows, seconds)) == expected


@given(st.integers(1, 12), st.dictionaries(st.integers(1, 8), st.integers(1, 9), min_size=1, max_size=3))
@examples(200)
def test_no_other_pieces_are_faster(rows: int, seconds: dict[int, int]) -> None:
    found = pieces(rows, {batch: float(time) for batch, time in seconds.items()})
    assert [piece.begin for piece in found] == [0, *(piece.end for piece in found[:-1])]
    assert found[-1].end == rows
    assert all(0 < piece.end - piece.begin <= piece.batch for piece in found)
    best = min(
        sum(seconds[batch] for batch in chosen)
        for count in range(1, rows + 1)
        for chosen in itertools.combinations_with_replacement(seconds, count)
        if sum(chosen) >= rows
    )
    assert sum(seconds[piece.batch] for piece in found) == best
