"""How linear layers without batch lanes run: tiles of rows by features, and which tiles may be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from math import prod
from typing import Any

from tvm import s_tir, tirx

from sparsegen.graph import Layer, Linear
from sparsegen.kernels.features import implied
from sparsegen.kernels.operands import unravel
from sparsegen.kernels.registry import Context
from sparsegen.kernels.space import Point, Space
from sparsegen.lowering.kernel import Parameters
from sparsegen.lowering.layout import Layout
from sparsegen.target import Target

Expr = Any

_TALLEST = 6  # rows of a tile: more leave too few registers for vectors of features
_WIDEST = 8  # vectors of a tile: enough independent sums to hide a multiply-add's latency
_ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14)
_VECTORS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15)


@dataclass(frozen=True)
class LinearSchedule:
    """One schedule of a linear layer without batch lanes.

    rows, vectors: of a tile, whose rows x vectors sums stay in registers. What else could be chosen,
    the tiles' order and how far the sum is unrolled, was measured, and changes nothing.
    """

    rows: int
    vectors: int

    def as_dict(self) -> Point:
        """Knob by name."""
        return asdict(self)


@dataclass(frozen=True)
class FeatureTiles:
    """Output rows and features cut in tiles of `tile_rows` by `tile_vectors` vectors.

    Also the kernel's store: points are (feature tile, row tile, row, vector, lane), the last tiles
    not cut off.
    """

    layout: Layout
    tile_rows: int
    tile_vectors: int

    @staticmethod
    def of(layout: Layout, schedule: LinearSchedule) -> FeatureTiles:
        """The tiles of a schedule."""
        return FeatureTiles(layout, schedule.rows, schedule.vectors)

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


def default_linear(layout: Layout, target: Target, threads: int) -> LinearSchedule:
    """Without tuning: tiles that fill the registers, waste few rows, and leave every thread some."""
    rows, vectors = prod(layout.shape[:-1]), -(-stored_features(layout) // layout.lanes)
    heights = range(_TALLEST, 3, -1) if rows >= _TALLEST else [rows]
    tile_rows = min(heights, key=lambda height: -(-rows // height) * height)
    # Of the registers, one vector of each tile column holds weights, and one broadcasts an input.
    fitting = min(_WIDEST, (target.registers - 1) // (tile_rows + 1))
    tasks = -(-threads * tile_rows // rows)
    tiles = max(-(-vectors // fitting), min(tasks, vectors))
    return LinearSchedule(tile_rows, -(-vectors // tiles))


def linear_space(layer: Layer, context: Context) -> Space:
    """The schedules of a linear layer without batch lanes."""
    core, layout = layer.core, context.layout(layer.name)
    assert isinstance(core, Linear)
    default = default_linear(layout, context.target, context.threads)
    rows, vectors = prod(layout.shape[:-1]), -(-stored_features(layout) // layout.lanes)
    knobs = {
        "rows": tuple(height for height in _ROWS if height <= rows),
        "vectors": tuple(width for width in _VECTORS if width <= vectors),
    }

    def legal(schedule: LinearSchedule) -> bool:
        known = all(value in knobs[knob] for knob, value in schedule.as_dict().items())
        return known and _registers(schedule) <= context.target.registers

    features = partial(_features, layout, core.weight.shape[1], context)
    return Space("linear", knobs, default, partial(replace, default), legal, features)


def _registers(schedule: LinearSchedule) -> int:
    """The sums, a vector of weights of every tile column, and an input."""
    return (schedule.rows + 1) * schedule.vectors + 1


def _features(layout: Layout, inner: int, context: Context, schedule: LinearSchedule) -> dict[str, float]:
    tiles = FeatureTiles.of(layout, schedule)
    feature_tiles, row_tiles, rows, vectors, lanes = tiles.space
    # The weights serve all row tiles before the next ones; the inputs come by once for each.
    weights, inputs = vectors * lanes * inner, rows * inner
    return {
        **implied(
            context.target,
            threads=context.threads,
            tasks=feature_tiles * row_tiles,
            registers=_registers(schedule),
            computed=feature_tiles * row_tiles * rows * vectors * lanes,
            stored=tiles.rows * tiles.stored,
            multiplies=feature_tiles * row_tiles * rows * vectors * inner,
            loads=(rows + vectors) / (rows * vectors),
            working_set=4 * (weights + inputs),
        ),
        "streamed_l2": 4 * inputs * row_tiles / context.target.l2_bytes,
    }


def schedule_linear(function: Any, *, vectorised: bool) -> Any:
    """The scheduled module: tiles in parallel, those of the same weights one after the other.

    A tile's sums stay in registers.
    """
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
