"""Grouped and depthwise convolutions: dense weights, a few output channels of one group at a time.

Best for: groups of few channels, where a panel would have no rows to share a loaded vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import te

from sparsegen.graph import Layer
from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.grouped_schedule import (
    GroupedProblem,
    GroupedSchedule,
    schedule_grouped,
)
from sparsegen.kernels.operands import pick
from sparsegen.kernels.panels.problem import PanelStore
from sparsegen.kernels.registry import Context
from sparsegen.lowering.kernel import Kernel, as_argument


def grouped_conv(layer: Layer, context: Context, knobs: GroupedSchedule) -> Kernel:
    """The kernel of a convolution with groups, weight [K, C / groups, kh, kw], under a faultless schedule."""
    problem = GroupedProblem.of(layer, context)
    conv, out, channels, columns = problem.conv, problem.out, problem.channels, problem.columns
    source = context.value(layer.inputs[0])
    height, width = problem.padded_pixels(knobs)
    step_y, step_x = source.layout.pixel_steps(conv.taps.stride)
    group_step = conv.taps.group_channels * source.layout.plane
    store = PanelStore(out, 1, (channels, *out.pixel_vectors), (channels, height, width), channels_last=False)
    epilogue = context.epilogue(layer)

    offset_of = conv.taps.offsets(source.layout)
    x, total = source.placeholder(), accumulator_of(source.layout.dtype)
    weights = te.placeholder((channels, columns), name="weights")
    offsets = [] if knobs.unrolled else [te.placeholder((columns,), "int32", name="offsets")]
    bias = te.placeholder((channels,), name="bias")
    j = te.reduce_axis((0, columns), name="j")

    def tap(g: Any, k: Any, y: Any, x_out: Any, lane: Any) -> Any:
        offset = offsets[0][j] if offsets else pick(offset_of.tolist(), j)
        at = offset + k // problem.per_group * group_step + y * step_y + x_out * step_x + lane
        return te.sum(weights[k, j] * x[g, at].astype(total), axis=j)

    sums = te.compute((out.groups, channels, height, width, out.lanes), tap, name="registers")

    def finish(g: Any, k: Any, row: Any, y: Any, x_out: Any, lane: Any) -> Any:
        value = sums[g, k, y, x_out, lane] + bias[k]
        return store.finished(value, epilogue, g, k, y, x_out, lane)

    result = te.compute((out.groups, channels, 1, height, width, out.lanes), finish, name="out")
    function = te.create_prim_func([x, weights, *offsets, bias, *epilogue.placeholders, result])
    biases = conv.bias if conv.bias is not None else np.zeros(channels, np.float32)
    arrays = (conv.matrix, *([] if knobs.unrolled else [offset_of]), biases)
    return Kernel(
        kind="grouped_conv",
        module=context.scheduled(function, schedule_grouped, knobs=knobs),
        store=store,
        arguments=(source.argument(), *map(as_argument, arrays), *epilogue.arguments),
        density=float(np.count_nonzero(conv.weight)) / conv.weight.size,
        weight_bytes=conv.weight.nbytes,
        schedule=knobs.as_dict(),
    )
