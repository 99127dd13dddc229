"""Mean, sum, largest, smallest and others over any dimensions."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from tvm import te, tirx

from sparsegen.graph import Layer, Mean, Reduce
from sparsegen.kernels.logarithms import log
from sparsegen.kernels.mathematics import (
    LARGEST,
    absolute,
    clamp,
    constant,
    exp,
    maximum,
    minimum,
    shared,
)
from sparsegen.kernels.reductions import (
    Point,
    Reader,
    Stages,
    extents_of,
    lies_along,
    reader_of,
    reduced_over,
    reduction_kernel,
    stage,
    sum_over,
)
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Layout

T = TypeVar("T")


def _reducer(combine: Any, neutral: float, name: str) -> Any:
    return te.comm_reducer(combine, lambda dtype: tirx.const(neutral, dtype), name=name)


_REDUCERS = {
    "max": (_reducer(maximum, -math.inf, "largest"), -math.inf),
    "min": (_reducer(minimum, math.inf, "smallest"), math.inf),
    "prod": (_reducer(lambda a, b: a * b, 1.0, "product"), 1.0),
}
"""Of each kind the reducer, and the number that changes no result."""


@kernel_for(Mean)
def mean(layer: Layer, context: Context) -> Kernel:
    """Kernel of the mean over `dims`, which with batch lanes never include the batch."""
    core, source, out = layer.core, context.layout(layer.inputs[0]), context.layout(layer.name)
    assert isinstance(core, Mean)
    extents, dims = extents_of(source), core.dims
    read, x = reader_of(layer, context)
    sums, stages = sum_over(read, source, dims, "sums")
    scale = constant(1.0 / math.prod(extents[dim] for dim in dims))
    kept = [dim for dim in range(len(extents)) if dim not in dims]

    def value(point: Point) -> Expr:
        return sums(tuple(point[dim] for dim in kept) if core.keepdim else point) * scale

    rank = len(out.space)
    inner = () if lies_along(source, dims) and out.holds((0,) * rank) is None else (rank - 1,)
    return reduction_kernel(layer, context, x, value, stages, inner)


@kernel_for(Reduce)
def reduce(layer: Layer, context: Context) -> Kernel:
    """Kernel of a reduction over `dims`, which with batch lanes never include the batch."""
    core, source, out = layer.core, context.layout(layer.inputs[0]), context.layout(layer.name)
    assert isinstance(core, Reduce)
    dims = core.dims
    read, x = reader_of(layer, context)
    result, stages = _reduction(core, read, source)
    kept = [dim for dim in range(len(extents_of(source))) if dim not in dims]

    def value(point: Point) -> Expr:
        return result(tuple(point[dim] for dim in kept) if core.keepdim else point)

    rank = len(out.space)
    inner = () if lies_along(source, dims) and out.holds((0,) * rank) is None else (rank - 1,)
    return reduction_kernel(layer, context, x, value, stages, inner)


def _reduction(core: Reduce, read: Reader, source: Layout) -> tuple[Reader, Stages]:
    """Reader of the results by the dimensions that are kept, and the stages."""
    if core.kind == "sum":
        return sum_over(read, source, core.dims, "reduced")
    if core.kind in _REDUCERS:
        reducer, neutral = _REDUCERS[core.kind]
        return reduced_over(reducer, neutral, read, source, core.dims, "reduced")
    if core.kind == "magnitudes":
        return sum_over(lambda point: absolute(read(point)), source, core.dims, "reduced")
    if core.kind == "squares":
        return sum_over(lambda point: read(point) * read(point), source, core.dims, "reduced")
    if core.kind == "deviations":
        return _deviations(core, read, source)
    return _logsumexp(core, read, source)


def _deviations(core: Reduce, read: Reader, source: Layout) -> tuple[Reader, Stages]:
    """The sum of squared differences from the mean."""
    extents = extents_of(source)
    share = constant(1.0 / math.prod(extents[dim] for dim in core.dims))
    sums, summed = sum_over(read, source, core.dims, "sums")

    def square(point: Point) -> Expr:
        mean = sums(_others(core, point)) * share
        return shared(read(point) - mean, lambda difference: difference * difference)

    squares, squared = sum_over(square, source, core.dims, "squares")
    return squares, [*summed, *squared]


def _logsumexp(core: Reduce, read: Reader, source: Layout) -> tuple[Reader, Stages]:
    """The logarithm of the sum of powers, taken less the largest element, or a finite one near it."""
    reducer, neutral = _REDUCERS["max"]
    tops, found = reduced_over(reducer, neutral, read, source, core.dims, "tops")

    def base(point: Point) -> Expr:
        return clamp(tops(point), -LARGEST, LARGEST)

    powers, summed = sum_over(
        lambda point: exp(read(point) - base(_others(core, point))), source, core.dims, "powers"
    )
    kept = _others(core, extents_of(source))
    logarithm = stage(kept, lambda point: base(point) + log(powers(point)), "logarithm")
    return logarithm, [*found, *summed, ("logarithm", source.batch_lanes)]


def _others(core: Reduce, point: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(i for dim, i in enumerate(point) if dim not in core.dims)
