"""Panel kernels: convolutions and linear layers with sparse or dense weights, in several formats."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import te

from sparsegen.formats.column_combined import ColumnCombined
from sparsegen.formats.masked_panels import MaskedPanels
from sparsegen.formats.permutation import order_rows
from sparsegen.formats.registry import FORMATS, PackedWeights
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.panels.choice import PanelChoice, choose
from sparsegen.kernels.panels.combined import combined_weights
from sparsegen.kernels.panels.depthwise import plan_depthwise
from sparsegen.kernels.panels.expression import expression
from sparsegen.kernels.panels.legality import TILE_LIMIT, panel_fault
from sparsegen.kernels.panels.masked import masked_weights
from sparsegen.kernels.panels.packing import packable, plan_slab, slab_bytes
from sparsegen.kernels.panels.prefetch import Together, plan_operand_prefetch, plan_prefetch
from sparsegen.kernels.panels.problem import Depthwise, PanelProblem, PanelSchedule
from sparsegen.kernels.panels.schedule import schedule
from sparsegen.kernels.registry import Once
from sparsegen.lowering.kernel import Kernel, as_argument
from sparsegen.stopwatch import part

__all__ = [
    "TILE_LIMIT",
    "Depthwise",
    "PanelChoice",
    "PanelProblem",
    "PanelSchedule",
    "arranged",
    "choose",
    "pack_weights",
    "packable",
    "panel_fault",
    "panels",
    "slab_bytes",
]


def arranged(problem: PanelProblem, knobs: PanelSchedule) -> PanelProblem:
    """The problem with its rows in the order of the schedule."""
    return problem.permuted(order_rows(problem.matrix, rows=knobs.rows)) if knobs.permuted else problem


@part("packing weights")
def pack_weights(problem: PanelProblem, knobs: PanelSchedule) -> PackedWeights:
    """The weights of an arranged problem in the format of a schedule."""
    columns = knobs.block * problem.columns_per_channel
    return FORMATS[knobs.format](problem.matrix, rows=knobs.rows, block=columns, multiple=knobs.chunk)


def panels(
    problem: PanelProblem,
    knobs: PanelSchedule,
    *,
    source: str,
    epilogue: Epilogue,
    registers: int,
    once: Once,
) -> Kernel:
    """The kernel of a problem under a schedule without `panel_fault`.

    `source` names the input value; `registers` are the CPU's, of a vector each; `once` is a context's.
    """
    problem = arranged(problem, knobs)
    packed = pack_weights(problem, knobs)
    slab = plan_slab(problem, knobs) if knobs.pack_input else None
    assert (slab is not None) == knobs.pack_input
    computed = plan_depthwise(problem, knobs)
    offsets = problem.offsets if slab is None else slab.offsets
    if computed is not None:
        offsets = computed.offsets(problem.channels)
    if isinstance(packed, ColumnCombined):
        weights = combined_weights(packed, offsets)
    else:
        assert isinstance(packed, MaskedPanels)
        weights = masked_weights(problem, packed, knobs, offsets)
    store = problem.store(knobs)
    copied = computed or slab
    parameters, arguments = expression(problem, weights, knobs, copied, epilogue, store)
    code = problem.code(of_channels=copied is not None), weights.identity, epilogue.identity

    def module() -> Any:
        return schedule(te.create_prim_func(parameters), knobs, copied, registers=registers)

    operands = plan_operand_prefetch(problem, packed.panels, knobs, epilogue)
    ahead = plan_prefetch(problem, packed.panels, knobs) if knobs.prefetch else None
    parts = tuple(each for each in (operands, ahead) if each is not None)
    return Kernel(
        kind="panels" if computed is None else "separable",
        module=once(("panels", *code, knobs, store, registers), module),
        store=store,
        arguments=(source, *map(as_argument, arguments), *epilogue.arguments),
        format=knobs.format,
        density=float(np.count_nonzero(problem.matrix)) / problem.matrix.size,
        weight_bytes=packed.statistics().bytes,
        prefetch=Together(parts) if parts else None,
        schedule=knobs.as_dict(),
    )
