"""Column-combined weights as the panel expression reads them: one loop over groups, the same for all rows.

Rows choose different columns of a group, so a loaded input vector serves one multiply-add. That is
no loss where the core loads as many vectors as it multiplies, and nothing else interrupts the
loop: it has the same length everywhere, and no mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te

from sparsegen.formats.column_combined import ColumnCombined
from sparsegen.kernels.panels.expression import Weights, counted
from sparsegen.kernels.panels.problem import PanelSchedule
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.passes import MASKED


def combined_weights(packed: ColumnCombined, offsets_of: NDArray[np.int32]) -> Weights:
    """The weights: summed over the groups s of a block, each row reading its own column of a group.

    `offsets_of` [columns] is where each column is read.
    """
    blocks = counted(packed.blocks)
    values = te.placeholder((blocks, *packed.values.shape[1:]), name="weights")
    offsets = te.placeholder((blocks, *packed.columns.shape[1:]), "int32", name="offsets")
    s = te.reduce_axis((0, packed.groups), name="s")

    def term(read: Callable[[Expr], Expr], b: Expr, panel: Expr, r: Expr) -> Expr:
        return values[b, panel, s, r] * read(offsets[b, panel, s, r])

    return Weights(
        arrays=(packed.values, offsets_of[packed.columns]),
        placeholders=(values, offsets),
        axes=(s,),
        term=term,
        blocks=blocks,
        panels=packed.panels,
        identity=(packed.values.shape[1:], packed.blocks > 1),
    )


def schedule_combined(sch: Any, part: Any, knobs: PanelSchedule) -> None:
    """Unroll rows and, inside, pixels: a row's value and offset are loaded once for all pixels."""
    oh, ow, r, lane, s = sch.get_loops(part)[-5:]
    sch.reorder(s, r, oh, ow, lane)
    for loop in (r, oh, ow):
        sch.unroll(loop)
    sch.vectorize(lane)
    if knobs.unroll > 1:
        sch.annotate(s, MASKED, knobs.unroll)
    sch.decompose_reduction(part, s)
