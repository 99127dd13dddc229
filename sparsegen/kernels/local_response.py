"""Local response norm: each element over a power of the squares in the channels around it.

Best for: the few layers of AlexNet's time that have it. Squares are summed a row at a time, one channel of
the window after the other, so that every pass is vectors along the row, or of images.
"""

from __future__ import annotations

from typing import Any

from tvm import s_tir, te, tirx

from sparsegen.graph import Layer, LocalResponseNorm
from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.loops import extent, parallel
from sparsegen.kernels.mathematics import constant, shared
from sparsegen.kernels.planes import Pixels, position
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.kernel import Kernel, LayoutStore


@kernel_for(LocalResponseNorm, "local_response_norm")
def local_response_norm(layer: Layer, context: Context) -> Kernel:
    """Kernel of the norm; its power is a multiple of 1/4."""
    core, source, out = layer.core, context.value(layer.inputs[0]), context.layout(layer.name)
    assert isinstance(core, LocalResponseNorm)
    x, layout, epilogue = source.placeholder(), source.layout, context.epilogue(layer)
    assert layout.strides == out.strides, "images of one size have one layout"
    channels, before = layout.shape[1], core.size // 2
    pixels = Pixels(layout, layout.shape[2] * layout.row)
    k, total = te.reduce_axis((0, core.size), name="k"), accumulator_of(layout.dtype)

    def square(*point: Expr) -> Expr:
        channel, *pixel = out.coordinates(point)
        at = channel + k - before
        value = x[point[0], layout.address((at, *pixel), out.lane(point))].astype(total)
        return te.sum(tirx.if_then_else(tirx.And(at >= 0, at < channels), value * value, 0.0), axis=k)

    squares = te.compute(out.space, square, name="squares")
    scale, bias = constant(core.alpha / core.size), constant(core.bias)

    def element(*point: Expr) -> Expr:
        coordinates, lane = out.coordinates(point), out.lane(point)
        value = x[point[0], layout.address(coordinates, lane)]
        value = value / power(squares[point] * scale + bias, core.beta)
        value = epilogue.apply(value, point[0], coordinates, lane)
        return pixels.only(value, position(layout, coordinates))

    result = te.compute(out.space, element, name="out")
    function = te.create_prim_func([x, *pixels.tables, *epilogue.placeholders, result])
    return Kernel(
        kind="local_response_norm",
        module=_schedule(function, batch_lanes=layout.batch_lanes),
        store=LayoutStore(out),
        arguments=(source.argument(), *pixels.arrays, *epilogue.arguments),
    )


def power(base: Expr, exponent: float) -> Expr:
    """The base, not negative, to the power of a positive multiple of 1/4."""
    whole, quarters = divmod(round(4 * exponent), 4)
    assert whole + quarters / 4 == exponent

    def of_base(value: Expr) -> Expr:
        def of_root(root: Expr) -> Expr:
            factors = [value] * whole + [root] * (quarters // 2) + [tirx.sqrt(root)] * (quarters % 2)
            first, *others = factors
            for factor in others:
                first = first * factor
            return first

        return shared(tirx.sqrt(value), of_root) if quarters else of_root(value)

    return shared(base, of_base)


def _schedule(function: Any, *, batch_lanes: bool) -> Any:
    """Channels in parallel; the window's channels outside the loops over pixels, which are vectorised.

    With batch lanes squares are summed a row at a time, which the L1 cache holds; else LLVM vectorises the
    loop over a plane.
    """
    sch = s_tir.Schedule(function)
    group, channel, row, column, *lanes = sch.get_loops(sch.get_sblock("out"))
    work = extent(sch, [group, channel, row, column, *lanes])
    (task,) = parallel(sch, [group, channel], work=work)
    squares = sch.get_sblock("squares")
    sch.compute_at(squares, row if batch_lanes else task, preserve_unit_loops=True)
    *_, outer, inner, k = sch.get_loops(squares)
    sch.reorder(k, outer, inner)
    for pair in ((row, column, *lanes)[-2:], (outer, inner)):
        if batch_lanes:
            sch.vectorize(pair[-1])
        else:
            sch.fuse(*pair)
    sch.decompose_reduction(squares, k)
    return sch.mod
