"""What a panel kernel computes, as TVM tensor expressions, whatever the format of its weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te

from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.operands import CHANNELS
from sparsegen.kernels.panels.depthwise import DepthwiseSlab, computed_input
from sparsegen.kernels.panels.packing import Slab, packed_input
from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule, PanelStore
from sparsegen.lowering.expressions import Expr, IntExpr, TensorExpr


@dataclass(frozen=True, eq=False)
class Weights:
    """Packed weights as the expression reads them.

    `arrays` are the kernel's arguments, `placeholders` their parameters. `term(read, block, panel, r)`
    is the product that is summed over `axes`, `read(offset)` being the input at a column's offset.
    `blocks` is as `counted` gives it; `identity` is another where the code is.
    """

    arrays: tuple[NDArray[Any], ...]
    placeholders: tuple[Any, ...]
    axes: tuple[Any, ...]
    term: Callable[[Callable[[Expr], Expr], Expr, Expr, Expr], Expr]
    blocks: IntExpr
    panels: int
    identity: Hashable

    @property
    def blocked(self) -> bool:
        """Whether there are several column blocks."""
        return not isinstance(self.blocks, int)


def counted(blocks: int) -> IntExpr:
    """The number of column blocks as code knows it: 1, or a variable, which the weights' shape tells.

    One function so serves layers that differ in their input channels alone, of which `expression` knows the
    size of a group of the input as a variable, too.
    """
    return te.var("blocks") if blocks > 1 else 1


def expression(
    problem: PanelProblem,
    weights: Weights,
    schedule: PanelSchedule,
    slab: Slab | DepthwiseSlab | None,
    epilogue: Epilogue,
    store: PanelStore,
) -> tuple[list[Any], tuple[NDArray[Any], ...]]:
    """The function's parameters, and its arguments between the input and the epilogue's operands.

    Parameters: x, those of the weights, bias (where there is one), the channel of every row (where
    they are permuted), the slab's own (where there is one), the epilogue's operands, out. Stages:
    `registers_taps` (where the slab is computed) and `slab` (of one block, where there is one), `registers`
    (one block of columns), `sums` (over the blocks, where there are several), `out`.
    """
    groups, lanes = problem.out.groups, problem.out.lanes
    height, width = problem.padded_pixels(schedule)
    rows, panels, blocks = schedule.rows, weights.panels, weights.blocks
    x = te.placeholder((groups, te.var("floats")), problem.source.dtype, name="x")
    total = accumulator_of(problem.source.dtype)

    read, of_slab = _reader(x, problem, schedule, slab, blocks)

    def visit(g: Expr, b: Expr, panel: Expr, oh: Expr, ow: Expr, r: Expr, lane: Expr) -> Expr:
        term = weights.term(lambda offset: read(offset, g, b, oh, ow, lane).astype(total), b, panel, r)
        return te.sum(term, axis=list(weights.axes))

    part = te.compute((groups, blocks, panels, height, width, rows, lanes), visit, name="registers")
    sums = part
    if weights.blocked:
        b = te.reduce_axis((0, blocks), name="b")
        sums = te.compute(
            (groups, panels, height, width, rows, lanes),
            lambda g, panel, oh, ow, r, lane: te.sum(part[g, b, panel, oh, ow, r, lane], axis=b),
            name="sums",
        )
    bias = te.placeholder((panels * rows,), name="bias")
    channel_of = te.placeholder((panels * rows,), "int32", name=CHANNELS)

    def finish(g: Expr, panel: Expr, r: Expr, oh: Expr, ow: Expr, lane: Expr) -> Expr:
        value = sums[g, panel, oh, ow, r, lane] if weights.blocked else part[g, 0, panel, oh, ow, r, lane]
        row = panel * rows + r
        if problem.bias is not None:
            value = value + bias[row]
        channel = row if problem.channel_of is None else channel_of[row]
        return store.finished(value, epilogue, g, channel, oh, ow, lane)

    out = te.compute((groups, panels, rows, height, width, lanes), finish, name="out")
    of_rows = [
        (placeholder, _padded(array, panels * rows))
        for placeholder, array in ((bias, problem.bias), (channel_of, problem.channel_of))
        if array is not None
    ]
    operands = [*of_rows, *of_slab]
    placeholders = [*weights.placeholders, *(placeholder for placeholder, _ in operands)]
    parameters = [x, *placeholders, *epilogue.placeholders, out]
    return parameters, (*weights.arrays, *(array for _, array in operands))


def _reader(
    x: TensorExpr,
    problem: PanelProblem,
    schedule: PanelSchedule,
    slab: Slab | DepthwiseSlab | None,
    blocks: IntExpr,
) -> tuple[Callable[..., Expr], list[tuple[TensorExpr, NDArray[Any]]]]:
    """The input at an offset, for (offset, group, block, y, x, lane), and parameters that this takes."""
    if slab is None:
        down, right = problem.pixel_steps
        return lambda offset, g, b, oh, ow, lane: x[g, offset + oh * down + ow * right + lane], []
    if isinstance(slab, DepthwiseSlab):
        packed, parameters = computed_input(x, problem, schedule, slab, blocks)
    else:
        packed, starts = packed_input(x, problem, schedule, slab, blocks)
        parameters = [(starts, slab.starts)]
    down, right = slab.pixel_steps

    def read(offset: Expr, g: Expr, b: Expr, oh: Expr, ow: Expr, lane: Expr) -> Expr:
        (tile_y, y), (tile_x, pixel) = _divided(oh, schedule.tile_h), _divided(ow, schedule.tile_w)
        return packed[g, tile_y, tile_x, b, offset + y * down + pixel * right + lane]

    return read, parameters


def _divided(value: Expr, by: int) -> tuple[Expr, Expr]:
    return te.indexdiv(value, by), te.indexmod(value, by)


def _padded(array: NDArray[Any], length: int) -> NDArray[Any]:
    return np.concatenate([array, np.zeros(length - len(array), array.dtype)])
