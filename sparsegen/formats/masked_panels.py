"""Masked panels: the packed weights of convolutions and linear layers.

The filter matrix [K, columns], a column being one (input channel, kh, kw), is cut into panels of
`rows` output channels. In a panel every column has a mask of the rows that keep it. Within a block
of `block` input channels a panel's columns are sorted by mask, and a column that no row keeps is
dropped. The code for one mask has no branch and no wasted multiply.

Best for: any density, any structure; with one full mask it is the dense kernel. When not: rows
that share few columns (90 % and sparser) load a vector for nearly every multiply-add.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.formats.registry import Array, Index, Statistics, weight_format


@dataclass(frozen=True, eq=False)
class MaskedPanels:
    """Weights [out, columns] packed; `columns` are numbered as in the unpacked matrix.

    `values` [nonzeros] are in order of block, panel, mask, column, row. `columns` [kept columns] is
    in the same order. `segments` and `value_segments` [blocks, panels, len(masks) + 1] tell where
    the columns and the values of each mask begin. `masks` are the masks in use, ascending; bit r
    of a mask stands for row r of the panel.
    """

    values: Array
    columns: Index
    segments: Index
    value_segments: Index
    masks: tuple[int, ...]
    rows: int
    shape: tuple[int, int]

    @property
    def nonzeros(self) -> int:
        """Weights kept (all of them where packed as dense)."""
        return len(self.values)

    @property
    def blocks(self) -> int:
        """Column blocks."""
        return int(self.segments.shape[0])

    @property
    def panels(self) -> int:
        """Panels of rows."""
        return int(self.segments.shape[1])

    def statistics(self) -> Statistics:
        """How the weights lie."""
        arrays = (self.values, self.columns, self.segments, self.value_segments)
        return Statistics(
            bytes=sum(array.nbytes for array in arrays),
            masks=len(self.masks),
            rows_per_vector=self.nonzeros / max(1, len(self.columns)),
            padding=float(np.mean(self.values == 0)) if self.nonzeros else 0.0,
        )

    def unpack(self) -> Array:
        """The weight matrix [out, columns] again, exactly."""
        out = np.zeros((self.panels * self.rows, self.shape[1]), np.float32)
        for panel in range(self.panels):
            for block in range(self.blocks):
                self._unpack_visit(out[panel * self.rows : (panel + 1) * self.rows], block, panel)
        return out[: self.shape[0]]

    def _unpack_visit(self, out: Array, block: int, panel: int) -> None:
        starts, value_starts = self.segments[block, panel], self.value_segments[block, panel]
        for m, mask in enumerate(self.masks):
            kept = np.array([row for row in range(self.rows) if mask >> row & 1])
            columns = self.columns[starts[m] : starts[m + 1]]
            values = self.values[value_starts[m] : value_starts[m + 1]]
            out[np.ix_(kept, columns)] = values.reshape(len(columns), len(kept)).T


def column_masks(matrix: Array, rows: int, *, dense: bool = False) -> NDArray[np.int64]:
    """Mask of every column in every panel, [panels, columns]; `dense` counts zeros as kept."""
    out, columns = matrix.shape
    panels = -(-out // rows)
    kept = np.zeros((panels * rows, columns), bool)
    kept[:out] = True if dense else matrix != 0
    masks = np.zeros((panels, columns), np.int64)
    for row in range(rows):
        masks |= kept[row::rows].astype(np.int64) << row
    return masks


@weight_format("masked_panels")
def pack(matrix: Array, *, rows: int, block: int, multiple: int = 1, dense: bool = False) -> MaskedPanels:
    """Pack a matrix [out, columns] in panels of `rows` and blocks of `block` columns.

    The number of panels is rounded up to a `multiple`, with empty ones. `dense` keeps zeros as
    weights, which leaves one mask (two where `rows` does not divide out).
    """
    out, columns = matrix.shape
    masks = column_masks(matrix, rows, dense=dense)
    panels, blocks = -(-len(masks) // multiple) * multiple, -(-columns // block)
    used = np.unique(masks)
    used = used[used > 0] if (used > 0).any() else np.array([(1 << rows) - 1])
    block_of = np.arange(columns) // block
    # One stable sort puts every kept (panel, column) in the order block, panel, mask, column.
    panel_of, column_of = np.nonzero(masks)
    mask_of = np.searchsorted(used, masks[panel_of, column_of])
    visit = (block_of[column_of] * panels + panel_of) * len(used) + mask_of
    order = np.argsort(visit, kind="stable")
    panel_of, column_of, visit = panel_of[order], column_of[order], visit[order]
    row_bits = (masks[panel_of, column_of][:, None] >> np.arange(rows)) & 1 == 1
    padded = np.zeros((panels * rows, columns), np.float32)
    padded[:out] = matrix
    values = padded.reshape(panels, rows, columns)[panel_of, :, column_of][row_bits]
    counts = np.bincount(visit, minlength=blocks * panels * len(used))
    weights_of = np.array([int(mask).bit_count() for mask in used])
    value_counts = counts.reshape(-1, len(used)) * weights_of
    return MaskedPanels(
        values=np.ascontiguousarray(values, np.float32),
        columns=column_of.astype(np.int32),
        segments=_starts(counts.reshape(-1, len(used))).reshape(blocks, panels, -1),
        value_segments=_starts(value_counts).reshape(blocks, panels, -1),
        masks=tuple(int(mask) for mask in used),
        rows=rows,
        shape=(out, columns),
    )


@weight_format("dense_panels")
def pack_dense(matrix: Array, *, rows: int, block: int, multiple: int = 1) -> MaskedPanels:
    """Pack every weight, zeros too: dense panels, for weights too dense for masks to pay."""
    return pack(matrix, rows=rows, block=block, multiple=multiple, dense=True)


def _starts(counts: NDArray[np.int64]) -> Index:
    """Where each count's run begins, one more entry a row for the end of the last."""
    ends = np.cumsum(counts.reshape(-1)).reshape(counts.shape)
    return np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1).astype(np.int32)
