"""Masked panels as the panel expression reads them: a loop over the columns of each mask in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from sparsegen.formats.masked_panels import MaskedPanels
from sparsegen.kernels.operands import pick
from sparsegen.kernels.panels.expression import Weights, counted
from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule
from sparsegen.lowering.ahead import AHEAD, DEPTH
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.passes import MASKED


def masked_weights(
    problem: PanelProblem, packed: MaskedPanels, schedule: PanelSchedule, offsets_of: NDArray[np.int32]
) -> Weights:
    """The weights: summed over the masks m in use, and the columns j of a mask, read at `offsets_of`."""
    masks, blocks = packed.masks, counted(packed.blocks)
    shape = (blocks, *packed.segments.shape[1:])
    values = te.placeholder((te.var("nonzeros"),), name="weights")
    offsets = te.placeholder((te.var("columns"),), "int32", name="offsets")
    segments = te.placeholder(shape, "int32", name="segments")
    value_segments = te.placeholder(shape, "int32", name="value_segments")
    m = te.reduce_axis((0, len(masks)), name="m")
    j = te.reduce_axis((0, schedule.block * problem.columns_per_channel), name="j")

    def term(read: Callable[[Expr], Expr], b: Expr, panel: Expr, r: Expr) -> Expr:
        mask, begin = _mask(masks, m), segments[b, panel, m]
        below = tirx.popcount(mask & ((tirx.const(1, "int32") << r) - 1))
        value = values[value_segments[b, panel, m] + j * tirx.popcount(mask) + below]
        kept = tirx.if_then_else(((mask >> r) & 1) == 1, value * read(offsets[begin + j]), 0.0)
        return tirx.if_then_else(j < segments[b, panel, m + 1] - begin, kept, 0.0)

    addresses = np.pad(offsets_of[packed.columns], (0, DEPTH))
    return Weights(
        arrays=(packed.values, addresses, packed.segments, packed.value_segments),
        placeholders=(values, offsets, segments, value_segments),
        axes=(m, j),
        term=term,
        blocks=blocks,
        panels=packed.panels,
        identity=(masks, shape[1:], packed.blocks > 1),
    )


def _mask(masks: tuple[int, ...], m: Expr) -> Expr:
    """The m-th mask in use: a constant once the loop over m is unrolled."""
    if masks == tuple(range(1, len(masks) + 1)):
        return m + 1
    return pick(masks, m)


def schedule_masked(sch: Any, part: Any, knobs: PanelSchedule) -> None:
    """Unroll masks, rows and pixels; the loop over a mask's columns becomes as long as they are."""
    oh, ow, r, lane, m, j = sch.get_loops(part)[-6:]
    inner = (oh, ow, r) if knobs.pixels_outer else (r, oh, ow)
    sch.reorder(m, j, *inner, lane)
    for loop in (m, *inner):
        sch.unroll(loop)
    sch.vectorize(lane)
    sch.annotate(j, MASKED, knobs.unroll)
    sch.annotate(j, AHEAD, "offsets")
    sch.decompose_reduction(part, m)
