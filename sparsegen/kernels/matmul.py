"""Products of two values, as attention has them: matrix by matrix, whatever the layout.

Vectors lie along the rows of the result, and so of the second matrix, the first one's elements being
broadcast; with batch lanes every lane multiplies the matrices of an image of its own. A product by a
weight is a linear layer, which other kernels serve.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tvm import te, tirx

from sparsegen.graph import Layer, MatMul
from sparsegen.kernels.linear_schedule import stored_features
from sparsegen.kernels.mathematics import constant
from sparsegen.kernels.matmul_schedule import ProductTiles, schedule_product
from sparsegen.kernels.operands import Constant, Operand, read
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.kernel import Kernel

Expr = Any
Point = tuple[Expr, ...]


@kernel_for(MatMul)
def matmul(layer: Layer, context: Context) -> Kernel:
    """The kernel of the products of the layer's two inputs."""
    core, out = layer.core, context.layout(layer.name)
    assert isinstance(core, MatMul)
    tiles, epilogue = ProductTiles.of(out, context.target), context.epilogue(layer)
    left, right = (context.operands[name] for name in layer.inputs)
    a, height = left.placeholder(), out.shape[-2]
    b = a if layer.inputs[0] == layer.inputs[1] else right.placeholder()
    k = te.reduce_axis((0, left.shape[-2 if core.transpose_a else -1]), name="k")
    second, packed = _second(right, b, tiles, transposed=core.transpose_b)

    def term(*point: Any) -> Any:
        row = tiles.row(point)
        if height % tiles.rows:  # a last tile computes the last row again, and stores nothing
            row = te.min(row, height - 1)
        first = (k, row) if core.transpose_a else (row, k)
        group, *coordinates = (*point[:-5], *first)
        return te.sum(read(left, a, group, tuple(coordinates), tiles.lane(point)) * second(point, k), axis=k)

    sums = te.compute(tiles.space, term, name="registers" if tiles.whole_vectors else "sums")

    def finish(*point: Any) -> Any:
        group, *coordinates = tiles.index(point)
        value = epilogue.apply(sums[point], group, tuple(coordinates), tiles.lane(point))
        holds = out.holds(tuple(coordinates))
        return value if holds is None else tirx.Select(holds, value, constant(0.0))

    result = te.compute(tiles.space, finish, name="out")
    parameters = [a] if b is a else [a, b]
    function = te.create_prim_func([*parameters, *epilogue.placeholders, result])
    arguments = dict.fromkeys(layer.inputs)
    return Kernel(
        kind="matmul",
        module=schedule_product(function, tiles, packed=packed, work=prod(tiles.space) * int(k.dom.extent)),
        store=tiles,
        arguments=(*(context.operands[name].argument() for name in arguments), *epilogue.arguments),
    )


def _second(right: Operand, b: Any, tiles: ProductTiles, *, transposed: bool) -> tuple[Any, bool]:
    """Reader of the second matrix, of (point, k), and whether it reads a stage that packs that.

    Packed are the columns of a tile, where neighbours of a row are not neighbours in memory.
    """
    width, last = right.shape[-2 if transposed else -1], tiles.row_vectors - 1

    def element(matrices: Point, k: Expr, column: Expr, lane: Expr) -> Expr:
        group, *coordinates = (*matrices, *((column, k) if transposed else (k, column)))
        return read(right, b, group, tuple(coordinates), lane)

    def direct(point: Point, k: Expr) -> Expr:
        vector = tiles.vector(point)
        if tiles.row_vectors % tiles.vectors:
            vector = te.min(vector, last)
        return element(point[:-5], k, tiles.column(vector, point[-1]), tiles.lane(point))

    if tiles.layout.batch_lanes or (not transposed and _has_whole_rows(right, tiles)):
        return direct, False
    depth = right.shape[-1 if transposed else -2]

    def copied(*point: Any) -> Any:
        *matrices, column_tile, inner, vector, lane = point
        column = tiles.column(column_tile * tiles.vectors + vector, lane)
        return element(tuple(matrices), inner, te.min(column, width - 1), 0)

    *matrices, columns, _, _, vectors, lanes = tiles.space
    stage = te.compute((*matrices, columns, depth, vectors, lanes), copied, name="packed")
    return lambda point, k: stage[(*point[:-4], k, *point[-2:])], True


def _has_whole_rows(right: Operand, tiles: ProductTiles) -> bool:
    """Whether the vectors of a result's row may be read of the operand's rows: there is room behind them."""
    if isinstance(right, Constant):
        return True
    return stored_features(right.layout) >= tiles.row_vectors * tiles.layout.lanes
