"""Column-combined weights: groups of columns in which a row keeps one weight, packed as one column.

The filter matrix [K, columns] becomes [K, groups]: a weight for every row and group, and which
column it belongs to (Kung, McDanel, Zhang, ASPLOS 2019). Loops over it are regular: every row has as
many weights as any other. In a block of columns the fullest row sets the number of groups, and rows
fill them in the order of their columns: whichever way pruning grouped the columns, it needed no
fewer, and its grouping need not be found again. N:M weights are a case of it, with N groups for
every M channels.

Best for: 75 % sparsity and more, pruned so that groups are full (column combining, 1:4, 1:8). When not:
weights that were not pruned for it, whose rows differ; and half dense ones, since a loaded input
vector serves one row only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsegen.formats.registry import Array, Index, Statistics, weight_format


@dataclass(frozen=True, eq=False)
class ColumnCombined:
    """Weights [out, columns] packed; `columns` are numbered as in the unpacked matrix.

    `values` and `columns` are [blocks, panels, groups of a block, rows of a panel]: a row's weight
    in each group, and the column that it belongs to. Where a row has no weight, there is a zero
    at the block's first column.
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
def pack(matrix: Array, *, rows: int, block: int, multiple: int = 1) -> ColumnCombined:
    """Pack a matrix [out, columns] in panels of `rows` and blocks of `block` columns.

    The number of panels is rounded up to a `multiple`, with empty ones.
    """
    out, columns = matrix.shape
    panels, blocks = -(-out // (rows * multiple)) * multiple, -(-columns // block)
    groups = groups_of_block(matrix, block)
    values = np.zeros((blocks, panels, groups, rows), np.float32)
    chosen = np.zeros(values.shape, np.int32)
    chosen[:] = (np.arange(blocks) * block)[:, None, None, None]
    row_of, column_of = np.nonzero(matrix)
    of_block = row_of * blocks + column_of // block  # ascending: one run a row and block
    nth = np.arange(len(of_block)) - np.searchsorted(of_block, of_block)
    at = (column_of // block, row_of // rows, nth, row_of % rows)
    values[at], chosen[at] = matrix[row_of, column_of], column_of
    return ColumnCombined(values, chosen, (out, columns))


def groups_of_block(matrix: Array, block: int) -> int:
    """Groups that every block of `block` columns has room in for its rows: at least 1."""
    kept = np.pad(matrix != 0, ((0, 0), (0, -matrix.shape[1] % block)))
    counts = np.count_nonzero(kept.reshape(len(kept), -1, block), axis=2)
    return max(1, int(counts.max()))
