"""Mean over any dimensions."""

from __future__ import annotations

import math

from sparsegen.graph import Layer, Mean
from sparsegen.kernels.mathematics import constant
from sparsegen.kernels.reductions import (
    Expr,
    Point,
    extents_of,
    lies_along,
    reader_of,
    reduction_kernel,
    sum_over,
)
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.kernel import Kernel


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
