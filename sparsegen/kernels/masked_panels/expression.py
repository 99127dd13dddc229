"""What the masked-panel kernel computes, as TVM tensor expressions."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from sparsegen.formats.masked_panels import MaskedPanels
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.masked_panels.problem import PanelProblem, PanelSchedule, PanelStore
from sparsegen.kernels.operands import pick

Expr = Any


def _mask(masks: tuple[int, ...], m: Expr) -> Expr:
    """The m-th mask in use: a constant once the loop over m is unrolled."""
    if masks == tuple(range(1, len(masks) + 1)):
        return m + 1
    return pick(masks, m)


def expression(
    problem: PanelProblem,
    packed: MaskedPanels,
    schedule: PanelSchedule,
    epilogue: Epilogue,
    store: PanelStore,
) -> Any:
    """The function.

    Parameters: x, values, offsets, segments, value_segments, bias (where there is one), the
    epilogue's operands, out. Stages: `registers` (one block of columns), `sums` (over the blocks,
    where there are several), `out`.
    """
    groups, lanes = problem.out.groups, problem.out.lanes
    height, width = problem.padded_pixels(schedule)
    rows, panels, blocks, masks = packed.rows, packed.panels, packed.blocks, packed.masks
    x = te.placeholder((groups, problem.source.size), name="x")
    values = te.placeholder((te.var("nonzeros"),), name="weights")
    offsets = te.placeholder((te.var("columns"),), "int32", name="offsets")
    segments = te.placeholder(packed.segments.shape, "int32", name="segments")
    value_segments = te.placeholder(packed.segments.shape, "int32", name="value_segments")
    m = te.reduce_axis((0, len(masks)), name="m")
    j = te.reduce_axis((0, schedule.block * problem.columns_per_channel), name="j")

    def visit(g: Expr, b: Expr, panel: Expr, oh: Expr, ow: Expr, r: Expr, lane: Expr) -> Expr:
        mask, begin = _mask(masks, m), segments[b, panel, m]
        below = tirx.popcount(mask & ((tirx.const(1, "int32") << r) - 1))
        value = values[value_segments[b, panel, m] + j * tirx.popcount(mask) + below]
        at = offsets[begin + j] + oh * problem.pixel_steps[0] + ow * problem.pixel_steps[1] + lane
        kept = tirx.if_then_else(((mask >> r) & 1) == 1, value * x[g, at], 0.0)
        return te.sum(tirx.if_then_else(j < segments[b, panel, m + 1] - begin, kept, 0.0), axis=[m, j])

    part = te.compute((groups, blocks, panels, height, width, rows, lanes), visit, name="registers")
    sums = part
    if blocks > 1:
        b = te.reduce_axis((0, blocks), name="b")
        sums = te.compute(
            (groups, panels, height, width, rows, lanes),
            lambda g, panel, oh, ow, r, lane: te.sum(part[g, b, panel, oh, ow, r, lane], axis=b),
            name="sums",
        )
    bias = te.placeholder((panels * rows,), name="bias")

    def finish(g: Expr, panel: Expr, r: Expr, oh: Expr, ow: Expr, lane: Expr) -> Expr:
        value = sums[g, panel, oh, ow, r, lane] if blocks > 1 else part[g, 0, panel, oh, ow, r, lane]
        if problem.bias is not None:
            value = value + bias[panel * rows + r]
        return store.finished(value, epilogue, g, panel * rows + r, oh, ow, lane)

    out = te.compute((groups, panels, rows, height, width, lanes), finish, name="out")
    biases = [bias] if problem.bias is not None else []
    parameters = [x, values, offsets, segments, value_segments, *biases, *epilogue.placeholders, out]
    return te.create_prim_func(parameters)
