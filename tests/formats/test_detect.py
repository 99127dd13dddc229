"""The structure of weights is told from their zeros alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsegen.formats.detect import detect, find_ratio, window_of
from tests.formats.test_column_combined import combined, n_m

Array = NDArray[np.float32]


def random(out: int, columns: int, density: float) -> Array:
    rng = np.random.default_rng(0)
    return (rng.random((out, columns)) < density).astype(np.float32)


def blocks(rows: int, channels: int) -> Array:
    kept = np.random.default_rng(0).random((4, 4, 9)) < 0.5
    return kept.repeat(rows, axis=0).repeat(channels, axis=1).reshape(4 * rows, -1).astype(np.float32)


@pytest.mark.parametrize(
    ("matrix", "taps", "text"),
    [
        (np.ones((4, 9), np.float32), 9, "dense"),
        (np.zeros((4, 9), np.float32), 9, "all zero"),
        (random(32, 144, 0.5), 9, "unstructured"),
        (random(256, 144, 0.1), 9, "unstructured"),
        (blocks(4, 1), 9, "vector:4"),
        (blocks(4, 1)[:-2], 9, "vector:4"),
        (blocks(8, 1), 9, "vector:8"),
        (blocks(3, 1), 9, "vector:3"),
        (np.repeat(random(8, 16, 0.5), 9, axis=1), 9, "kernel:1"),
        (np.repeat(np.repeat(random(3, 16, 0.5), 4, axis=0), 9, axis=1), 9, "kernel:4"),
        (np.repeat(np.repeat(random(3, 16, 0.5), 4, axis=0), 9, axis=1)[:-1], 9, "kernel:4"),
        (blocks(6, 1)[:-1], 9, "vector:6"),
        (blocks(4, 4), 9, "block:4x4"),
        (n_m(16, 16, 9, 2, 4), 9, "2:4"),
        (n_m(16, 16, 1, 1, 8), 1, "1:8"),
        (np.repeat(n_m(16, 16, 9, 2, 4), 4, axis=0), 9, "2:4x4"),
        (np.repeat(n_m(16, 16, 1, 1, 4), 2, axis=0)[:-1], 1, "1:4x2"),
        (n_m(16, 12, 9, 1, 3), 9, "1:3"),
        (combined(256, groups=18, size=8), 9, "column-combined, groups of 8.0"),
        (combined(256, groups=8, size=8), 1, "column-combined, groups of 8.0"),
        (random(32, 72, 0.5), 9, "unstructured"),
    ],
)
def test_structures(matrix: Array, taps: int, text: str) -> None:
    assert detect(matrix, columns_per_channel=taps).text == text


@pytest.mark.parametrize(("zeros", "kind"), [(1, "dense"), (99, "dense"), (100, "unstructured")])
def test_a_handful_of_zeros_is_dense(zeros: int, kind: str) -> None:
    matrix = np.ones((100, 100), np.float32)
    matrix.flat[np.random.default_rng(0).choice(matrix.size, zeros, replace=False)] = 0
    assert detect(matrix, columns_per_channel=1).kind == kind


def test_half_of_all_weights_at_random_follow_no_ratio() -> None:
    assert find_ratio(random(64, 64, 0.5) != 0, 1) is None


@pytest.mark.parametrize(
    ("taps", "columns"), [(9, 144), (1, 128), (25, 100), (49, 98), (144, 144), (400, 400)]
)
def test_windows_are_whole_channels(taps: int, columns: int) -> None:
    assert window_of(taps) == columns
