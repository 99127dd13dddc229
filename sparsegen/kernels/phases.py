"""Splitting an image by stride phase, for strided convolutions with pixel lanes."""

from __future__ import annotations

from typing import Any

from tvm import s_tir, te, tirx

from sparsegen.graph import Layer
from sparsegen.kernels.operands import pick
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.kernels.taps import SplitPhases
from sparsegen.lowering.kernel import Kernel, LayoutStore


@kernel_for(SplitPhases, "split_phases")
def split_phases(layer: Layer, context: Context) -> Kernel:
    """Kernel from [N, C, H, W] to [N, C * phases, H / stride, W / stride], rounded up."""
    split, source, out = layer.core, context.value(layer.inputs[0]), context.layout(layer.name)
    assert isinstance(split, SplitPhases)
    x, count = source.placeholder(), len(split.phases)
    height, width = source.layout.shape[2:]

    rows, columns = zip(*split.phases, strict=True)

    def element(n: Any, channel: Any, y: Any, x_out: Any) -> Any:
        which = channel % count
        at_y = y * split.stride[0] + pick(rows, which)
        at_x = x_out * split.stride[1] + pick(columns, which)
        value = x[n, source.layout.address((channel // count, at_y, at_x))]
        inside = tirx.And(at_y < height, at_x < width)
        return tirx.if_then_else(inside, value, tirx.const(0, out.dtype))

    function = te.create_prim_func([x, te.compute(out.space, element, name="out")])
    return Kernel(
        kind="split_phases",
        module=_schedule(function, whole=width // split.stride[1]),
        store=LayoutStore(out),
        arguments=(source.argument(),),
    )


def _schedule(function: Any, whole: int) -> Any:
    """Channels in parallel; the part of a row where all phases exist apart from its end.

    That part has no condition, and LLVM loads it in vectors that it takes apart with shuffles.
    """
    sch = s_tir.Schedule(function)
    n, channel, _, x = sch.get_loops(sch.get_sblock("out"))
    sch.parallel(sch.fuse(n, channel))
    if 0 < whole < int(sch.get(x).extent):
        sch.loop_partition(x, [whole, None])
    return sch.mod
