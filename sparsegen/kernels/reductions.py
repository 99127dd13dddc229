"""What kernels that reduce dimensions have in common: stages, and how they are scheduled.

Vectors lie across what is reduced, and are combined whole: the lanes of the batch, or neighbours in
the last dimension. Where without batch lanes the last dimension itself is reduced, vectors lie along
it: rows are padded to whole vectors, these are combined, and the lanes of the result last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import s_tir, te, tirx

from sparsegen.graph import Layer
from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.loops import parallel, place_stage
from sparsegen.kernels.mathematics import constant
from sparsegen.kernels.operands import at_index, zero_outside
from sparsegen.kernels.registry import Context
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.kernel import Kernel, LayoutStore
from sparsegen.lowering.layout import Layout

Point = tuple[Expr, ...]  # group, coordinates, and with batch lanes the lane
Reader = Callable[[Point], Expr]
Reducer = Callable[..., Expr]
Stages = list[tuple[str, bool]]  # names in the order of computation; is the last dimension a vector?

_WIDEST = 4  # vectors of a row that a task takes: enough independent sums to hide an addition's latency


def sum_over(read: Reader, source: Layout, dims: Sequence[int], name: str) -> tuple[Reader, Stages]:
    """The sum over dimensions of a space that lies as `source`, and its stages, the last called `name`."""
    total = accumulator_of(source.dtype)
    return reduced_over(te.sum, 0.0, lambda point: read(point).astype(total), source, dims, name)


def reduced_over(
    reducer: Reducer, neutral: float, read: Reader, source: Layout, dims: Sequence[int], name: str
) -> tuple[Reader, Stages]:
    """As `sum_over`, by any reducer: `neutral` changes no result of it."""
    extents = extents_of(source)
    if lies_along(source, dims):
        return _reduced_along(reducer, neutral, read, extents, dims, source.lanes, name)
    return reduced(reducer, read, extents, dims, name), [(name, source.batch_lanes)]


def lies_along(source: Layout, dims: Sequence[int]) -> bool:
    """Whether vectors lie along what is reduced: neighbours in memory are neighbours in one of `dims`."""
    return has_rows(source) and len(source.shape) - 1 in dims


def _reduced_along(
    reducer: Reducer,
    neutral: float,
    read: Reader,
    extents: Sequence[int],
    dims: Sequence[int],
    lanes: int,
    name: str,
) -> tuple[Reader, Stages]:
    """The reduction of dimensions of which the last is one, in vectors."""
    vector, padding = vectors(read, extents, lanes, neutral, f"{name}_rows")
    cut = (*extents[:-1], -(-extents[-1] // lanes), lanes)
    partial = reduced(reducer, vector, cut, dims, f"{name}_of_vectors")
    kept = [e for dim, e in enumerate(extents) if dim not in dims]
    sums = reduced(reducer, partial, (*kept, lanes), (len(kept),), name)
    return sums, [*padding, (f"{name}_of_vectors", True), (name, False)]


def vectors(
    read: Reader, extents: Sequence[int], lanes: int, neutral: float, name: str
) -> tuple[Reader, Stages]:
    """Reader of (..., vector, lane) of the last dimension; ragged rows are first padded in a stage `name`."""
    *outer, row = extents
    if row % lanes == 0:
        return lambda point: read((*point[:-2], point[-2] * lanes + point[-1])), []

    def padded(point: Point) -> Expr:
        return tirx.if_then_else(point[-1] < row, read(point), constant(neutral))

    rows = stage((*outer, -(-row // lanes) * lanes), padded, name)
    return lambda point: rows((*point[:-2], point[-2] * lanes + point[-1])), [(name, False)]


def reduced(reducer: Reducer, read: Reader, extents: Sequence[int], dims: Sequence[int], name: str) -> Reader:
    """Stage that reduces dimensions of a space of `extents`; a reader of what is left."""
    axes = {dim: te.reduce_axis((0, extents[dim]), name="k") for dim in dims}
    kept = [e for dim, e in enumerate(extents) if dim not in axes]

    def element(point: Point) -> Expr:
        own = iter(point)
        whole = tuple(axes[dim] if dim in axes else next(own) for dim in range(len(extents)))
        return reducer(read(whole), axis=list(axes.values()))

    return stage(kept, element, name)


def stage(extents: Sequence[int], element: Reader, name: str) -> Reader:
    """Stage over a space, and its reader; a space without dimensions gets one of extent 1."""
    tensor = te.compute(tuple(extents) or (1,), lambda *point: element(point[: len(extents)]), name=name)
    return lambda point: tensor[point or (0,)]


def extents_of(layout: Layout) -> tuple[int, ...]:
    """Space of the elements, halos left out; batch lanes last."""
    return (layout.groups, *layout.element_shape, *((layout.lanes,) if layout.batch_lanes else ()))


def has_rows(layout: Layout) -> bool:
    """Whether neighbours in the last dimension are neighbours in memory."""
    return not layout.batch_lanes and len(layout.shape) > 1


def reader_of(layer: Layer, context: Context) -> tuple[Reader, Any]:
    """Reader of the layer's input, and its placeholder."""
    source = context.value(layer.inputs[0])
    x, rank = source.placeholder(), len(source.shape)
    return lambda point: at_index(source, x, point[:rank], *point[rank:]), x


def reduction_kernel(
    layer: Layer,
    context: Context,
    x: Any,
    value: Reader,
    stages: Stages,
    inner: tuple[int, ...],
    *,
    tiled: bool = False,
) -> Kernel:
    """The kernel that stores `value`; `inner` are its dimensions that a parallel task runs through.

    `tiled`: a task takes a few vectors of the last dimension only, across which vectors lie.
    """
    out, epilogue = context.layout(layer.name), context.epilogue(layer)
    source = context.value(layer.inputs[0])

    def element(*point: Any) -> Any:
        coordinates, lane = out.coordinates(point), out.lane(point)
        return zero_outside(out, coordinates, epilogue.apply(value(point), point[0], coordinates, lane))

    function = te.create_prim_func([x, *epilogue.placeholders, te.compute(out.space, element, name="out")])
    return Kernel(
        kind=type(layer.core).__name__.lower(),
        module=_schedule(
            function,
            stages,
            inner,
            tile=_tile(out) if tiled else None,
            work=math.prod(extents_of(source.layout)),
            batch_lanes=out.batch_lanes,
        ),
        store=LayoutStore(out),
        arguments=(source.argument(), *epilogue.arguments),
    )


def _tile(out: Layout) -> int | None:
    """Floats of the last dimension that a task takes: whole vectors; None for all of them."""
    row = out.space[-1]
    fitting = (count * out.lanes for count in range(_WIDEST, 0, -1) if row % (count * out.lanes) == 0)
    return next(fitting, None)


def _schedule(
    function: Any,
    stages: Stages,
    inner: tuple[int, ...],
    *,
    tile: int | None,
    work: int,
    batch_lanes: bool,
) -> Any:
    """Everything but the inner dimensions in parallel; all stages inside one task."""
    sch = s_tir.Schedule(function)
    loops = sch.get_loops(sch.get_sblock("out"))
    outer = [loop for dim, loop in enumerate(loops) if dim not in inner]
    within = [loops[dim] for dim in inner]
    if tile is not None:
        *within, last = within
        tiles, last = sch.split(last, [None, tile])
        outer, within = [*outer, tiles], [*within, last]
    if within:
        sch.reorder(*outer, *within)
    if batch_lanes:
        sch.vectorize(loops[-1])
    task = parallel(sch, outer, work=work)
    for name, vectorised in reversed(stages):
        place_stage(sch, name, task, vectorised=vectorised)
    return sch.mod
