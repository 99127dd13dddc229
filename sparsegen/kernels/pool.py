"""Max and average pooling: down the rows of the windows first, then along the one row that is left.

Every input row is read in order, and what is left of a row of windows, one padded row, stays in the
L1 cache. Padding exists in that row alone: nothing is read outside an image, whether its buffer has
a halo or not.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from sparsegen.graph import AdaptivePool2d, Layer, Pool2d
from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.mathematics import constant, larger
from sparsegen.kernels.operands import zero_outside
from sparsegen.kernels.pool_prefetch import RowsAhead
from sparsegen.kernels.pool_schedule import (
    Axes,
    PoolSchedule,
    default_pool,
    fetches_ahead,
    pool_fault,
    pool_space,
    schedule_pool,
)
from sparsegen.kernels.registry import Context, kernel_for, space_for
from sparsegen.kernels.space import Space
from sparsegen.kernels.windows import Windows
from sparsegen.lowering.expressions import Condition, Expr
from sparsegen.lowering.kernel import Kernel, LayoutStore
from sparsegen.lowering.layout import Layout


@kernel_for(Pool2d, "pool")
def pool(layer: Layer, context: Context) -> Kernel:
    """Kernel of windows of one size; `layer.shape` says how many, ceil mode's too."""
    core, axes = layer.core, _axes(layer, context)
    assert isinstance(core, Pool2d)
    if core.kind == "max":
        return _kernel(layer, context, axes, None)
    if core.divisor is not None:
        divisors = np.full(layer.shape[2:], core.divisor)
    else:
        padded, after = core.count_include_pad, core.padding[1::2]
        rows, columns = (w.counts(padding=padded, after=a) for w, a in zip(axes, after, strict=True))
        divisors = np.outer(rows, columns)
    return _kernel(layer, context, axes, divisors)


@kernel_for(AdaptivePool2d, "pool")
def adaptive_pool(layer: Layer, context: Context) -> Kernel:
    """Kernel of windows that cut each axis in a given number of parts, as even as can be."""
    core, (vertical, horizontal) = layer.core, _axes(layer, context)
    assert isinstance(core, AdaptivePool2d)
    divisors = np.outer(vertical.counts(), horizontal.counts()) if core.kind == "avg" else None
    return _kernel(layer, context, (vertical, horizontal), divisors)


@space_for(Pool2d)
@space_for(AdaptivePool2d)
def pooling_space(layer: Layer, context: Context) -> Space:
    """The schedules of a pooling's kernel."""
    return pool_space(layer, context, _axes(layer, context))


def _axes(layer: Layer, context: Context) -> Axes:
    """The windows of a pooling on both axes."""
    core, extents = layer.core, context.layout(layer.inputs[0]).shape[2:]
    if isinstance(core, AdaptivePool2d):
        vertical, horizontal = (Windows.adaptive(*axis) for axis in zip(extents, core.output, strict=True))
    else:
        assert isinstance(core, Pool2d)
        before = core.padding[::2]
        axes = zip(extents, layer.shape[2:], core.kernel, core.stride, before, core.dilation, strict=True)
        vertical, horizontal = (Windows(*axis) for axis in axes)
    return vertical, horizontal


def _kernel(layer: Layer, context: Context, axes: Axes, divisors: NDArray[np.int64] | None) -> Kernel:
    """The kernel of windows on both axes: their maximum, or their sum over `divisors` [OH, OW]."""
    source, out, epilogue = (
        context.value(layer.inputs[0]),
        context.layout(layer.name),
        context.epilogue(layer),
    )
    knobs = context.given(layer, PoolSchedule, partial(pool_fault, out, axes))
    if knobs is None:
        knobs = default_pool(out, axes, threads=context.threads)
    x = source.placeholder()
    across = _across(_down(x, source.layout, axes, maximum=divisors is None), axes, maximum=divisors is None)
    even = divisors is None or bool(np.all(divisors == divisors[0, 0]))
    scales = [] if divisors is None or even else [(1.0 / divisors).astype(np.float32)]
    tables = [te.placeholder(array.shape, name="scales") for array in scales]

    def element(group: Any, channel: Any, row: Any, column: Any, *lane: Any) -> Any:
        value = across[(group, channel, row, column, *lane)]
        if tables:
            value = value * tables[0][row, column]
        elif divisors is not None:
            value = value * constant(1.0 / float(divisors[0, 0]))
        coordinates = (channel, row, column)
        return zero_outside(
            out, coordinates, epilogue.apply(value, group, coordinates, lane[0] if lane else 0)
        )

    result = te.compute(out.space, element, name="out")
    function = te.create_prim_func([x, *tables, *epilogue.placeholders, result])
    return Kernel(
        kind="pool",
        module=context.scheduled(function, schedule_pool, knobs=knobs, batch_lanes=out.batch_lanes),
        store=LayoutStore(out),
        arguments=(source.argument(), *scales, *epilogue.arguments),
        prefetch=_rows_ahead(source.layout, axes, knobs, context),
        schedule=knobs.as_dict(),
    )


def _rows_ahead(source: Layout, axes: Axes, knobs: PoolSchedule, context: Context) -> RowsAhead | None:
    """What to fetch ahead; None where the caches hold the input, or windows do not follow each other."""
    vertical, horizontal = axes
    follows = vertical.even and vertical.dilation == 1 and vertical.stride <= vertical.size
    large = source.nbytes > context.target.l2_bytes
    if not (follows and large and fetches_ahead(knobs, batch_lanes=source.batch_lanes)):
        return None
    return RowsAhead(source, vertical, horizontal, knobs.parallel_rows)


def _down(x: Any, source: Any, axes: Axes, *, maximum: bool) -> Any:
    """Stage [groups, C, OH, padded row(, lanes)]: every position of the row, over the windows' rows."""
    vertical, horizontal = axes
    k = te.reduce_axis((0, vertical.size), name="k")
    lanes = (source.lanes,) if source.batch_lanes else ()

    def element(group: Any, channel: Any, row: Any, position: Any, *lane: Any) -> Any:
        at = vertical.tap(row, k)
        coordinates = (channel, at - vertical.before, position - horizontal.before)
        value = x[group, source.address(coordinates, *lane)]
        value = value if maximum else value.astype(accumulator_of(source.dtype))
        tests = [*vertical.exists(row, k), *vertical.inside(at), *horizontal.inside(position)]
        return _combine(value, tests, k, maximum=maximum)

    space = (source.groups, source.shape[1], vertical.outputs, horizontal.span, *lanes)
    return te.compute(space, element, name="down")


def _across(down: Any, axes: Axes, *, maximum: bool) -> Any:
    """Stage [groups, C, OH, OW(, lanes)]: the windows' columns of what is left of their rows."""
    _, horizontal = axes
    k = te.reduce_axis((0, horizontal.size), name="k")

    def element(group: Any, channel: Any, row: Any, column: Any, *lane: Any) -> Any:
        value = down[(group, channel, row, horizontal.tap(column, k), *lane)]
        return _combine(value, horizontal.exists(column, k), k, maximum=maximum)

    space = (*down.shape[:3], horizontal.outputs, *down.shape[4:])
    return te.compute(space, element, name="across")


_largest = te.comm_reducer(larger, lambda dtype: tirx.const(-math.inf, dtype), name="largest")


def _combine(value: Expr, tests: list[Condition], axis: Any, *, maximum: bool) -> Expr:
    """The maximum or sum over an axis of the values that pass the tests."""
    neutral = constant(-math.inf if maximum else 0.0)
    guarded = tirx.if_then_else(tirx.all(*tests), value, neutral) if tests else value
    return (_largest if maximum else te.sum)(guarded, axis=axis)
