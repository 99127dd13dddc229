"""What a panel kernel's weights make it do: counted, not estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from sparsegen.formats.column_combined import groups_of_block
from sparsegen.formats.masked_panels import column_masks
from sparsegen.formats.permutation import order_by, shared_columns
from sparsegen.kernels.panels.candidates import Candidates, Counts, Flags
from sparsegen.kernels.panels.problem import PanelProblem


@dataclass(frozen=True, eq=False)
class Work:
    """What the weights make panel kernels do, over the whole matrix; the first axis is that of the kernels.

    `columns` [kernels, rows]: columns that p of a panel's rows share, for p = 1 to the most rows, each loaded
    once. `masks` [kernels] in use, each a loop; `constant` [kernels] where every visit has the same counts,
    which the branch predictor learns. `loads` [kernels]: vectors of input loaded for a column, in those of a
    tile.
    """

    columns: Counts
    masks: Counts
    constant: Flags
    loads: Counts

    @staticmethod
    def of(columns: Sequence[int], masks: int, *, constant: bool, loads: int = 1) -> Work:
        """That of one kernel."""
        return Work(np.array([columns]), np.array([masks]), np.array([constant]), np.array([loads]))

    @staticmethod
    def joined(works: Sequence[Work]) -> Work:
        """That of several kernels' together."""
        ends = np.cumsum([len(work.columns) for work in works])
        columns = np.zeros((ends[-1], max(work.columns.shape[1] for work in works)), np.int64)
        for work, end in zip(works, ends.tolist(), strict=True):
            kernels, rows = work.columns.shape
            columns[end - kernels : end, :rows] = work.columns
        return Work(
            columns,
            np.concatenate([work.masks for work in works]),
            np.concatenate([work.constant for work in works]),
            np.concatenate([work.loads for work in works]),
        )

    def __getitem__(self, kernels: Counts) -> Work:
        return Work(self.columns[kernels], self.masks[kernels], self.constant[kernels], self.loads[kernels])


def masked_work(matrix: NDArray[np.float32], rows: int, *, dense: bool = False) -> Work:
    """The work of masked panels of `rows`; `dense` counts zeros as kept."""
    out, width = matrix.shape
    if dense:
        last = out % rows
        columns = [0] * rows
        columns[-1] += width * (out // rows)
        columns[last - 1] += width if last else 0
        return Work.of(columns, 1, constant=True)
    used = np.bincount(column_masks(matrix, rows).reshape(-1))
    kept = np.bitwise_count(np.arange(len(used)))
    columns = [int(used[kept == p].sum()) for p in range(1, rows + 1)]
    in_use = int(np.count_nonzero(used[1:]))
    return Work.of(columns, max(1, in_use), constant=in_use <= 1 + (out % rows > 0))


def combined_work(panels: int, blocks: int, groups: int, rows: int) -> Work:
    """The work of column-combined weights with `groups` a block: each row loads its own columns."""
    columns = [0] * (rows - 1) + [panels * blocks * groups]
    return Work.of(columns, 1, constant=True, loads=rows)


class Works:
    """The work of one problem's weights under any schedule; each kind is counted once."""

    def __init__(self, problem: PanelProblem) -> None:
        self._problem = problem
        self._masked = cache(self._masked_work)
        self._groups = cache(self._groups_of)
        self._shared = cache(partial(shared_columns, problem.matrix))

    def of(self, candidates: Candidates) -> Work:
        """The work under schedules' formats, rows, blocks and permutations."""
        # A block decides how columns are grouped, and not how masks are counted.
        block = np.where(candidates.format == "column_combined", candidates.block, 0)
        same = (candidates.kinds << 48) + (candidates.rows << 32) + block  # for the same work
        _, first, number = np.unique(same, return_index=True, return_inverse=True)
        knobs = (candidates.format, candidates.permuted, candidates.rows, block)
        works = [self._work(*kind) for kind in zip(*(knob[first].tolist() for knob in knobs), strict=True)]
        return Work.joined(works)[number]

    def _work(self, name: str, permuted: bool, rows: int, block: int) -> Work:
        if name != "column_combined":
            return self._masked(rows, dense=name == "dense_panels", permuted=permuted)
        problem = self._problem
        panels, blocks = -(-len(problem.matrix) // rows), -(-problem.channels // block)
        return combined_work(panels, blocks, self._groups(block), rows)

    def _masked_work(self, rows: int, *, dense: bool, permuted: bool) -> Work:
        matrix = self._problem.matrix
        if permuted:
            matrix = matrix[order_by(self._shared(), rows=rows)]
        return masked_work(matrix, rows, dense=dense)

    def _groups_of(self, block: int) -> int:
        return groups_of_block(self._problem.matrix, block * self._problem.columns_per_channel)
