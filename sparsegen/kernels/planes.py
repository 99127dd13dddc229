"""Pixel lanes without regard to rows: a channel's plane as one run, and which of its positions are pixels.

A loop over a row is short, and LLVM may take it apart, and vectorise the loop around it with gathers. A loop
over a plane is long, and its addresses follow each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.layout import Layout


class Pixels:
    """Which of the first `positions` of a plane are pixels: a table, where not all are.

    With batch lanes nothing is computed that is no pixel, and there is no table.
    """

    def __init__(self, layout: Layout, positions: int) -> None:
        at = np.arange(positions)
        is_pixel = (at < layout.run) & (at % layout.row < layout.shape[3])
        self.arrays: list[NDArray[Any]] = (
            [] if layout.batch_lanes or is_pixel.all() else [is_pixel.astype(layout.dtype)]
        )
        self._zero = tirx.const(0, layout.dtype)
        self.tables = [te.placeholder(array.shape, str(array.dtype), name="pixels") for array in self.arrays]

    def only(self, value: Expr, position: Expr) -> Expr:
        """The value where a position is a pixel, else zero; the value may be anything there."""
        if not self.tables:
            return value
        return tirx.Select(self.tables[0][position] != self._zero, value, self._zero)


def position(layout: Layout, coordinates: tuple[Expr, ...]) -> Expr:
    """Where in its channel's plane a pixel lies."""
    return coordinates[1] * layout.row + coordinates[2]
