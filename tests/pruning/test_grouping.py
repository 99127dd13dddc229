"""Greedy grouping: a partition within its bounds, the plain algorithm's merges, planted groups found."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsegen.pruning.grouping import greedy_groups
from tests.sampling import examples


def kept_of(rows: int, columns: int, density: float, seed: int) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random((rows, columns)) < density


def conflicts_of(kept: NDArray[np.bool_], columns: NDArray[np.intp] | list[int]) -> int:
    return int(np.maximum(kept[:, columns].sum(axis=1) - 1, 0).sum())


def plain_greedy(kept: NDArray[np.bool_], group: int, conflicts: float) -> list[list[int]]:
    """The algorithm as it reads: look at every pair before every merge."""
    groups = [[column] for column in range(kept.shape[1])]
    while True:
        best: tuple[int, int, int] | None = None
        for first, second in itertools.combinations(range(len(groups)), 2):
            merged = groups[first] + groups[second]
            if len(merged) > group or conflicts_of(kept, merged) > conflicts * len(kept):
                continue
            jointly_zero = int((~kept[:, merged].any(axis=1)).sum())
            if best is None or jointly_zero < best[0]:
                best = (jointly_zero, first, second)
        if best is None:
            return [sorted(columns) for columns in groups]
        groups[best[1]] += groups.pop(best[2])


@st.composite
def matrices(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Few rows, so that pairs tie; densities from empty to full."""
    density = draw(st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]))
    kept = kept_of(draw(st.integers(1, 12)), draw(st.integers(1, 24)), density, draw(st.integers(0, 1000)))
    kept[draw(st.integers(0, len(kept) - 1))] = False
    return kept


conflict_bounds = st.sampled_from([0.0, 0.1, 0.5, 1.0, 10.0])


@given(matrices(), st.integers(1, 9), conflict_bounds)
def test_groups_are_a_partition_within_the_bounds(
    kept: NDArray[np.bool_], group: int, conflicts: float
) -> None:
    groups = greedy_groups(kept, group=group, conflicts=conflicts)
    assert sorted(np.concatenate(groups).tolist()) == list(range(kept.shape[1]))
    assert all(1 <= len(columns) <= group for columns in groups)
    assert all(conflicts_of(kept, columns) <= conflicts * len(kept) for columns in groups)


@examples(60)
@given(matrices(), st.integers(1, 9), conflict_bounds)
def test_merges_are_those_of_the_plain_algorithm(
    kept: NDArray[np.bool_], group: int, conflicts: float
) -> None:
    groups = greedy_groups(kept, group=group, conflicts=conflicts)
    assert [columns.tolist() for columns in groups] == plain_greedy(kept, group, conflicts)


@given(matrices(), st.integers(1, 9), conflict_bounds)
def test_no_allowed_pair_is_left(kept: NDArray[np.bool_], group: int, conflicts: float) -> None:
    groups = greedy_groups(kept, group=group, conflicts=conflicts)
    for first, second in itertools.combinations(groups, 2):
        merged = np.concatenate([first, second])
        assert len(merged) > group or conflicts_of(kept, merged) > conflicts * len(kept)


def combined(rows: int, seed: int, taken: float = 1) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """18 planted groups of 8 columns in any order, that share of the slots taken, and which they are."""
    rng = np.random.default_rng(seed)
    planted = rng.permutation(144).reshape(18, 8)
    kept = np.zeros((rows, 144), np.bool_)
    chosen = np.take_along_axis(planted, rng.integers(0, 8, (18, rows)), axis=1).T
    np.put_along_axis(kept, chosen, rng.random(chosen.shape) < taken, axis=1)
    return kept, planted


@pytest.mark.parametrize("seed", range(10))
def test_greedy_finds_groups_of_many_rows_again(seed: int) -> None:
    kept, planted = combined(512, seed)
    groups = greedy_groups(kept, group=8, conflicts=0)
    assert {tuple(columns) for columns in groups} == {tuple(np.sort(columns)) for columns in planted}


@pytest.mark.parametrize("seed", range(10))
def test_fewer_rows_leave_a_few_groups_more(seed: int) -> None:
    """One pair of columns of different groups in 40 is disjoint by chance at 256 rows."""
    kept, planted = combined(256, seed)
    assert len(greedy_groups(kept, group=8, conflicts=0)) <= len(planted) + 1


def test_densest_pair_is_merged_first() -> None:
    kept = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]], np.bool_)
    # 0 with 1 fills four rows; 0 and 2 collide; 2 with 3 is what is left.
    assert [g.tolist() for g in greedy_groups(kept, group=2, conflicts=0)] == [[0, 1], [2, 3]]


def test_conflicts_are_counted_over_the_union() -> None:
    kept = np.ones((4, 3), np.bool_)
    assert [len(g) for g in greedy_groups(kept, group=8, conflicts=0.99)] == [1, 1, 1]
    assert [g.tolist() for g in greedy_groups(kept, group=8, conflicts=1)] == [[0, 1], [2]]
    assert [g.tolist() for g in greedy_groups(kept, group=8, conflicts=2)] == [[0, 1, 2]]


def test_empty_columns_are_grouped_like_others() -> None:
    groups = greedy_groups(np.zeros((6, 20), np.bool_), group=8, conflicts=0)
    assert [len(columns) for columns in groups] == [8, 8, 4]


def test_groups_of_one_and_no_columns() -> None:
    kept = kept_of(8, 5, 0.1, 0)
    assert [g.tolist() for g in greedy_groups(kept, group=1, conflicts=9)] == [[0], [1], [2], [3], [4]]
    assert [g.tolist() for g in greedy_groups(kept[:, :1], group=8, conflicts=9)] == [[0]]
    assert greedy_groups(kept[:, :0], group=8, conflicts=0) == []
