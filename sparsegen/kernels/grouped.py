"""Grouped and depthwise convolutions: dense weights, one output channel at a time.

Best for: groups of few channels, where a panel would have no rows to share a loaded vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import s_tir, te

from sparsegen.graph import Layer
from sparsegen.kernels.panels.problem import PanelStore
from sparsegen.kernels.registry import Context
from sparsegen.kernels.taps import TapConv2d
from sparsegen.lowering.kernel import Kernel, as_argument

_TILE = 8  # accumulators: enough to hide the latency of a multiply-add, few enough for 16 registers


def grouped_conv(layer: Layer, context: Context) -> Kernel:
    """The kernel of a convolution with groups; weight [K, C / groups, kh, kw]."""
    conv, out = layer.core, context.layout(layer.name)
    assert isinstance(conv, TapConv2d)
    source = context.value(layer.inputs[0])
    channels, columns = conv.matrix.shape
    height, width = out.pixel_vectors
    step_y, step_x = source.layout.pixel_steps(conv.taps.stride)
    tile = min(_TILE, width)
    padded = -(-width // tile) * tile
    group_step = conv.taps.group_channels * source.layout.plane
    store = PanelStore(out, 1, (channels, height, width), (channels, height, padded), channels_last=False)
    epilogue = context.epilogue(layer)

    x = source.placeholder()
    weights = te.placeholder((channels, columns), name="weights")
    offsets = te.placeholder((columns,), "int32", name="offsets")
    bias = te.placeholder((channels,), name="bias")
    j = te.reduce_axis((0, columns), name="j")
    per_group = channels // conv.groups

    def tap(g: Any, k: Any, y: Any, x_out: Any, lane: Any) -> Any:
        at = offsets[j] + k // per_group * group_step + y * step_y + x_out * step_x + lane
        return te.sum(weights[k, j] * x[g, at], axis=j)

    sums = te.compute((out.groups, channels, height, padded, out.lanes), tap, name="registers")

    def finish(g: Any, k: Any, row: Any, y: Any, x_out: Any, lane: Any) -> Any:
        value = sums[g, k, y, x_out, lane] + bias[k]
        return store.finished(value, epilogue, g, k, y, x_out, lane)

    result = te.compute((out.groups, channels, 1, height, padded, out.lanes), finish, name="out")
    function = te.create_prim_func([x, weights, offsets, bias, *epilogue.placeholders, result])
    biases = conv.bias if conv.bias is not None else np.zeros(channels, np.float32)
    arrays = (conv.matrix, conv.taps.offsets(source.layout), biases)
    return Kernel(
        kind="grouped_conv",
        module=_schedule(function, tile),
        store=store,
        arguments=(source.argument(), *map(as_argument, arrays), *epilogue.arguments),
        density=float(np.count_nonzero(conv.weight)) / conv.weight.size,
        weight_bytes=conv.weight.nbytes,
        schedule={"tile_w": tile},
    )


def _schedule(function: Any, tile: int) -> Any:
    """Channels and rows in parallel; a tile of a row accumulates in registers over all taps."""
    sch = s_tir.Schedule(function)
    out, sums = sch.get_sblock("out"), sch.get_sblock("registers")
    g, k, row, y, x_out, lane = sch.get_loops(out)
    x_out, pixel = sch.split(x_out, [None, tile])
    sch.parallel(sch.fuse(g, k, row, y))
    sch.unroll(pixel)
    sch.vectorize(lane)
    sch.compute_at(sums, x_out, preserve_unit_loops=True)
    pixel, lane, j = sch.get_loops(sums)[-3:]
    sch.reorder(j, pixel, lane)
    sch.unroll(pixel)
    sch.vectorize(lane)
    sch.decompose_reduction(sums, j)
    return sch.mod
