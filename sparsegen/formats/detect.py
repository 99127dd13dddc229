"""Which structure a layer's zeros have, told from its weights alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.formats.column_combined import groups_of_block
from sparsegen.formats.registry import Array
from sparsegen.formats.structure_names import (
    COLUMN_COMBINED,
    DENSE,
    EMPTY,
    UNSTRUCTURED,
    of_block,
    of_ratio,
    of_rows,
)

FULL = 0.99
"""Density above which weights are dense: the zeros are chance, and a kernel multiplies them like the rest.

Who skips a share z of the multiply-adds gains a factor of 1 / (1 - z) at the most. Below 1 % that is less
than any estimate is good for, and dense weights have kernels that save more, such as Winograd's.
"""

_WINDOW = 144  # columns whose input slab stays in an L1 cache
_LARGEST = 32  # M of N:M
_TIGHT = 0.9  # of N:M's places, the share that has to be in use for the weights to count as N:M
_FEW = 8  # rows, to look at before all
_LONGEST = 16  # rows of a vector, channels of a block
_FULL = 0.8  # of the places in groups, the share in use that column combining leaves
_COMBINED = 0.5  # density above which a group holds no two columns


@dataclass(frozen=True)
class Structure:
    """The structure of a filter matrix's zeros.

    kind: "dense", "empty", "unstructured", "N:M", "vector", "kernel", "block" or "column-combined". text: its
    name with its sizes, as in `structure_names`; of column-combined weights the size of their groups, too.
    rows: consecutive output channels that keep the same.
    """

    kind: str
    text: str
    rows: int = 1


def detect(matrix: Array, *, columns_per_channel: int) -> Structure:
    """The structure of a filter matrix [out, columns], columns numbered channel by channel.

    Of several that hold, the one that a kernel gains most from: whole filters; blocks, N:M and vectors of
    several rows; N:M; column-combined. A handful of zeros, more than `FULL` being kept, is dense.
    """
    kept = matrix != 0
    if not kept.any():
        return Structure("empty", EMPTY)
    if kept.mean() > FULL:
        return Structure("dense", DENSE)
    rows, filters = _shared(kept), kept.reshape(len(kept), -1, columns_per_channel)
    if columns_per_channel > 1 and np.array_equal(filters.any(axis=2), filters.all(axis=2)):
        return Structure("kernel", of_rows("kernel", rows), rows)
    if rows > 1:
        of_channel = kept[::rows].reshape(-1, kept.shape[1] // columns_per_channel, columns_per_channel)
        channels = _shared(of_channel.transpose(1, 0, 2).reshape(of_channel.shape[1], -1))
        if channels > 1:
            return Structure("block", of_block(rows, channels), rows)
        ratio = find_ratio(kept[::rows], columns_per_channel)
        if ratio is not None:
            return Structure("N:M", of_ratio(*ratio, rows), rows)
        return Structure("vector", of_rows("vector", rows), rows)
    ratio = find_ratio(kept, columns_per_channel)
    if ratio is not None:
        return Structure("N:M", of_ratio(*ratio))
    window = min(window_of(columns_per_channel), kept.shape[1])
    groups = groups_of_block(matrix, window)
    full = kept.mean() * window / groups
    if full >= _FULL and groups <= _COMBINED * window:
        return Structure("column-combined", f"{COLUMN_COMBINED}, groups of {window / groups:.1f}")
    return Structure("unstructured", UNSTRUCTURED)


def find_ratio(kept: NDArray[np.bool_], columns_per_channel: int) -> tuple[int, int] | None:
    """The N:M that the kept weights [out, columns] follow along the input channels, of the least M.

    None where they follow none, or fill less of it than 90 %.
    """
    channels, density = kept.shape[1] // columns_per_channel, kept.mean()

    def fills(n: int, m: int) -> bool:
        return n < m and bool(density >= _TIGHT * n / m)

    for m in range(2, min(_LARGEST, channels) + 1):
        # Most weights follow no ratio, which a few rows tell: all of them keep no fewer.
        if channels % m or not fills(_most_kept(kept[:_FEW], m, columns_per_channel), m):
            continue
        n = _most_kept(kept, m, columns_per_channel)
        if n > 0 and fills(n, m):
            return n, m
    return None


def _most_kept(kept: NDArray[np.bool_], m: int, columns_per_channel: int) -> int:
    """The most weights that are kept of `m` neighbouring input channels' at one tap."""
    counts = np.count_nonzero(kept.reshape(len(kept), -1, m, columns_per_channel), axis=2)
    return int(counts.max())


def window_of(columns_per_channel: int) -> int:
    """Columns of a window that groups form in: the channels a power of two, 144 columns at most."""
    channels = 1 << max(0, (_WINDOW // columns_per_channel).bit_length() - 1)
    return channels * columns_per_channel


def _shared(kept: NDArray[np.bool_]) -> int:
    """The most consecutive rows, in aligned runs, that keep the same; 1 where rows differ."""
    differ = (kept[1:] != kept[:-1]).any(axis=1)  # whether a row keeps others than the one before it
    changes = np.flatnonzero(differ) + 1
    for length in range(min(_LONGEST, len(kept)), 1, -1):
        if (changes % length == 0).all():
            return length
    return 1
