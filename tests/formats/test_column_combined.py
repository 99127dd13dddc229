"""Column-combined weights: regular loops, groups found again, N:M as groups of neighbouring channels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsegen.formats.column_combined import find_ratio, pack, ratio_groups, window_groups
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


def test_groups_of_combined_weights_are_found_again() -> None:
    matrix = combined(256, groups=6, size=8)
    packed = pack(matrix, rows=1, block=48)
    assert packed.groups == 6
    assert len(window_groups(matrix, window=48)) == 6
    assert packed.statistics().padding == 0
    np.testing.assert_array_equal(packed.unpack(), matrix)


@pytest.mark.parametrize(("n", "m", "taps"), [(2, 4, 9), (1, 4, 1), (1, 8, 9), (3, 4, 4), (1, 3, 9)])
def test_n_of_m_weights_have_n_groups_of_every_m_channels(n: int, m: int, taps: int) -> None:
    matrix = n_m(16, 4 * m, taps, n, m)
    assert find_ratio(matrix != 0, taps) == (n, m)
    groups = ratio_groups(4 * m * taps, n=n, m=m, columns_per_channel=taps)
    assert len(groups) == 4 * taps * n
    assert all((group % taps == group[0] % taps).all() for group in groups)
    packed = pack(matrix, rows=2, block=2 * m * taps, groups=groups)
    assert packed.statistics().padding == 0
    np.testing.assert_array_equal(packed.unpack(), matrix)


def test_half_of_all_weights_at_random_is_no_ratio() -> None:
    assert find_ratio(np.random.default_rng(0).random((64, 64)) < 0.5, 1) is None


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), density=st.floats(0, 0.5), window=st.sampled_from([4, 8, 30]))
def test_found_groups_have_room_for_every_row_of_their_window(seed: int, density: float, window: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = (rng.random((12, 30)) < density).astype(np.float32)
    groups = window_groups(matrix, window=window)
    for start in range(0, 30, window):
        kept = np.count_nonzero(matrix[:, start : start + window], axis=1)
        assert sum(int(group[0]) == start for group in groups) == kept.max()
    assert all(group[-1] < group[0] // window * window + window for group in groups)


def test_groups_that_conflict_are_refused() -> None:
    with pytest.raises(ValueError, match="more weights of a group"):
        pack(np.ones((2, 4), np.float32), rows=1, block=4, groups=[np.array([0, 1, 2, 3])])


def test_combined_weights_take_no_more_room_than_their_masks() -> None:
    matrix = combined(512, groups=16, size=8)
    of_groups = pack(matrix, rows=1, block=128).statistics().bytes
    assert of_groups <= pack_panels(matrix, rows=1, block=128).statistics().bytes
