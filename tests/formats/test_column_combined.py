"""Column-combined weights: regular loops, groups found again, N:M as groups of neighbouring channels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsegen.formats.column_combined import groups_of_block, pack
from sparsegen.formats.masked_panels import pack as pack_panels

Array = NDArray[np.float32]


def combined(out: int, groups: int, size: int, seed: int = 0) -> Array:
    """A matrix whose columns, in a random order, are in groups of which every row keeps one."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((out, groups * size), np.float32)
    chosen = rng.integers(size, size=(out, groups)) + size * np.arange(groups)
    matrix[np.arange(out)[:, None], chosen] = rng.standard_normal((out, groups)) + 10
    return matrix[:, rng.permutation(groups * size)]


def n_m(out: int, channels: int, taps: int, n: int, m: int) -> Array:
    """A matrix that keeps N of every M consecutive channels."""
    rng = np.random.default_rng(0)
    order = rng.random((out, channels // m, m, taps)).argsort(axis=2)
    return np.where(order < n, 1 + rng.random(order.shape), 0).reshape(out, -1).astype(np.float32)


def test_combined_weights_take_one_place_a_row_and_group() -> None:
    matrix = combined(20, groups=6, size=8)
    packed = pack(matrix, rows=1, block=48)
    assert packed.values.shape == (1, 20, 6, 1)
    assert packed.statistics().padding == 0
    np.testing.assert_array_equal(packed.unpack(), matrix)


@pytest.mark.parametrize(("n", "m", "taps"), [(2, 4, 9), (1, 4, 1), (1, 8, 9), (3, 4, 4), (1, 3, 9)])
def test_n_of_m_weights_have_n_groups_for_every_m_channels(n: int, m: int, taps: int) -> None:
    packed = pack(n_m(16, 4 * m, taps, n, m), rows=2, block=2 * m * taps)
    assert packed.values.shape == (2, 8, 2 * n * taps, 2)
    assert packed.statistics().padding == 0


@given(seed=st.integers(0, 1000), density=st.floats(0, 1), block=st.sampled_from([4, 8, 30]))
def test_the_fullest_row_sets_the_groups(seed: int, density: float, block: int) -> None:
    matrix = (np.random.default_rng(seed).random((12, 30)) < density).astype(np.float32)
    counts = [np.count_nonzero(matrix[:, at : at + block], axis=1).max() for at in range(0, 30, block)]
    packed = pack(matrix, rows=3, block=block)
    assert packed.groups == groups_of_block(matrix, block) == max(1, *counts, 0)


def test_columns_of_places_without_a_weight_are_in_their_block() -> None:
    packed = pack(np.eye(4, 8, dtype=np.float32), rows=2, block=4)
    assert packed.columns[1].tolist() == [[[4, 4]], [[4, 4]]]


def test_combined_weights_take_no_more_room_than_their_masks() -> None:
    matrix = combined(128, groups=16, size=8)
    told = pack(matrix, rows=1, block=128).statistics()
    assert told.bytes <= pack_panels(matrix, rows=1, block=128).statistics().bytes
