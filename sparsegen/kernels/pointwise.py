"""Pointwise layers: an epilogue on its own.

Best for: the few pointwise operators that no producer could take as its epilogue.
"""

from __future__ import annotations

from typing import Any

from tvm import te

from sparsegen.graph import Identity, Layer
from sparsegen.kernels.loops import parallel_rows
from sparsegen.kernels.operands import read, zero_outside
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.kernel import Kernel, LayoutStore


@kernel_for(Identity, "pointwise")
def pointwise(layer: Layer, context: Context) -> Kernel:
    """Kernel of `layer.shape` that broadcasts its input and applies the steps."""
    source, out = context.operands[layer.inputs[0]], context.layout(layer.name)
    epilogue = context.epilogue(layer)
    x = source.placeholder()

    def element(*point: Any) -> Any:
        coordinates, lane = out.coordinates(point), out.lane(point)
        value = read(source, x, point[0], coordinates, lane)
        return zero_outside(out, coordinates, epilogue.apply(value, point[0], coordinates, lane))

    result = te.compute(out.space, element, name="out")
    function = te.create_prim_func([x, *epilogue.placeholders, result])
    return Kernel(
        kind="pointwise",
        module=context.scheduled(function, parallel_rows, batch_lanes=out.batch_lanes),
        store=LayoutStore(out),
        arguments=(source.argument(), *epilogue.arguments),
    )
