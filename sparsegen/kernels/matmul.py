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
from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.linear_schedule import stored_features
from sparsegen.kernels.mathematics import constant
from sparsegen.kernels.matmul_schedule import ProductTiles, schedule_product
from sparsegen.kernels.operands import Constant, Operand, read
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.kernel import Kernel

Point = tuple[Expr, ...]


@kernel_for(MatMul)
def matmul(layer: Layer, context: Context) -> Kernel:
    """The kernel of the products of the layer's two inputs."""
    core, out = layer.core, context.layout(layer.name)
    assert isinstance(core, MatMul)
    tiles, epilogue = ProductTiles.of(out, context.target), context.epilogue(layer)
    left, right = (context.operands[name] for name in layer.inputs)
    total = accumulator_of(out.dtype)
    a, height = left.placeholder(), out.shape[-2]
    b = a if layer.inputs[0] == layer.inputs[1] else right.placeholder()
    k = te.reduce_axis((0, left.shape[-2 if core.transpose_a else -1]), name="k")
    second = _Second(right, b, tiles, transposed=core.transpose_b, l1_bytes=context.target.l1_bytes)

    def term(*point: Any) -> Any:
        row = tiles.row(point)
        if height % tiles.rows:  # a last tile computes the last row again, and stores nothing
            row = te.min(row, height - 1)
        first: tuple[Expr, Expr] = (k, row) if core.transpose_a else (row, k)
        index = (*point[:-5], *first)
        element = read(left, a, index[0], index[1:], tiles.lane(point))
        return te.sum(element.astype(total) * second.read(point, k).astype(total), axis=k)

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
        module=schedule_product(
            function,
            tiles,
            packing=("rows" if second.whole else "elements") if second.packed else None,
            work=prod(tiles.space) * int(k.dom.extent),
        ),
        store=tiles,
        arguments=(*(context.operands[name].argument() for name in arguments), *epilogue.arguments),
    )


class _Second:
    """The second matrix as the products read it: in place, or the columns of a tile packed side by side.

    It is packed where neighbours of a row are not neighbours in memory; and where a tile takes a part of
    rows that together are larger than the L1 cache: such parts crowd in few of its sets. `whole` tells
    whether vectors of its rows may be read at once, as there is room behind a row's end.
    """

    def __init__(
        self, operand: Operand, tensor: Any, tiles: ProductTiles, *, transposed: bool, l1_bytes: int
    ) -> None:
        self._operand, self._tensor, self._tiles, self._transposed = operand, tensor, tiles, transposed
        depth, self._width = operand.shape[-2:][:: -1 if transposed else 1]
        batch_lanes, row = tiles.layout.batch_lanes, tiles.row_vectors * tiles.layout.lanes
        has_room = isinstance(operand, Constant) or stored_features(operand.layout) >= row
        self.whole = not transposed and has_room
        crowded = tiles.vectors < tiles.row_vectors and tiles.layout.itemsize * depth * row > l1_bytes
        self.packed = not batch_lanes and (not self.whole or crowded)
        if self.packed:
            *matrices, columns, _, _, vectors, lanes = tiles.space
            space = (*matrices, columns, depth, vectors, lanes)
            self._stage = te.compute(space, self._copied, name="packed")

    def read(self, point: Point, k: Expr) -> Expr:
        """The element of row `k` in the column of a point."""
        if self.packed:
            return self._stage[(*point[:-4], k, *point[-2:])]
        return self._element(point[:-5], k, self._tiles.vector(point), point[-1])

    def _copied(self, *point: Any) -> Expr:
        *matrices, column_tile, k, vector, lane = point
        return self._element(tuple(matrices), k, column_tile * self._tiles.vectors + vector, lane)

    def _element(self, matrices: Point, k: Expr, vector: Expr, lane: Expr) -> Expr:
        """The element of a row's vector; past the last vector, or column, that one again."""
        tiles = self._tiles
        if tiles.row_vectors % tiles.vectors:
            vector = te.min(vector, tiles.row_vectors - 1)
        column = tiles.column(vector, lane)
        if not (self.whole or tiles.layout.batch_lanes):
            column = te.min(column, self._width - 1)
        element = (column, k) if self._transposed else (k, column)
        index = (*matrices, *element)
        image = lane if tiles.layout.batch_lanes else 0
        return read(self._operand, self._tensor, index[0], index[1:], image)
