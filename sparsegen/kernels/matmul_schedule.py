"""How products of two values run: tiles of rows by vectors, whose sums stay in registers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

from tvm import s_tir

from sparsegen.kernels.linear_schedule import stored_features
from sparsegen.kernels.loops import parallel
from sparsegen.kernels.operands import all_of
from sparsegen.lowering.expressions import Condition, Expr, IntExpr
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.store import Parameters
from sparsegen.target import Target

_LARGEST = 8  # rows, and vectors, of a tile
_LATENCY = 4.0  # cycles of a multiply-add, which the sums of a tile wait for


@dataclass(frozen=True)
class ProductTiles:
    """The matrices of a result cut in tiles of `rows` by `vectors`, the last tiles not cut off.

    A vector holds one element of as many images with batch lanes, else neighbours of a row. Also the
    kernel's store: points are (matrix..., column tile, row tile, row, vector, lane).
    """

    layout: Layout
    rows: int
    vectors: int

    @staticmethod
    def of(layout: Layout, target: Target) -> ProductTiles:
        """The tiles that take the fewest cycles: multiply-adds, loads, or waiting for the last sum."""
        height, width = layout.shape[-2], _row_vectors(layout)

        def cycles(tile: tuple[int, int]) -> float:
            rows, vectors = tile
            step = max(rows * vectors / target.fmas, (rows + vectors) / target.loads, _LATENCY)
            return -(-height // rows) * -(-width // vectors) * step

        fitting = [
            (rows, vectors)
            for rows, vectors in itertools.product(range(1, _LARGEST + 1), repeat=2)
            # The sums, a vector of the second matrix for each column of them, and one of the first.
            if (rows + 1) * vectors + 1 <= target.registers and rows <= height and vectors <= width
        ]
        return ProductTiles(layout, *min(fitting, key=cycles))

    @property
    def shape(self) -> tuple[int, ...]:
        """(groups, size)."""
        return self.layout.groups, self.layout.size

    @property
    def matrices(self) -> tuple[int, ...]:
        """Dimensions before the matrices': with batch lanes the first is the groups."""
        first = (self.layout.groups,) if self.layout.batch_lanes else self.layout.shape[:1]
        return (*first, *self.layout.shape[1:])[:-2]

    @property
    def space(self) -> tuple[int, ...]:
        """Iteration space of whole tiles."""
        columns, rows = -(-self.row_vectors // self.vectors), -(-self.layout.shape[-2] // self.rows)
        return *self.matrices, columns, rows, self.rows, self.vectors, self.layout.lanes

    @property
    def row_vectors(self) -> int:
        """Vectors of a row."""
        return _row_vectors(self.layout)

    @property
    def whole_vectors(self) -> bool:
        """Whether vectors store only what belongs to a row, be it the halo after it."""
        return self.layout.batch_lanes or stored_features(self.layout) % self.layout.lanes == 0

    def row(self, point: tuple[Expr, ...]) -> Expr:
        """Row of a point."""
        return point[-4] * self.rows + point[-3]

    def vector(self, point: tuple[Expr, ...]) -> Expr:
        """Which vector of its row a point is in."""
        return point[-5] * self.vectors + point[-2]

    def column(self, vector: Expr, lane: Expr) -> Expr:
        """Column of an element of a row's vector."""
        return vector if self.layout.batch_lanes else vector * self.layout.lanes + lane

    def index(self, point: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """A point's index in the output, group first, without the lane of an image."""
        return *point[:-5], self.row(point), self.column(self.vector(point), point[-1])

    def lane(self, point: tuple[Expr, ...]) -> IntExpr:
        """The image of a point in its group: 0 without batch lanes."""
        return point[-1] if self.layout.batch_lanes else 0

    def __call__(
        self, point: tuple[Expr, ...], parameters: Parameters
    ) -> tuple[tuple[IntExpr, ...], Condition | None]:
        """(group, address), and the condition under which the row and the column are stored."""
        group, *coordinates = self.index(point)
        tests = []
        if self.layout.shape[-2] % self.rows:
            tests.append(self.row(point) < self.layout.shape[-2])
        if not self.whole_vectors:
            tests.append(self.index(point)[-1] < stored_features(self.layout))
        elif self.row_vectors % self.vectors:
            tests.append(self.vector(point) < self.row_vectors)
        address = self.layout.address(tuple(coordinates), self.lane(point))
        return (group, address), all_of(tests)


def _row_vectors(layout: Layout) -> int:
    return layout.shape[-1] if layout.batch_lanes else -(-stored_features(layout) // layout.lanes)


def schedule_product(
    function: Any, tiles: ProductTiles, *, packing: Literal["rows", "elements"] | None, work: int
) -> Any:
    """The scheduled module: tiles in parallel, those of the same columns one after the other.

    A tile's sums stay in registers. Where the second matrix is packed, by vectors of its rows or element
    by element, the tiles of the same columns are one task, which begins with that. `work` is in
    multiply-adds.
    """
    vectorised = tiles.whole_vectors
    sch = s_tir.Schedule(function)
    out, sums = sch.get_sblock("out"), sch.get_sblock("registers" if vectorised else "sums")
    *tasks, row_tile, row, vector, lane = sch.get_loops(out)
    (task,) = parallel(sch, tasks if packing else [*tasks, row_tile], work=work)
    sch.compute_at(sums, row_tile if packing else task, preserve_unit_loops=True)
    if packing:
        packed = sch.get_sblock("packed")
        sch.compute_at(packed, task, preserve_unit_loops=True)
        if packing == "rows":
            sch.vectorize(sch.get_loops(packed)[-1])
    *own, own_lane, k = sch.get_loops(sums)[-4:]
    sch.reorder(k, *own, own_lane)
    for *unrolled, last in ((*own, own_lane), (row, vector, lane)) if vectorised else ((*own, own_lane),):
        for loop in unrolled:
            sch.unroll(loop)
        sch.vectorize(last)
    sch.decompose_reduction(sums, k)
    return sch.mod
