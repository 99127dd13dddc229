"""Combining columns: one weight a row and group, the largest; the sparsity asked for; windows; bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsegen.errors import SparsegenError
from sparsegen.pruning.combining import Combination, combine_columns
from tests.sampling import examples

Array = NDArray[np.float32]


def normal(rows: int, columns: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def largest_of_slots(matrix: Array, combination: Combination) -> Array:
    """The largest magnitude of every row and group, [K, groups]."""
    return np.stack([np.abs(matrix[:, columns]).max(axis=1) for columns in combination.groups], axis=1)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Array, dict[str, Any]]:
    """A matrix, of few distinct values or with many zeros now and then, and options."""
    taps, channels, rows = draw(st.sampled_from([1, 4, 9])), draw(st.integers(1, 6)), draw(st.integers(1, 10))
    matrix = normal(rows, taps * channels, draw(st.integers(0, 1000)))
    kind = draw(st.sampled_from(["normal", "ties", "sparse", "empty rows", "empty columns", "zero"]))
    if kind == "ties":
        matrix = np.sign(matrix) * np.ceil(np.abs(matrix))
    elif kind == "sparse":
        matrix[np.abs(matrix) < 1] = 0
    elif kind == "empty rows":
        matrix[::2] = 0
    elif kind == "empty columns":
        matrix[:, ::2] = 0
    elif kind == "zero":
        matrix[:] = 0
    return matrix, {
        "columns_per_channel": taps,
        "sparsity": draw(st.sampled_from([0.0, 0.3, 0.5, 0.8, 0.88, 0.95, 0.99])),
        "group": draw(st.integers(1, 9)),
        "conflicts": draw(st.sampled_from([0.0, 0.2, 0.5, 2.0])),
        "method": draw(st.sampled_from(["greedy", "annealing"])),
        "window": draw(st.sampled_from(["auto", None, taps, 2 * taps])),
    }


@examples(150)
@given(problems())
def test_a_row_keeps_the_largest_weight_of_a_group(problem: tuple[Array, dict[str, Any]]) -> None:
    matrix, options = problem
    combination = combine_columns(matrix, **options)
    assert combination.mask.shape == matrix.shape
    assert not combination.mask[matrix == 0].any()
    largest = largest_of_slots(matrix, combination)
    for index, columns in enumerate(combination.groups):
        kept = combination.mask[:, columns]
        assert (kept.sum(axis=1) <= 1).all()
        rows = kept.any(axis=1)
        np.testing.assert_array_equal(np.abs(matrix[:, columns][kept]), largest[rows, index])


@examples(150)
@given(problems())
def test_as_many_weights_as_asked_for_and_slots_allow(problem: tuple[Array, dict[str, Any]]) -> None:
    """The slots' largest weights fill what the sparsity leaves, the largest first."""
    matrix, options = problem
    combination = combine_columns(matrix, **options)
    asked = matrix.size - round(options["sparsity"] * matrix.size)
    offered = np.sort(largest_of_slots(matrix, combination), axis=None)[::-1]
    kept = min(asked, np.count_nonzero(offered))
    assert np.count_nonzero(combination.mask) == kept
    np.testing.assert_array_equal(np.sort(np.abs(matrix[combination.mask]))[::-1], offered[:kept])


@examples(100)
@given(problems())
def test_groups_are_a_partition_within_windows(problem: tuple[Array, dict[str, Any]]) -> None:
    matrix, options = problem
    groups = combine_columns(matrix, **options).groups
    assert sorted(np.concatenate(groups).tolist()) == list(range(matrix.shape[1]))
    assert all(1 <= len(columns) <= options["group"] for columns in groups)
    if isinstance(options["window"], int):
        assert all(len(set(columns // options["window"])) == 1 for columns in groups)


@examples(100)
@given(problems())
def test_greedy_groups_hold_the_bound_on_conflicts(problem: tuple[Array, dict[str, Any]]) -> None:
    matrix, options = problem
    groups = combine_columns(matrix, **{**options, "method": "greedy"}).groups
    left = np.abs(matrix).flatten()
    left[np.argsort(left, kind="stable")[: round(options["sparsity"] * left.size)]] = 0
    kept = left.reshape(matrix.shape) > 0
    for columns in groups:
        conflicts = np.maximum(kept[:, columns].sum(axis=1) - 1, 0).sum()
        assert conflicts <= options["conflicts"] * len(matrix)


@examples(60)
@given(problems())
def test_statistics_are_those_of_the_mask(problem: tuple[Array, dict[str, Any]]) -> None:
    matrix, options = problem
    combination = combine_columns(matrix, **options)
    kept = np.count_nonzero(combination.mask)
    assert combination.packing_density == pytest.approx(kept / (len(matrix) * len(combination.groups)))
    assert combination.sparsity == pytest.approx(1 - kept / matrix.size)
    total = np.abs(matrix).sum()
    share = np.abs(matrix[combination.mask]).sum() / total if total else 1
    assert combination.kept_l1 == pytest.approx(share, abs=1e-5)


@examples(60)
@given(problems())
def test_annealing_keeps_no_less_than_greedy(problem: tuple[Array, dict[str, Any]]) -> None:
    matrix, options = problem
    greedy, annealed = (
        combine_columns(matrix, **{**options, "method": method}) for method in ("greedy", "annealing")
    )
    assert annealed.kept_l1 >= greedy.kept_l1
    assert len(annealed.groups) <= len(greedy.groups)


@pytest.mark.parametrize(("sparsity", "share"), [(0.8, 0.05), (0.88, 0.25), (0.95, 0.8)])
@pytest.mark.parametrize(("rows", "channels", "taps"), [(64, 32, 9), (128, 64, 1)])
def test_annealing_wins_back_part_of_what_conflicts_cost(
    rows: int, channels: int, taps: int, sparsity: float, share: float
) -> None:
    """A share of what greedy combining loses against pruning by magnitude alone."""
    matrix = normal(rows, channels * taps)
    magnitudes = np.sort(np.abs(matrix), axis=None)
    unstructured = magnitudes[round(sparsity * matrix.size) :].sum() / magnitudes.sum()
    greedy, annealing = (
        combine_columns(matrix, columns_per_channel=taps, sparsity=sparsity, method=method).kept_l1
        for method in ("greedy", "annealing")
    )
    assert annealing - greedy > share * (unstructured - greedy)


def test_sparsity_is_exact_where_slots_allow_and_higher_where_not() -> None:
    matrix = normal(64, 288)
    assert combine_columns(matrix, columns_per_channel=9, sparsity=0.88).sparsity == pytest.approx(
        round(0.88 * matrix.size) / matrix.size
    )
    crowded = combine_columns(matrix, columns_per_channel=9, sparsity=0.5, group=8, conflicts=10)
    assert len(crowded.groups) == 36
    assert crowded.packing_density == 1
    assert crowded.sparsity == 1 - 1 / 8


@pytest.mark.parametrize("method", ["greedy", "annealing"])
def test_the_same_seed_gives_the_same_mask(method: Any) -> None:
    matrix = normal(32, 144)
    first, second = (
        combine_columns(matrix, columns_per_channel=9, sparsity=0.88, method=method, seed=3) for _ in range(2)
    )
    np.testing.assert_array_equal(first.mask, second.mask)
    assert [g.tolist() for g in first.groups] == [g.tolist() for g in second.groups]


def test_a_matrix_that_is_combined_already_keeps_all_its_weights() -> None:
    matrix = normal(64, 288)
    once = combine_columns(matrix, columns_per_channel=9, sparsity=0.95)
    again = combine_columns(matrix * once.mask, columns_per_channel=9, sparsity=0.9, conflicts=0)
    np.testing.assert_array_equal(once.mask, again.mask)
    assert again.kept_l1 == 1


def test_groups_of_one_are_magnitude_pruning() -> None:
    matrix = normal(10, 18)
    combination = combine_columns(matrix, columns_per_channel=9, sparsity=0.5, group=1)
    assert len(combination.groups) == 18
    assert np.abs(matrix[combination.mask]).min() > np.abs(matrix[~combination.mask]).max()


@pytest.mark.parametrize("method", ["greedy", "annealing"])
def test_one_column(method: Any) -> None:
    combination = combine_columns(normal(8, 1), columns_per_channel=1, sparsity=0.5, method=method)
    assert [g.tolist() for g in combination.groups] == [[0]]
    assert combination.packing_density == combination.sparsity == 0.5


@pytest.mark.parametrize("method", ["greedy", "annealing"])
def test_nothing_but_zeros(method: Any) -> None:
    combination = combine_columns(
        np.zeros((4, 18), np.float32), columns_per_channel=9, sparsity=0.5, method=method
    )
    assert not combination.mask.any()
    assert [len(g) for g in combination.groups] == [8, 8, 2]
    assert (combination.packing_density, combination.sparsity, combination.kept_l1) == (0, 1, 1)


@pytest.mark.parametrize(
    ("taps", "channels", "window"), [(9, 40, 144), (1, 300, 128), (25, 9, 100), (49, 5, 98), (169, 2, 169)]
)
def test_windows_hold_a_power_of_two_of_channels(taps: int, channels: int, window: int) -> None:
    matrix = normal(4, taps * channels)
    automatic, told = (
        combine_columns(matrix, columns_per_channel=taps, sparsity=0.8, window=each)
        for each in ("auto", window)
    )
    assert [g.tolist() for g in automatic.groups] == [g.tolist() for g in told.groups]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "0 <= sparsity < 1"),
        ({"sparsity": -0.1}, "0 <= sparsity < 1"),
        ({"sparsity": float("nan")}, "0 <= sparsity < 1"),
        ({"group": 0}, "at least 1"),
        ({"conflicts": -0.5}, "at least 0"),
        ({"conflicts": float("nan")}, "at least 0"),
        ({"method": "genetic"}, "greedy, annealing"),
        ({"seed": -1}, "at least 0"),
        ({"window": 0}, "multiple of the 9 columns"),
        ({"window": 10}, "multiple of the 9 columns"),
        ({"columns_per_channel": 0}, "whole channels"),
        ({"columns_per_channel": 5}, "whole channels"),
    ],
    ids=str,
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SparsegenError, match=message):
        combine_columns(normal(4, 18), **{"columns_per_channel": 9, "sparsity": 0.5, **options})


@pytest.mark.parametrize("shape", [(4,), (0, 9), (4, 0), (4, 3, 3)])
def test_a_matrix_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(SparsegenError, match="output channels, columns"):
        combine_columns(np.ones(shape, np.float32), columns_per_channel=9, sparsity=0.5)
