"""Linear layers without batch lanes: the lanes hold neighbouring output features.

Best for: any number of rows, from one (the weights stream through once) to a long sequence (a tile
of rows by vectors of features stays in registers). Few rows wait for the weights: where the instruction set
can expand them under a mask, zeros are then left out of memory, and every weight that is kept is read once,
by all rows together. Otherwise every weight is multiplied, zeros too. With batch lanes the masked panels
serve linear layers instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from sparsegen.formats import masked_vectors
from sparsegen.formats.masked_vectors import MaskedVectors
from sparsegen.graph import Array, Layer, Linear
from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.linear_schedule import (
    FeatureTiles,
    LinearSchedule,
    WeightsAhead,
    schedule_linear,
)
from sparsegen.kernels.operands import Value, at_index, unravel, zero_outside
from sparsegen.kernels.registry import Context
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.kernel import Kernel
from sparsegen.stopwatch import part


def pack_features(matrix: Array, tiles: FeatureTiles) -> Array:
    """[out, n] as [tiles, n, features of a tile]: one stream of memory a tile; zeros past the last."""
    out, inner = matrix.shape
    count, _, _, vectors, lanes = tiles.space
    padded = np.zeros((count * vectors * lanes, inner), np.float32)
    padded[:out] = matrix
    return np.ascontiguousarray(padded.reshape(count, vectors * lanes, inner).transpose(0, 2, 1))


@part("packing weights")
def pack_linear(matrix: Array, tiles: FeatureTiles) -> Array | MaskedVectors:
    """[out, n] in the format of the tiles' schedule."""
    if tiles.format == masked_vectors.NAME:
        return masked_vectors.pack(matrix, vectors=tiles.tile_vectors, lanes=tiles.layout.lanes)
    return pack_features(matrix, tiles)


def plain_linear(layer: Layer, context: Context, knobs: LinearSchedule) -> Kernel:
    """The kernel of a linear layer from rows [..., in] to rows [..., out], under a schedule without fault."""
    core = layer.core
    assert isinstance(core, Linear)
    tiles = FeatureTiles.of(context.layout(layer.name), knobs)
    bias = np.zeros(len(core.weight), np.float32) if core.bias is None else core.bias
    packed, bias = pack_linear(core.weight, tiles), pack_features(bias[:, None], tiles)
    if isinstance(packed, MaskedVectors):
        weights = _masked(packed, tiles, context.target.instructions.expand)
    else:
        weights = _dense(packed, tiles)
    epilogue = context.epilogue(layer)
    source = context.value(layer.inputs[0])
    function = _expression(source, tiles, weights, core.weight.shape[1], epilogue)
    density = float(np.count_nonzero(core.weight)) / core.weight.size
    return Kernel(
        kind="linear",
        module=schedule_linear(function, vectorised=tiles.whole_vectors),
        store=tiles,
        arguments=(source.argument(), *weights.arrays, bias, *epilogue.arguments),
        format=knobs.format,
        density=density,
        weight_bytes=packed.nbytes,
        prefetch=WeightsAhead.of(tiles, density) if isinstance(packed, MaskedVectors) else None,
        schedule=knobs.as_dict(),
    )


@dataclass(frozen=True, eq=False)
class _Weights:
    """Packed weights as the expression reads them.

    `arrays` are the kernel's arguments, `placeholders` their parameters; `weight(point, k)` is the
    weight of a point's feature and an input feature.
    """

    arrays: tuple[NDArray[Any], ...]
    placeholders: tuple[Any, ...]
    weight: Callable[[tuple[Expr, ...], Expr], Expr]


def _dense(packed: Array, tiles: FeatureTiles) -> _Weights:
    weights = te.placeholder(packed.shape, name="weight")

    def weight(point: tuple[Expr, ...], k: Expr) -> Expr:
        return weights[point[0], k, point[3] * tiles.layout.lanes + point[4]]

    return _Weights((packed,), (weights,), weight)


def _masked(packed: MaskedVectors, tiles: FeatureTiles, expand: str) -> _Weights:
    """Vectors loaded where their values begin, and expanded: lanes have to become vectors.

    `expand` is the instruction set's. `starts` lead to a column's first vector, and the counts of kept
    weights from one to the next.
    """
    values = te.placeholder((1, te.var("values")), name="values")
    masks = te.placeholder(packed.masks.shape, "uint16", name="masks")
    starts = te.placeholder(packed.starts.shape, "int32", name="starts")
    none = tirx.const(0, "int32")

    def weight(point: tuple[Expr, ...], k: Expr) -> Expr:
        tile, _, _, vector, lane = point
        at = starts[tile, k]
        for before in range(tiles.tile_vectors - 1):
            count = tirx.popcount(masks[tile, k, before].astype("int32"))
            at = at + tirx.Select(vector > before, count, none)
        bit = (masks[tile, k, vector] >> lane.astype("uint16")) & tirx.const(1, "uint16")
        kept, loaded = bit != tirx.const(0, "uint16"), values[0, at + lane]
        # What is expanded is also what the other lanes keep: one register is read and written. With
        # zeros there, the instruction would wait for what its register held before.
        expanded = tirx.call_llvm_pure_intrin("float32", expand, loaded, loaded, kept)
        return tirx.Select(kept, expanded, tirx.const(0.0, "float32"))

    return _Weights((packed.values[None], packed.masks, packed.starts), (values, masks, starts), weight)


def _expression(source: Value, tiles: FeatureTiles, weights: _Weights, inner: int, epilogue: Epilogue) -> Any:
    """The function. Parameters: x, those of the weights, bias, the epilogue's operands, out."""
    x, lanes, out = source.placeholder(), tiles.layout.lanes, tiles.layout
    total = accumulator_of(source.layout.dtype)
    bias = te.placeholder((tiles.space[0], 1, tiles.tile_vectors * lanes), name="bias")
    k = te.reduce_axis((0, inner), name="k")

    def term(*point: Any) -> Any:
        # A last tile may stand over the last row: it computes that row again, and stores nothing.
        row = te.min(tiles.row(point), tiles.rows - 1)
        value = at_index(source, x, (*unravel(row, source.layout.shape[:-1]), k))
        return te.sum(value.astype(total) * weights.weight(point, k), axis=k)

    sums = te.compute(tiles.space, term, name="registers" if tiles.whole_vectors else "sums")

    def finish(*point: Any) -> Any:
        value = sums[point] + bias[point[0], 0, point[3] * lanes + point[4]]
        group, *coordinates = tiles.index(point)
        return zero_outside(out, tuple(coordinates), epilogue.apply(value, group, tuple(coordinates), 0))

    result = te.compute(tiles.space, finish, name="out")
    return te.create_prim_func([x, *weights.placeholders, bias, *epilogue.placeholders, result])
