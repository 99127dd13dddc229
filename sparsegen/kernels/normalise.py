"""Softmax over one dimension; layer norm and RMS norm over any."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from tvm import te, tirx

from sparsegen.graph import Layer, LayerNorm, LogSoftmax, Softmax
from sparsegen.kernels.logarithms import log
from sparsegen.kernels.mathematics import LARGEST, at_least, constant, exp, larger, shared
from sparsegen.kernels.reductions import (
    Point,
    Reader,
    Stages,
    extents_of,
    lies_along,
    reader_of,
    reduced,
    reduced_over,
    reduction_kernel,
    stage,
    sum_over,
    vectors,
)
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.kernel import Kernel

T = TypeVar("T")
_largest = te.comm_reducer(larger, lambda dtype: tirx.const(-math.inf, dtype), name="largest")


@kernel_for(Softmax)
def softmax(layer: Layer, context: Context) -> Kernel:
    """Kernel of the softmax over `dim`, which with batch lanes is never the batch."""
    core, source = layer.core, context.layout(layer.inputs[0])
    assert isinstance(core, Softmax)
    extents, last = extents_of(source), len(extents_of(source)) - 1
    read, x = reader_of(layer, context)
    if lies_along(source, (core.dim,)):
        value, stages = _softmax_along(read, extents, source.lanes, core)
        return reduction_kernel(layer, context, x, value, stages, (last,))
    value, stages = _softmax_across(read, extents, core, batch_lanes=source.batch_lanes)
    inner, tiled = tuple(dict.fromkeys((core.dim, last))), not source.batch_lanes and core.dim != last
    return reduction_kernel(layer, context, x, value, stages, inner, tiled=tiled)


def _softmax_across(
    read: Reader, extents: Sequence[int], core: Softmax, *, batch_lanes: bool
) -> tuple[Reader, Stages]:
    """Softmax over a dimension that vectors lie across."""
    dim = core.dim

    def others(point: tuple[T, ...]) -> tuple[T, ...]:
        return (*point[:dim], *point[dim + 1 :])

    top = reduced(_largest, read, extents, (dim,), "top")
    powers = stage(extents, lambda point: exp(read(point) - _base(core, top(others(point)))), "powers")
    total = reduced(te.sum, powers, extents, (dim,), "total")
    stages = [(name, batch_lanes) for name in ("top", "powers", "total")]
    return lambda point: powers(point) / _divisor(core, total(others(point))), stages


def _softmax_along(read: Reader, extents: Sequence[int], lanes: int, core: Softmax) -> tuple[Reader, Stages]:
    """Softmax over the last dimension, in vectors: the padding's powers are zero."""
    vector, padding = vectors(read, extents, lanes, -math.inf, "rows")
    outer, count = extents[:-1], -(-extents[-1] // lanes)
    cut = (*outer, count, lanes)
    tops = reduced(_largest, vector, cut, (len(outer),), "tops")
    top = reduced(_largest, tops, (*outer, lanes), (len(outer),), "top")
    powers = stage(cut, lambda point: exp(vector(point) - _base(core, top(point[:-2]))), "powers")
    totals = reduced(te.sum, powers, cut, (len(outer),), "totals")
    total = reduced(te.sum, totals, (*outer, lanes), (len(outer),), "total")

    def value(point: Point) -> Expr:
        *before, at = point
        return powers((*before, at // lanes, at % lanes)) / _divisor(core, total(tuple(before)))

    names = ("tops", "top", "powers", "totals", "total")
    return value, [*padding, *((name, name not in ("top", "total")) for name in names)]


@kernel_for(LogSoftmax)
def log_softmax(layer: Layer, context: Context) -> Kernel:
    """Kernel of the logarithm of the softmax over `dim`, which with batch lanes is never the batch."""
    core, source = layer.core, context.layout(layer.inputs[0])
    assert isinstance(core, LogSoftmax)
    last, dim = len(extents_of(source)) - 1, core.dim
    read, x = reader_of(layer, context)

    def others(point: tuple[T, ...]) -> tuple[T, ...]:
        return (*point[:dim], *point[dim + 1 :])

    tops, found = reduced_over(_largest, -math.inf, read, source, (dim,), "tops")
    powers, summed = sum_over(lambda point: exp(read(point) - tops(others(point))), source, (dim,), "powers")
    logarithm = stage(others(extents_of(source)), lambda point: log(powers(point)), "logarithm")
    return reduction_kernel(
        layer,
        context,
        x,
        lambda point: read(point) - tops(others(point)) - logarithm(others(point)),
        [*found, *summed, ("logarithm", source.batch_lanes)],
        tuple(dict.fromkeys((dim, last))),
        tiled=not (lies_along(source, (dim,)) or source.batch_lanes or dim == last),
    )


def _base(core: Softmax, top: Expr) -> Expr:
    """What the exponents are taken less: the largest element, or a finite one below where all are masked."""
    return shared(top, lambda t: at_least(t, -LARGEST)) if core.zero_if_masked else top


def _divisor(core: Softmax, total: Expr) -> Expr:
    """The sum of the powers, which is 1 at least unless all are 0: then what leaves them 0."""
    return shared(total, lambda t: at_least(t, 1.0)) if core.zero_if_masked else total


@kernel_for(LayerNorm)
def layer_norm(layer: Layer, context: Context) -> Kernel:
    """Kernel of the normalisation over `dims`, which with batch lanes never include the batch."""
    core, source = layer.core, context.layout(layer.inputs[0])
    assert isinstance(core, LayerNorm)
    extents, last = extents_of(source), len(extents_of(source)) - 1
    read, x = reader_of(layer, context)
    share = constant(1.0 / math.prod(extents[dim] for dim in core.dims))

    def others(point: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(i for dim, i in enumerate(point) if dim not in core.dims)

    sums, summed = sum_over(read, source, core.dims, "sums") if core.centred else (None, [])
    if sums is not None:
        mean = stage(others(extents), lambda point: sums(point) * share, "mean")
        summed.append(("mean", source.batch_lanes))

    def deviation(point: Point) -> Expr:
        return read(point) if sums is None else read(point) - mean(others(point))

    squares, squared = sum_over(
        lambda point: deviation(point) * deviation(point), source, core.dims, "squares"
    )
    one, eps = constant(1.0), constant(core.eps)
    scale = stage(others(extents), lambda point: one / tirx.sqrt(squares(point) * share + eps), "scale")
    stages = [*summed, *squared, ("scale", source.batch_lanes)]
    along = lies_along(source, core.dims)
    return reduction_kernel(
        layer,
        context,
        x,
        lambda point: deviation(point) * scale(others(point)),
        stages,
        tuple(dict.fromkeys((*core.dims, last))),
        tiled=not (along or source.batch_lanes or last in core.dims),
    )
