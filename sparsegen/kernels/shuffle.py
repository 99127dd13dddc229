"""Pixel shuffle and unshuffle: channels become pixels between pixels, and back.

Best for the last step of upsampling by a convolution, and of a transposed convolution, whose phases it
interleaves. Neighbours come from as many channels: their loads are vectors, their stores shuffled ones.
"""

from __future__ import annotations

from typing import Any

from tvm import s_tir, te

from sparsegen.graph import Layer, PixelShuffle, PixelUnshuffle
from sparsegen.kernels.loops import extent, parallel, parallel_rows
from sparsegen.kernels.operands import zero_outside
from sparsegen.kernels.reductions import Point, stage
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.kernel import Kernel, LayoutStore


@kernel_for(PixelShuffle, "pixel_shuffle")
def pixel_shuffle(layer: Layer, context: Context) -> Kernel:
    """Kernel that interleaves channels."""
    core, source, out = layer.core, context.value(layer.inputs[0]), context.layout(layer.name)
    assert isinstance(core, PixelShuffle)
    (down, across), (top, left) = core.factors, core.crop
    x, epilogue = source.placeholder(), context.epilogue(layer)
    between = out.holds((0,) * 3) is not None  # rows are stored with a halo, which breaks their pattern

    def shuffled(point: Point) -> Expr:
        group, channel, row, column, *lane = point
        y, z = row + top, column + left
        of = (channel * down + y % down) * across + z % across
        return x[group, source.layout.address((of, y // down, z // across), *lane)]

    value = stage((out.groups, *out.shape[1:]), shuffled, "row") if between else shuffled

    def element(*point: Expr) -> Expr:
        coordinates = out.coordinates(point)
        result = epilogue.apply(value(point), point[0], coordinates, out.lane(point))
        return zero_outside(out, coordinates, result)

    result = te.compute(out.space, element, name="out")
    function = te.create_prim_func([x, *epilogue.placeholders, result])
    whole = out.shape[3] // across * across
    return Kernel(
        kind="pixel_shuffle",
        module=_schedule(function, across, whole, between=between, batch_lanes=out.batch_lanes),
        store=LayoutStore(out),
        arguments=(source.argument(), *epilogue.arguments),
    )


def _schedule(function: Any, across: int, whole: int, *, between: bool, batch_lanes: bool) -> Any:
    """Rows in parallel; `across` neighbours are straight-line code for the first `whole` of a row.

    LLVM makes vectors of each of them over the row, and interleaves these. The rest of a row is apart.
    """
    sch = s_tir.Schedule(function)
    out = sch.get_sblock("out")
    loops = sch.get_loops(out)
    (task,) = parallel(sch, loops[:3], work=extent(sch, loops))
    column = loops[3]
    if between:
        row = sch.get_sblock("row")
        sch.compute_at(row, task, preserve_unit_loops=True)
        column = sch.get_loops(row)[-1]
    if batch_lanes:
        sch.vectorize(loops[-1])
    if across == 1 or whole == 0:
        return sch.mod
    if whole < int(sch.get(column).extent) and not batch_lanes:
        column, _ = sch.loop_partition(column, [whole, None])
    _, neighbours = sch.split(column, [None, across])
    sch.unroll(neighbours)
    return sch.mod


@kernel_for(PixelUnshuffle, "pixel_unshuffle")
def pixel_unshuffle(layer: Layer, context: Context) -> Kernel:
    """Kernel that takes every so many pixels of a channel into a channel of its own."""
    core, source, out = layer.core, context.value(layer.inputs[0]), context.layout(layer.name)
    assert isinstance(core, PixelUnshuffle)
    down, across = core.factors
    x, epilogue = source.placeholder(), context.epilogue(layer)

    def element(*point: Expr) -> Expr:
        coordinates, lane = out.coordinates(point), out.lane(point)
        channel, y, z = coordinates
        of, row, column = channel // (down * across), channel // across % down, channel % across
        value = x[point[0], source.layout.address((of, y * down + row, z * across + column), lane)]
        return zero_outside(out, coordinates, epilogue.apply(value, point[0], coordinates, lane))

    result = te.compute(out.space, element, name="out")
    function = te.create_prim_func([x, *epilogue.placeholders, result])
    return Kernel(
        kind="pixel_unshuffle",
        module=parallel_rows(function, batch_lanes=out.batch_lanes),
        store=LayoutStore(out),
        arguments=(source.argument(), *epilogue.arguments),
    )
