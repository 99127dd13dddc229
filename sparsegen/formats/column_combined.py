"""Column-combined weights: groups of columns in which a row keeps one weight, packed as one column.

The filter matrix [K, columns] becomes [K, groups]: a weight for every row and group, and which of the
group's columns it belongs to (Kung, McDanel, Zhang, ASPLOS 2019). Loops over it are regular: every
row has as many weights as any other. N:M weights are a case of it, M consecutive input channels
being N groups of the same columns. So are the columns of a window in which every row keeps N at
most: whichever way pruning grouped them, no more groups are needed, and none has to be found again.

Best for: 75 % sparsity and more, pruned so that groups are full (column combining, 1:4, 1:8). When not:
weights that were not pruned for it, whose fullest row sets the number of groups; and half dense
ones, since a loaded input vector serves one row only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.formats.registry import Array, Index, Statistics, weight_format

Group = NDArray[np.intp]

WINDOW = 144
"""Most columns of the window that groups form in: an input slab of it stays in an L1 cache."""

_TIGHT = 0.9  # of N:M's places, the share that has to be in use for the weights to count as N:M
_LARGEST = 32  # M


@dataclass(frozen=True, eq=False)
class ColumnCombined:
    """Weights [out, columns] packed; `columns` are numbered as in the unpacked matrix.

    `values` and `columns` are [blocks, panels, groups of a block, rows of a panel]: a row's weight
    in each group, and the column that it belongs to. A row without a weight in a group has a zero
    there, as have blocks with fewer groups than the most and the rows past the last.
    """

    values: Array
    columns: Index
    shape: tuple[int, int]

    @property
    def blocks(self) -> int:
        """Column blocks."""
        return int(self.values.shape[0])

    @property
    def panels(self) -> int:
        """Panels of rows."""
        return int(self.values.shape[1])

    @property
    def groups(self) -> int:
        """Groups of a block: weights that every row of it has."""
        return int(self.values.shape[2])

    @property
    def rows(self) -> int:
        """Rows of a panel."""
        return int(self.values.shape[3])

    def statistics(self) -> Statistics:
        """How the weights lie."""
        return Statistics(
            bytes=self.values.nbytes + self.columns.nbytes,
            masks=1,
            rows_per_vector=1.0,
            padding=float(np.mean(self.values == 0)),
        )

    def unpack(self) -> Array:
        """The weight matrix [out, columns] again, exactly."""
        out = np.zeros((self.panels * self.rows, self.shape[1]), np.float32)
        _, panel, _, row = kept = np.nonzero(self.values)
        out[panel * self.rows + row, self.columns[kept]] = self.values[kept]
        return out[: self.shape[0]]


@weight_format("column_combined")
def pack(
    matrix: Array, *, rows: int, block: int, multiple: int = 1, groups: Sequence[Group] | None = None
) -> ColumnCombined:
    """Pack a matrix [out, columns] in panels of `rows` and blocks of `block` columns.

    `groups` hold the columns that pack into one, each within a block; a group that is there N times
    takes N weights of a row. Without them, they are those of windows. The number of panels is
    rounded up to a `multiple`, with empty ones.

    Raises ValueError where the groups do not hold all of a row's weights.
    """
    out, columns = matrix.shape
    if groups is None:
        groups = window_groups(matrix, window=min(block, WINDOW))
    panels, blocks = -(-out // (rows * multiple)) * multiple, max(1, -(-columns // block))
    of_block: list[list[Group]] = [[] for _ in range(blocks)]
    for group in groups:
        of_block[int(group[0]) // block].append(group)
    most = max(1, max(map(len, of_block)))
    values = np.zeros((blocks, most, panels * rows), np.float32)
    chosen = np.zeros(values.shape, np.int32)
    for b, members in enumerate(of_block):
        chosen[b] = b * block
        taken: dict[int, int] = {}
        for g, group in enumerate(members):
            nth = taken.get(int(group[0]), 0)
            taken[int(group[0])] = nth + 1
            values[b, g, :out], chosen[b, g, :out] = _nth_weight(matrix, group, nth)
    shape = (blocks, most, panels, rows)
    packed = ColumnCombined(
        values=np.ascontiguousarray(values.reshape(shape).transpose(0, 2, 1, 3)),
        columns=np.ascontiguousarray(chosen.reshape(shape).transpose(0, 2, 1, 3)),
        shape=(out, columns),
    )
    if np.count_nonzero(packed.values) != np.count_nonzero(matrix):
        raise ValueError("some rows keep more weights of a group than there is room for")
    return packed


def _nth_weight(matrix: Array, group: Group, nth: int) -> tuple[Array, Index]:
    """Each row's n-th weight in a group and its column; zero, and the group's first column, for none."""
    of_group = matrix[:, group]
    kept = of_group != 0
    here = kept & (np.cumsum(kept, axis=1) == nth + 1)
    at = here.argmax(axis=1)
    found = here.any(axis=1)
    values = np.where(found, of_group[np.arange(len(matrix)), at], np.float32(0))
    return values, np.where(found, group[at], group[0]).astype(np.int32)


def window_groups(matrix: Array, *, window: int) -> list[Group]:
    """Groups of the columns of each window of `window` columns that lose no weight of the matrix.

    There are as many as the window's fullest row keeps weights: no other grouping needs fewer.
    """
    starts = range(0, matrix.shape[1], window)
    windows = [np.arange(start, min(start + window, matrix.shape[1])) for start in starts]
    counts = [int(np.count_nonzero(matrix[:, group], axis=1).max(initial=0)) for group in windows]
    return [group for group, count in zip(windows, counts, strict=True) for _ in range(count)]


def ratio_groups(columns: int, *, n: int, m: int, columns_per_channel: int) -> list[Group]:
    """Groups of N:M weights: N of every M consecutive input channels at one (kh, kw)."""
    channels = np.arange(columns).reshape(-1, m, columns_per_channel)
    return [group for step in channels.transpose(0, 2, 1) for group in step for _ in range(n)]


def find_ratio(kept: NDArray[np.bool_], columns_per_channel: int) -> tuple[int, int] | None:
    """The N:M that the kept weights [out, columns] follow along the input channels, of the least M.

    None where they follow none, or fill less of it than 90 %.
    """
    out, columns = kept.shape
    channels, density = columns // columns_per_channel, kept.mean() if kept.size else 0.0
    for m in range(2, min(_LARGEST, channels) + 1):
        if channels % m == 0:
            counts = kept.reshape(out, channels // m, m, columns_per_channel).sum(axis=2)
            n = int(counts.max())
            if 0 < n < m and density >= _TIGHT * n / m:
                return n, m
    return None
