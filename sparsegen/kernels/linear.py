"""Linear layers without batch lanes: the lanes hold neighbouring output features.

Best for: any number of rows, from one (the weights stream through once) to a long sequence (a tile
of rows by vectors of features stays in registers). Every weight is multiplied, zeros too: with batch
lanes the masked panels serve linear layers instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import te

from sparsegen.graph import Array, Layer, Linear
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.linear_schedule import FeatureTiles, LinearSchedule, default_linear, schedule_linear
from sparsegen.kernels.operands import Value, at_index, unravel, zero_outside
from sparsegen.kernels.registry import Context
from sparsegen.lowering.kernel import Kernel
from sparsegen.lowering.layout import Layout
from sparsegen.target import Target

Expr = Any


def choose_tiles(layout: Layout, target: Target, threads: int) -> FeatureTiles:
    """The tiles of an output without tuning."""
    return FeatureTiles.of(layout, default_linear(layout, target, threads))


def pack_features(matrix: Array, tiles: FeatureTiles) -> Array:
    """[out, n] as [tiles, n, features of a tile]: one stream of memory a tile; zeros past the last."""
    out, inner = matrix.shape
    count, _, _, vectors, lanes = tiles.space
    padded = np.zeros((count * vectors * lanes, inner), np.float32)
    padded[:out] = matrix
    return np.ascontiguousarray(padded.reshape(count, vectors * lanes, inner).transpose(0, 2, 1))


def plain_linear(layer: Layer, context: Context) -> Kernel:
    """The kernel of a linear layer from rows [..., in] to rows [..., out]."""
    core = layer.core
    assert isinstance(core, Linear)
    layout, knobs = context.layout(layer.name), context.schedules.get(layer.name)
    if not isinstance(knobs, LinearSchedule):
        knobs = default_linear(layout, context.target, context.threads)
    tiles = FeatureTiles.of(layout, knobs)
    bias = np.zeros(len(core.weight), np.float32) if core.bias is None else core.bias
    weight, bias = pack_features(core.weight, tiles), pack_features(bias[:, None], tiles)
    epilogue = context.epilogue(layer)
    source = context.value(layer.inputs[0])
    function = _expression(source, tiles, weight.shape, epilogue)
    return Kernel(
        kind="linear",
        module=schedule_linear(function, vectorised=tiles.whole_vectors),
        store=tiles,
        arguments=(source.argument(), weight, bias, *epilogue.arguments),
        density=float(np.count_nonzero(core.weight)) / core.weight.size,
        weight_bytes=weight.nbytes,
        schedule=knobs.as_dict(),
    )


def _expression(source: Value, tiles: FeatureTiles, weight_shape: tuple[int, ...], epilogue: Epilogue) -> Any:
    """The function. Parameters: x, weight, bias, the epilogue's operands, out."""
    x, lanes, out = source.placeholder(), tiles.layout.lanes, tiles.layout
    weight = te.placeholder(weight_shape, name="weight")
    bias = te.placeholder((weight_shape[0], 1, weight_shape[2]), name="bias")
    k = te.reduce_axis((0, weight_shape[1]), name="k")

    def term(*point: Any) -> Any:
        # A last tile may stand over the last row: it computes that row again, and stores nothing.
        row = te.min(tiles.row(point), tiles.rows - 1)
        value = at_index(source, x, (*unravel(row, source.layout.shape[:-1]), k))
        return te.sum(value * weight[point[0], k, point[3] * lanes + point[4]], axis=k)

    sums = te.compute(tiles.space, term, name="registers" if tiles.whole_vectors else "sums")

    def finish(*point: Any) -> Any:
        value = sums[point] + bias[point[0], 0, point[3] * lanes + point[4]]
        group, *coordinates = tiles.index(point)
        return zero_outside(out, tuple(coordinates), epilogue.apply(value, group, tuple(coordinates), 0))

    result = te.compute(tiles.space, finish, name="out")
    return te.create_prim_func([x, weight, bias, *epilogue.placeholders, result])
