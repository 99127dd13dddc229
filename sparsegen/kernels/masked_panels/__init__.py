"""The masked-panel kernel: convolutions and linear layers with sparse or dense weights."""

from __future__ import annotations

import numpy as np

from sparsegen.formats.masked_panels import pack
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.masked_panels.choose import TILE_LIMIT, choose_schedule
from sparsegen.kernels.masked_panels.expression import expression
from sparsegen.kernels.masked_panels.prefetch import plan_prefetch
from sparsegen.kernels.masked_panels.problem import PanelProblem, PanelSchedule
from sparsegen.kernels.masked_panels.schedule import schedule
from sparsegen.lowering.kernel import Kernel, as_argument

__all__ = ["TILE_LIMIT", "PanelProblem", "PanelSchedule", "choose_schedule", "masked_panels"]


def masked_panels(
    problem: PanelProblem, knobs: PanelSchedule, *, source: str, epilogue: Epilogue, dense: bool = False
) -> Kernel:
    """The kernel of a problem under a schedule; `source` names the input value."""
    columns = knobs.block * problem.columns_per_channel
    packed = pack(problem.matrix, rows=knobs.rows, block=columns, multiple=knobs.chunk, dense=dense)
    store = problem.store(knobs)
    module = schedule(expression(problem, packed, knobs, epilogue, store), knobs)
    biases = []
    if problem.bias is not None:
        bias = np.zeros(packed.panels * packed.rows, np.float32)
        bias[: len(problem.bias)] = problem.bias
        biases = [bias]
    weights = (packed.values, problem.offsets[packed.columns], packed.segments, packed.value_segments)
    return Kernel(
        kind="masked_panels",
        module=module,
        store=store,
        arguments=(source, *map(as_argument, weights), *biases, *epilogue.arguments),
        format="dense_panels" if packed.nonzeros == problem.matrix.size else "masked_panels",
        density=float(np.count_nonzero(problem.matrix)) / problem.matrix.size,
        weight_bytes=packed.bytes,
        prefetch=plan_prefetch(problem, packed, knobs) if knobs.prefetch else None,
        schedule=knobs.as_dict(),
    )
