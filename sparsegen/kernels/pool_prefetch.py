"""Which lines of the input pooling fetches ahead: the next windows' rows, a window's row of them at a time.

Pooling does little with what it reads once: memory is what it waits for. The hardware's prefetchers follow
several rows at once late, and none of them past the end of a page.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from sparsegen.kernels.windows import Windows
from sparsegen.lowering.expressions import Condition, Expr, IntExpr
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.prefetch import Line


@dataclass(frozen=True)
class RowsAhead:
    """Fetches, at a position of a row of windows, what the next row reads there for the first time.

    A task is a channel of a group, or with `parallel_rows` a row of windows of one.
    """

    source: Layout
    vertical: Windows
    horizontal: Windows
    parallel_rows: bool

    def __call__(self, task: IntExpr, row: IntExpr, position: Expr, last: Condition | None) -> list[Line]:
        """The lines of the input to fetch at a position of the padded row."""
        if self.parallel_rows:
            row, task = tirx.floormod(task, self.vertical.outputs), tirx.floordiv(task, self.vertical.outputs)
        channels = self.source.shape[1]
        group, channel = tirx.floordiv(task, channels), tirx.floormod(task, channels)
        end = self.vertical.tap(row + 1, self.vertical.size) - self.vertical.before
        column = position - self.horizontal.before
        return [
            (0, group, self.source.address((channel, end - k, column), 0), None)
            for k in range(1, self.vertical.stride + 1)
        ]
