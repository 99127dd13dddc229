"""Stored forms of arrays, decoded on each CPU's path: the bits that numpy computes, and what is refused."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
import sparsegen_runtime.library
from numpy.typing import NDArray
from sparsegen_runtime.decoding import transformed

from sparsegen.kernels.winograd.transforms import Matrix, transform
from sparsegen.runtime.transformed import TransformedFilters

PATHS = pytest.mark.parametrize("path", [0, 1, 2], ids=["plain", "AVX2", "AVX-512"], indirect=True)
COUNTS = (0, 1, 7, 8, 9, 15, 16, 17, 31, 64, 1000, 1003)
REFUSED = -1


def pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def size(value: int) -> ctypes.c_size_t:
    return ctypes.c_size_t(value)


def zeros(
    paths: ctypes.CDLL, path: int, count: int, mask: NDArray[np.uint8], values: NDArray[np.float32]
) -> NDArray[np.float32] | None:
    """The array, or None where it is refused; its end is looked after."""
    made = np.full(count + 16, 7, np.float32)
    status = paths.test_zeros(
        path, pointer(made), size(count), pointer(mask), size(mask.size), pointer(values), size(values.size)
    )
    assert np.all(made[count:] == 7)
    return made[:count] if status == 0 else None


@PATHS
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 1.0])
def test_zeros(paths: ctypes.CDLL, path: int, kept: float) -> None:
    rng = np.random.default_rng(0)
    for count in COUNTS:
        expected = rng.standard_normal(count).astype(np.float32)
        expected[rng.random(count) >= kept] = 0
        if count > 8 and kept:
            expected[3], expected[4] = -0.0, np.nan
        bits = expected.view(np.int32) != 0
        made = zeros(paths, path, count, np.packbits(bits, bitorder="little"), expected[bits])
        assert made is not None
        assert made.tobytes() == expected.tobytes(), count


@PATHS
@pytest.mark.parametrize("count", [8, 19, 64, 100])
def test_zeros_of_other_sizes_are_refused(paths: ctypes.CDLL, path: int, count: int) -> None:
    bits = np.arange(count) % 3 > 0
    mask, values = np.packbits(bits, bitorder="little"), np.ones(bits.sum() + 1, np.float32)
    assert zeros(paths, path, count, mask, values[:-1]) is not None
    for other in (values, values[:-2], values[:0]):
        assert zeros(paths, path, count, mask, other) is None
    assert zeros(paths, path, count, mask[:-1], values[:-1]) is None
    assert zeros(paths, path, count, np.append(mask, np.uint8(0)), values[:-1]) is None
    if count % 8:
        mask[-1] |= 1 << count % 8  # no element is there
        assert zeros(paths, path, count, mask, values) is None


def whole_numbers(kind: str, count: int, stored: NDArray[Any], width: int, base: int) -> list[int] | None:
    made = np.zeros(count + 1, np.int32)
    decode = getattr(sparsegen_runtime.library.library(), f"sparsegen_decode_{kind}")
    status = decode(pointer(made), count, pointer(stored), stored.nbytes, width, base)
    assert made[count] == 0
    return made[:count].tolist() if status == 0 else None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_whole_numbers(dtype: type[np.uint8 | np.uint16]) -> None:
    rng, width = np.random.default_rng(0), np.dtype(dtype).itemsize
    for count in COUNTS:
        stored = rng.integers(0, np.iinfo(dtype).max, count, dtype, endpoint=True)
        numbers = stored.astype(np.int64)
        for base in (0, -100, 70_000):
            assert whole_numbers("narrow", count, stored, width, base) == (numbers + base).tolist()
            assert whole_numbers("deltas", count, stored, width, base) == np.cumsum(numbers + base).tolist()


@pytest.mark.parametrize("kind", ["narrow", "deltas"])
@pytest.mark.parametrize(
    ("count", "numbers", "width", "base"),
    [
        (3, [1, 2], 1, 0),
        (1, [1, 2], 1, 0),
        (2, [1, 2], 2, 0),
        (2, [1, 2], 0, 0),
        (2, [1, 2], 4, 0),
        (-1, [], 1, 0),
        (2, [0, 8], 1, 2**31 - 8),
    ],
)
def test_whole_numbers_that_cannot_be_are_refused(
    kind: str, count: int, numbers: list[int], width: int, base: int
) -> None:
    stored = np.array(numbers, np.uint8)
    made = np.zeros(8, np.int32)
    decode = getattr(sparsegen_runtime.library.library(), f"sparsegen_decode_{kind}")
    assert decode(pointer(made), count, pointer(stored), stored.nbytes, width, base) == REFUSED


@pytest.mark.parametrize(
    ("base", "fits"), [(-(2**16), True), (-(2**16) - 1, False), (2**16 - 1, True), (2**16, False)]
)
def test_sums_of_differences_stay_in_the_type(base: int, fits: bool) -> None:
    steps = np.zeros(2**15, np.uint8)
    assert (whole_numbers("deltas", steps.size, steps, 1, base) is not None) == fits


def in_order(filters: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """The transform as docs/artefact.md has it: each product and each sum is an array of doubles, rounded."""
    wide, (n, r) = filters.astype(np.float64), matrix.shape
    made = np.empty((n, n, len(filters)), np.float32)
    for i in range(n):
        for j in range(n):
            rows = []
            for a in range(r):
                total = matrix[j, 0] * wide[:, a, 0]
                for b in range(1, r):
                    total = total + matrix[j, b] * wide[:, a, b]
                rows.append(total)
            total = matrix[i, 0] * rows[0]
            for a in range(1, r):
                total = total + matrix[i, a] * rows[a]
            made[i, j] = total.astype(np.float32)
    return made


@PATHS
@pytest.mark.parametrize(("n", "r"), [(1, 1), (4, 3), (6, 3), (6, 5), (8, 2), (8, 7), (16, 8)])
def test_filters_are_transformed_to_the_same_bits(paths: ctypes.CDLL, path: int, n: int, r: int) -> None:
    rng = np.random.default_rng(n * r)
    matrix = rng.standard_normal((n, r)) * (rng.random((n, r)) < 0.8) / 3
    for count in (0, 1, 63, 64, 65, 200):
        filters = rng.standard_normal((count, r, r)).astype(np.float32)
        filters[count // 2 :] *= np.float32(1e-38)  # results that are not normal
        made = np.full((n, n, count), 7, np.float32)
        for begin, end in ((0, count // 3), (count // 3, count)):
            arguments = (pointer(made), pointer(filters), size(count), n, r, pointer(matrix))
            status = paths.test_transformed(path, *arguments, size(begin), size(end))
            assert status == 0
        assert made.tobytes() == in_order(filters, matrix).tobytes(), count


@pytest.mark.parametrize(
    ("l", "n", "r", "begin", "end"),
    [(4, 6, 0, 0, 4), (4, 6, 9, 0, 4), (4, 0, 3, 0, 4), (4, 17, 3, 0, 4), (4, 6, 3, 0, 5), (4, 6, 3, 3, 2)],
)
def test_transforms_that_cannot_be_are_refused(l: int, n: int, r: int, begin: int, end: int) -> None:  # noqa: E741
    nothing = np.zeros(1)
    decode = sparsegen_runtime.library.library().sparsegen_decode_transformed
    assert decode(pointer(nothing), pointer(nothing), l, n, r, pointer(nothing), begin, end) == REFUSED


def test_compilation_transforms_filters_as_readers_do() -> None:
    matrix, rng = transform(4, 3).weight, np.random.default_rng(0)
    filters = rng.standard_normal((5, 70, 3, 3)).astype(np.float32)
    expected = in_order(filters.reshape(-1, 3, 3), np.array(matrix)).reshape(6, 6, 5, 70)
    assert bytes_made(filters, matrix) == expected.tobytes()
    assert bytes_made(filters[:, ::2], matrix) == expected[..., ::2].tobytes()
    assert bytes_made(filters[:0], matrix) == b""


def bytes_made(filters: NDArray[np.float32], matrix: Matrix) -> bytes:
    """Of the array that the compiler makes of filters."""
    made = TransformedFilters(lambda: filters, matrix, (6, 6, *filters.shape[:2]))
    array = np.asarray(made)
    assert array.shape == made.shape
    assert array.nbytes == made.nbytes
    return array.tobytes()


def test_filters_of_another_size_are_refused() -> None:
    for shape in ((4, 3, 5), (4, 5, 5)):
        with pytest.raises(ValueError, match=r"\(6, 3\) transforms filters of shape \(4, "):
            transformed(np.zeros(shape, np.float32), np.zeros((6, 3)))
