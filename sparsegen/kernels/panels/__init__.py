"""Panel kernels: convolutions and linear layers with sparse or dense weights, in several formats."""

from __future__ import annotations

import numpy as np

from sparsegen.formats import column_combined, masked_panels
from sparsegen.formats.detect import Structure
from sparsegen.formats.permutation import order_rows
from sparsegen.formats.registry import PackedWeights
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.panels.choice import TILE_LIMIT, Choice, choose
from sparsegen.kernels.panels.combined import combined_weights
from sparsegen.kernels.panels.expression import expression
from sparsegen.kernels.panels.masked import masked_weights
from sparsegen.kernels.panels.prefetch import plan_prefetch
from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule
from sparsegen.kernels.panels.schedule import schedule
from sparsegen.lowering.kernel import Kernel, as_argument

__all__ = [
    "TILE_LIMIT",
    "Choice",
    "PanelProblem",
    "PanelSchedule",
    "arranged",
    "choose",
    "pack_weights",
    "panels",
]


def arranged(problem: PanelProblem, knobs: PanelSchedule) -> PanelProblem:
    """The problem with its rows in the order of the schedule."""
    return problem.permuted(order_rows(problem.matrix, rows=knobs.rows)) if knobs.permuted else problem


def pack_weights(
    problem: PanelProblem, knobs: PanelSchedule, structure: Structure | None = None
) -> PackedWeights:
    """The weights of an arranged problem in the format of a schedule."""
    columns = knobs.block * problem.columns_per_channel
    if knobs.format == "column_combined":
        groups = structure.groups if structure is not None and structure.groups else None
        return column_combined.pack(
            problem.matrix, rows=knobs.rows, block=columns, multiple=knobs.chunk, groups=groups
        )
    dense = knobs.format == "dense_panels"
    return masked_panels.pack(
        problem.matrix, rows=knobs.rows, block=columns, multiple=knobs.chunk, dense=dense
    )


def panels(
    problem: PanelProblem,
    knobs: PanelSchedule,
    *,
    source: str,
    epilogue: Epilogue,
    structure: Structure | None = None,
) -> Kernel:
    """The kernel of a problem under a schedule; `source` names the input value.

    `structure`, where it is known, saves finding groups of columns again.
    """
    problem = arranged(problem, knobs)
    packed = pack_weights(problem, knobs, structure)
    if isinstance(packed, column_combined.ColumnCombined):
        weights = combined_weights(problem, packed)
    else:
        assert isinstance(packed, masked_panels.MaskedPanels)
        weights = masked_weights(problem, packed, knobs)
    store = problem.store(knobs)
    function, arguments = expression(problem, weights, knobs, epilogue, store)
    return Kernel(
        kind="panels",
        module=schedule(function, knobs),
        store=store,
        arguments=(source, *map(as_argument, arguments), *epilogue.arguments),
        format=knobs.format,
        density=float(np.count_nonzero(problem.matrix)) / problem.matrix.size,
        weight_bytes=packed.statistics().bytes,
        prefetch=plan_prefetch(problem, packed.panels, knobs) if knobs.prefetch else None,
        schedule=knobs.as_dict(),
    )
