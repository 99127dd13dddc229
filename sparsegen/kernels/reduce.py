"""Mean over any dimensions, and softmax over one.

Vectors lie across what is reduced, and are combined whole: the lanes of the batch, or neighbours in
the last dimension. Where without batch lanes the last dimension itself is reduced, vectors lie along
it: rows are padded to whole vectors, these are combined, and the lanes of the result last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import s_tir, te, tirx

from sparsegen.graph import Layer, Mean, Softmax
from sparsegen.kernels.loops import parallel, place_stage
from sparsegen.kernels.mathematics import constant, exp, larger
from sparsegen.kernels.operands import at_index, zero_outside
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.kernel import Kernel, LayoutStore
from sparsegen.lowering.layout import Layout

Expr = Any
Point = tuple[Expr, ...]  # group, coordinates, and with batch lanes the lane
Reader = Callable[[Point], Expr]
Stages = list[tuple[str, bool]]  # names in the order of computation; is the last dimension a vector?

_largest = te.comm_reducer(larger, lambda dtype: tirx.const(-math.inf, dtype), name="largest")


@kernel_for(Mean)
def mean(layer: Layer, context: Context) -> Kernel:
    """Kernel of the mean over `dims`, which with batch lanes never include the batch."""
    core, source, out = layer.core, context.layout(layer.inputs[0]), context.layout(layer.name)
    assert isinstance(core, Mean)
    extents, dims = _extents(source), core.dims
    read, x = _reader(layer, context)
    along = _has_rows(source) and len(extents) - 1 in dims
    if along:
        sums, stages = _sum_along(read, extents, dims, source.lanes)
    else:
        sums, stages = _reduced(te.sum, read, extents, dims, "sums"), [("sums", source.batch_lanes)]
    scale = constant(1.0 / math.prod(extents[dim] for dim in dims))
    kept = [dim for dim in range(len(extents)) if dim not in dims]

    def value(point: Point) -> Expr:
        return sums(tuple(point[dim] for dim in kept) if core.keepdim else point) * scale

    rank = len(out.space)
    inner = () if along and out.holds((0,) * rank) is None else (rank - 1,)
    return _kernel(layer, context, x, value, stages, inner)


@kernel_for(Softmax)
def softmax(layer: Layer, context: Context) -> Kernel:
    """Kernel of the softmax over `dim`, which with batch lanes is never the batch."""
    core, source = layer.core, context.layout(layer.inputs[0])
    assert isinstance(core, Softmax)
    extents, last = _extents(source), len(_extents(source)) - 1
    read, x = _reader(layer, context)
    if _has_rows(source) and core.dim == last:
        value, stages = _softmax_along(read, extents, source.lanes)
        return _kernel(layer, context, x, value, stages, (last,))
    value, stages = _softmax_across(read, extents, core.dim, batch_lanes=source.batch_lanes)
    return _kernel(layer, context, x, value, stages, tuple(dict.fromkeys((core.dim, last))))


def _softmax_across(
    read: Reader, extents: Sequence[int], dim: int, *, batch_lanes: bool
) -> tuple[Reader, Stages]:
    """Softmax over a dimension that vectors lie across."""

    def others(point: Point) -> Point:
        return (*point[:dim], *point[dim + 1 :])

    top = _reduced(_largest, read, extents, (dim,), "top")
    powers = _stage(extents, lambda point: exp(read(point) - top(others(point))), "powers")
    total = _reduced(te.sum, powers, extents, (dim,), "total")
    stages = [(name, batch_lanes) for name in ("top", "powers", "total")]
    return lambda point: powers(point) / total(others(point)), stages


def _softmax_along(read: Reader, extents: Sequence[int], lanes: int) -> tuple[Reader, Stages]:
    """Softmax over the last dimension, in vectors: the padding's powers are zero."""
    vector, padding = _vectors(read, extents, lanes, -math.inf)
    outer, count = extents[:-1], -(-extents[-1] // lanes)
    cut = (*outer, count, lanes)
    tops = _reduced(_largest, vector, cut, (len(outer),), "tops")
    top = _reduced(_largest, tops, (*outer, lanes), (len(outer),), "top")
    powers = _stage(cut, lambda point: exp(vector(point) - top(point[:-2])), "powers")
    totals = _reduced(te.sum, powers, cut, (len(outer),), "totals")
    total = _reduced(te.sum, totals, (*outer, lanes), (len(outer),), "total")

    def value(point: Point) -> Expr:
        *before, at = point
        return powers((*before, at // lanes, at % lanes)) / total(tuple(before))

    names = ("tops", "top", "powers", "totals", "total")
    return value, [*padding, *((name, name not in ("top", "total")) for name in names)]


def _sum_along(
    read: Reader, extents: Sequence[int], dims: Sequence[int], lanes: int
) -> tuple[Reader, Stages]:
    """The sum over dimensions of which the last is one, in vectors."""
    vector, padding = _vectors(read, extents, lanes, 0.0)
    cut = (*extents[:-1], -(-extents[-1] // lanes), lanes)
    partial = _reduced(te.sum, vector, cut, dims, "partial")
    kept = [e for dim, e in enumerate(extents) if dim not in dims]
    sums = _reduced(te.sum, partial, (*kept, lanes), (len(kept),), "sums")
    return sums, [*padding, ("partial", True), ("sums", False)]


def _vectors(read: Reader, extents: Sequence[int], lanes: int, neutral: float) -> tuple[Reader, Stages]:
    """Reader of (..., vector, lane) of the last dimension; ragged rows are first copied and padded."""
    *outer, row = extents
    if row % lanes == 0:
        return lambda point: read((*point[:-2], point[-2] * lanes + point[-1])), []

    def padded(point: Point) -> Expr:
        return tirx.if_then_else(point[-1] < row, read(point), constant(neutral))

    rows = _stage((*outer, -(-row // lanes) * lanes), padded, "rows")
    return lambda point: rows((*point[:-2], point[-2] * lanes + point[-1])), [("rows", False)]


def _reduced(reducer: Any, read: Reader, extents: Sequence[int], dims: Sequence[int], name: str) -> Reader:
    """Stage that reduces dimensions of a space of `extents`; a reader of what is left."""
    axes = {dim: te.reduce_axis((0, extents[dim]), name="k") for dim in dims}
    kept = [e for dim, e in enumerate(extents) if dim not in axes]

    def element(point: Point) -> Expr:
        own = iter(point)
        whole = tuple(axes[dim] if dim in axes else next(own) for dim in range(len(extents)))
        return reducer(read(whole), axis=list(axes.values()))

    return _stage(kept, element, name)


def _stage(extents: Sequence[int], element: Reader, name: str) -> Reader:
    """Stage over a space, and its reader; a space without dimensions gets one of extent 1."""
    tensor = te.compute(tuple(extents) or (1,), lambda *point: element(point[: len(extents)]), name=name)
    return lambda point: tensor[point or (0,)]


def _extents(layout: Layout) -> tuple[int, ...]:
    """Space of the elements, halos left out; batch lanes last."""
    return (layout.groups, *layout.element_shape, *((layout.lanes,) if layout.batch_lanes else ()))


def _has_rows(layout: Layout) -> bool:
    """Whether neighbours in the last dimension are neighbours in memory."""
    return not layout.batch_lanes and len(layout.shape) > 1


def _reader(layer: Layer, context: Context) -> tuple[Reader, Any]:
    """Reader of the layer's input, and its placeholder."""
    source = context.value(layer.inputs[0])
    x, rank = source.placeholder(), len(source.shape)
    return lambda point: at_index(source, x, point[:rank], *point[rank:]), x


def _kernel(
    layer: Layer, context: Context, x: Any, value: Reader, stages: Stages, inner: tuple[int, ...]
) -> Kernel:
    """The kernel that stores `value`; `inner` are its dimensions that a parallel task runs through."""
    out, epilogue = context.layout(layer.name), context.epilogue(layer)

    def element(*point: Any) -> Any:
        coordinates, lane = out.coordinates(point), out.lane(point)
        return zero_outside(out, coordinates, epilogue.apply(value(point), point[0], coordinates, lane))

    function = te.create_prim_func([x, *epilogue.placeholders, te.compute(out.space, element, name="out")])
    work = math.prod(_extents(context.layout(layer.inputs[0])))
    return Kernel(
        kind=type(layer.core).__name__.lower(),
        module=_schedule(function, stages, inner, work=work, batch_lanes=out.batch_lanes),
        store=LayoutStore(out),
        arguments=(layer.inputs[0], *epilogue.arguments),
    )


def _schedule(function: Any, stages: Stages, inner: tuple[int, ...], *, work: int, batch_lanes: bool) -> Any:
    """Everything but the inner dimensions in parallel; all stages inside one task."""
    sch = s_tir.Schedule(function)
    loops = sch.get_loops(sch.get_sblock("out"))
    outer = [loop for dim, loop in enumerate(loops) if dim not in inner]
    within = [loops[dim] for dim in inner]
    if within:
        sch.reorder(*outer, *within)
    if batch_lanes:
        sch.vectorize(loops[-1])
    task = parallel(sch, outer, work=work)
    for name, vectorised in reversed(stages):
        place_stage(sch, name, task, vectorised=vectorised)
    return sch.mod
