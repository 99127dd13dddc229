"""Annealing: a partition within its bounds, never worse than its start, the optimum where it is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsegen.pruning.annealing import anneal, lost_magnitude
from tests.sampling import examples

Array = NDArray[np.float32]
Groups = list[NDArray[np.intp]]


def magnitudes_of(rows: int, columns: int, density: float, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    kept = rng.random((rows, columns)) < density
    return np.where(kept, np.abs(rng.standard_normal((rows, columns))), 0).astype(np.float32)


def in_order(columns: int, group: int) -> Groups:
    return np.split(np.arange(columns), range(group, columns, group))


def as_lists(groups: Groups) -> list[list[int]]:
    return [columns.tolist() for columns in groups]


def partitions(columns: int, group: int, count: int) -> Iterator[list[list[int]]]:
    """All partitions of the columns into at most `count` groups of at most `group`."""
    if columns == 0:
        yield []
        return
    for groups in partitions(columns - 1, group, count):
        for index, members in enumerate(groups):
            if len(members) < group:
                yield [*groups[:index], [*members, columns - 1], *groups[index + 1 :]]
        if len(groups) < count:
            yield [*groups, [columns - 1]]


@examples(60)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 20),
    density=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    group=st.integers(1, 6),
    slack=st.integers(0, 2),
    seed=st.integers(0, 100),
)
def test_a_partition_within_its_bounds_and_never_worse(
    rows: int, columns: int, density: float, group: int, slack: int, seed: int
) -> None:
    magnitudes = magnitudes_of(rows, columns, density, seed)
    start = in_order(columns, group)
    groups = anneal(magnitudes, start, group=group + slack, seed=seed, sweeps=20)
    assert sorted(np.concatenate(groups).tolist()) == list(range(columns))
    assert all(1 <= len(members) <= group + slack for members in groups)
    assert len(groups) <= len(start)
    assert lost_magnitude(magnitudes, groups) <= lost_magnitude(magnitudes, start)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("columns", "group", "count"), [(6, 2, 3), (6, 3, 2), (6, 3, 3), (7, 3, 3), (8, 4, 3)]
)
def test_optimum_of_small_matrices(columns: int, group: int, count: int, seed: int) -> None:
    magnitudes = magnitudes_of(8, columns, 0.6, seed)
    start = np.array_split(np.arange(columns), count)
    optimum = min(
        lost_magnitude(magnitudes, [np.array(members) for members in groups])
        for groups in partitions(columns, group, count)
    )
    groups = anneal(magnitudes, start, group=group, seed=seed)
    assert lost_magnitude(magnitudes, groups) == pytest.approx(optimum, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_planted_groups_are_found(seed: int) -> None:
    """Columns that fit together without a conflict, from a start that mixes them."""
    rng = np.random.default_rng(seed)
    planted = rng.permutation(48).reshape(6, 8)
    chosen = np.take_along_axis(planted, rng.integers(0, 8, (6, 96)), axis=1).T
    magnitudes = np.zeros((96, 48), np.float32)
    np.put_along_axis(magnitudes, chosen, rng.random(chosen.shape, np.float32) + 1, axis=1)
    groups = anneal(magnitudes, in_order(48, 8), group=8, seed=seed)
    assert sorted(as_lists(groups)) == sorted(np.sort(planted, axis=1).tolist())


def test_a_column_moves_to_an_empty_slot() -> None:
    """0 collides with 1, 2 with 3: no swap of {0, 1, 2} with {3} helps."""
    magnitudes = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], np.float32)
    groups = anneal(magnitudes, [np.array([0, 1, 2]), np.array([3])], group=3, seed=0)
    assert lost_magnitude(magnitudes, groups) == 0
    assert sorted(len(members) for members in groups) == [2, 2]


def test_the_largest_weight_of_a_conflict_counts() -> None:
    magnitudes = np.array([[5, 3, 1], [0, 2, 2], [0, 0, 0]], np.float32)
    assert lost_magnitude(magnitudes, [np.array([0, 1, 2])]) == 3 + 1 + 2
    assert lost_magnitude(magnitudes, [np.array([0, 2]), np.array([1])]) == 1


def test_a_seed_fixes_the_groups() -> None:
    magnitudes = magnitudes_of(32, 64, 0.3, 0)
    runs = [
        as_lists(anneal(magnitudes, in_order(64, 8), group=8, seed=seed, sweeps=10)) for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_more_pairs_than_are_evaluated_at_once() -> None:
    """A matrix of many rows, whose pairs are evaluated one by one."""
    magnitudes = magnitudes_of(9000, 12, 0.3, 0)
    groups = anneal(magnitudes, in_order(12, 2), group=2, seed=0, sweeps=50)
    assert lost_magnitude(magnitudes, groups) < lost_magnitude(magnitudes, in_order(12, 2))


@pytest.mark.parametrize(
    ("magnitudes", "group"),
    [
        (np.zeros((4, 6), np.float32), 3),
        (np.eye(6, dtype=np.float32), 3),
        (np.ones((4, 6), np.float32), 1),
        (np.ones((4, 6), np.float32), 6),
        (np.ones((4, 1), np.float32), 1),
        (np.ones((0, 6), np.float32), 3),
    ],
    ids=["zeros", "no conflict", "groups of one", "one group", "one column", "no rows"],
)
def test_nothing_to_gain_leaves_the_groups(magnitudes: Array, group: int) -> None:
    start = in_order(magnitudes.shape[1], group)
    assert as_lists(anneal(magnitudes, start, group=group, seed=0)) == as_lists(start)
