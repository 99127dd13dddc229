"""Linear layers without batch lanes: the lanes hold neighbouring output features.

Best for: any number of rows, from one (the weights stream through once) to a long sequence (a tile
of rows by vectors of features stays in registers). Every weight is multiplied, zeros too: with batch
lanes the masked panels serve linear layers instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from tvm import s_tir, te, tirx

from sparsegen.graph import Array, Layer, Linear
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.operands import Value, at_index, unravel, zero_outside
from sparsegen.kernels.registry import Context
from sparsegen.lowering.kernel import Kernel, Parameters
from sparsegen.lowering.layout import Layout
from sparsegen.target import Target

Expr = Any

_TALLEST = 6  # rows of a tile: more leave too few registers for vectors of features
_WIDEST = 8  # vectors of a tile: enough independent sums to hide a multiply-add's latency


@dataclass(frozen=True)
class FeatureTiles:
    """Output rows and features cut in tiles of `tile_rows` by `tile_vectors` vectors.

    Also the kernel's store: points are (feature tile, row tile, row, vector, lane), the last tiles
    not cut off.
    """

    layout: Layout
    tile_rows: int
    tile_vectors: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(groups, size)."""
        return self.layout.groups, self.layout.size

    @property
    def rows(self) -> int:
        """Rows of the output."""
        return prod(self.layout.shape[:-1])

    @property
    def stored(self) -> int:
        """Floats of a row that are stored: with an image's halo, and with the padding of other rows."""
        return stored_features(self.layout)

    @property
    def space(self) -> tuple[int, ...]:
        """Iteration space of whole tiles."""
        lanes = self.layout.lanes
        tiles = -(-self.stored // (self.tile_vectors * lanes))
        return tiles, -(-self.rows // self.tile_rows), self.tile_rows, self.tile_vectors, lanes

    @property
    def whole_vectors(self) -> bool:
        """Whether a row's stored floats are whole vectors, none with a halo's zeros in some lanes."""
        halo = self.layout.is_image and self.layout.row > self.layout.shape[-1]
        return self.stored % self.layout.lanes == 0 and not halo

    def row(self, point: tuple[Expr, ...]) -> Expr:
        """Row of a point, counted over the whole batch."""
        return point[1] * self.tile_rows + point[2]

    def feature(self, point: tuple[Expr, ...]) -> Expr:
        """Output feature of a point."""
        return (point[0] * self.tile_vectors + point[3]) * self.layout.lanes + point[4]

    def index(self, point: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """A point's index in the output, batch first."""
        return (*unravel(self.row(point), self.layout.shape[:-1]), self.feature(point))

    def __call__(
        self, point: tuple[Expr, ...], parameters: Parameters
    ) -> tuple[tuple[Expr, ...], Expr | None]:
        """(group, address), and the condition under which the row and the feature are stored."""
        group, *coordinates = self.index(point)
        tests = [] if self.rows % self.tile_rows == 0 else [self.row(point) < self.rows]
        if not self.whole_vectors:
            tests.append(self.feature(point) < self.stored)
        elif self.space[0] * self.tile_vectors * self.layout.lanes > self.stored:
            tests.append(point[0] * self.tile_vectors + point[3] < self.stored // self.layout.lanes)
        return (group, self.layout.address(tuple(coordinates))), tirx.all(*tests) if tests else None


def stored_features(layout: Layout) -> int:
    """Floats that a linear layer stores for each of its rows."""
    if layout.is_image:
        return layout.row
    features = layout.shape[-1]
    return -(-features // layout.lanes) * layout.lanes if len(layout.shape) > 1 else features


def choose_tiles(layout: Layout, target: Target, threads: int) -> FeatureTiles:
    """Tiles that fill the registers, waste few rows, and leave every thread some."""
    rows, vectors = prod(layout.shape[:-1]), -(-stored_features(layout) // layout.lanes)
    heights = range(_TALLEST, 3, -1) if rows >= _TALLEST else [rows]
    tile_rows = min(heights, key=lambda height: -(-rows // height) * height)
    # Of the registers, one vector of each tile column holds weights, and one broadcasts an input.
    fitting = min(_WIDEST, (target.registers - 1) // (tile_rows + 1))
    tasks = -(-threads * tile_rows // rows)
    tiles = max(-(-vectors // fitting), min(tasks, vectors))
    return FeatureTiles(layout, tile_rows, -(-vectors // tiles))


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
    tiles = choose_tiles(context.layout(layer.name), context.target, context.threads)
    bias = np.zeros(len(core.weight), np.float32) if core.bias is None else core.bias
    weight, bias = pack_features(core.weight, tiles), pack_features(bias[:, None], tiles)
    epilogue = context.epilogue(layer)
    source = context.value(layer.inputs[0])
    function = _expression(source, tiles, weight.shape, epilogue)
    return Kernel(
        kind="linear",
        module=_schedule(function, vectorised=tiles.whole_vectors),
        store=tiles,
        arguments=(source.argument(), weight, bias, *epilogue.arguments),
        density=float(np.count_nonzero(core.weight)) / core.weight.size,
        weight_bytes=weight.nbytes,
        schedule={"rows": tiles.tile_rows, "vectors": tiles.tile_vectors},
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


def _schedule(function: Any, *, vectorised: bool) -> Any:
    """Tiles in parallel, those of the same weights one after the other; a tile's sums in registers."""
    sch = s_tir.Schedule(function)
    out, sums = sch.get_sblock("out"), sch.get_sblock("registers" if vectorised else "sums")
    feature_tile, row_tile, *inner = sch.get_loops(out)
    tile = sch.fuse(feature_tile, row_tile)
    sch.parallel(tile)
    sch.compute_at(sums, tile, preserve_unit_loops=True)
    *own, k = sch.get_loops(sums)[1:]
    sch.reorder(k, *own)
    for *unrolled, lane in (own, inner) if vectorised else (own,):
        for loop in unrolled:
            sch.unroll(loop)
        sch.vectorize(lane)
    sch.decompose_reduction(sums, k)
    return sch.mod
