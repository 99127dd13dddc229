"""How linear layers without batch lanes run: tiles of rows by features, and which tiles may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, prod
from typing import Any

from tvm import s_tir

from sparsegen.formats import masked_vectors
from sparsegen.isa import expanding
from sparsegen.kernels.features import implied
from sparsegen.kernels.operands import all_of, unravel
from sparsegen.kernels.registry import Context
from sparsegen.kernels.space import Point, below_one
from sparsegen.lowering.expressions import Condition, Expr, IntExpr
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.prefetch import PREFETCH, Line
from sparsegen.lowering.store import Parameters
from sparsegen.target import Target

DENSE_FORMAT = "dense"
FORMATS = (DENSE_FORMAT, masked_vectors.NAME)
_WIDEST_MASKED = 4  # vectors of a tile of masked vectors: more gain nothing
_EXPANDING = 2  # registers of vectors that are loaded and expanded
_AHEAD = 2048  # floats between the weights in use and those fetched ahead
_TALLEST = 6  # rows of a tile: more leave too few registers for vectors of features
_WIDEST = 8  # vectors of a tile: enough independent sums to hide a multiply-add's latency


@dataclass(frozen=True)
class LinearSchedule:
    """One schedule of a linear layer without batch lanes.

    rows, vectors: of a tile, whose rows x vectors sums stay in registers. format: of the weights, "dense"
    or "masked_vectors". What else could be chosen, the tiles' order and how far the sum is unrolled, was
    measured, and changes nothing.
    """

    rows: int
    vectors: int
    format: str = DENSE_FORMAT

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
    format: str

    @staticmethod
    def of(layout: Layout, schedule: LinearSchedule) -> FeatureTiles:
        """The tiles of a schedule."""
        return FeatureTiles(layout, schedule.rows, schedule.vectors, schedule.format)

    @property
    def shape(self) -> tuple[int, ...]:
        """(groups, size)."""
        return self.layout.groups, self.layout.size

    @property
    def rows(self) -> int:
        """Rows of the output."""
        return extents(self.layout)[0]

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

    def index(self, point: tuple[Expr, ...]) -> tuple[IntExpr, ...]:
        """A point's index in the output, batch first."""
        return (*unravel(self.row(point), self.layout.shape[:-1]), self.feature(point))

    def __call__(
        self, point: tuple[Expr, ...], parameters: Parameters
    ) -> tuple[tuple[IntExpr, ...], Condition | None]:
        """(group, address), and the condition under which the row and the feature are stored."""
        group, *coordinates = self.index(point)
        tests = [] if self.rows % self.tile_rows == 0 else [self.row(point) < self.rows]
        if not self.whole_vectors:
            tests.append(self.feature(point) < self.stored)
        elif self.space[0] * self.tile_vectors * self.layout.lanes > self.stored:
            tests.append(point[0] * self.tile_vectors + point[3] < self.stored // self.layout.lanes)
        return (group, self.layout.address(tuple(coordinates))), all_of(tests)


@dataclass(frozen=True)
class WeightsAhead:
    """Fetches masked vectors some columns ahead, at every column `lines` lines, of `line` weights each.

    Measured: 1.67 times as fast as dense, not 1.25, at 4096x4096 and half zeros, one row and one thread;
    2 KiB ahead, 1.4 times.
    """

    lines: int
    line: int

    @staticmethod
    def of(tiles: FeatureTiles, density: float) -> WeightsAhead:
        """As many lines as a column's weights take on average, and no fewer than one."""
        line, floats = tiles.layout.line, density * tiles.tile_vectors * tiles.layout.lanes
        return WeightsAhead(max(1, ceil(floats / line)), line)

    def __call__(self, task: IntExpr, _: IntExpr, column: Expr, last: Condition | None) -> list[Line]:
        """The lines to fetch at a column of a tile. Parameters: x, values, masks, starts."""

        def at(line: int) -> Callable[[Sequence[Any]], Expr]:
            return lambda parameters: parameters[3][task, column] + (_AHEAD + line * self.line)

        return [(1, 0, at(line), None) for line in range(self.lines)]


def stored_features(layout: Layout) -> int:
    """Floats that a linear layer stores for each of its rows."""
    if layout.is_image:
        return layout.row
    features = layout.shape[-1]
    return -(-features // layout.lanes) * layout.lanes if len(layout.shape) > 1 else features


def extents(layout: Layout) -> tuple[int, int]:
    """Rows of a linear layer's output, and the vectors that each is stored in."""
    return prod(layout.shape[:-1]), -(-stored_features(layout) // layout.lanes)


def default_linear(layout: Layout, target: Target, threads: int) -> LinearSchedule:
    """Without tuning: tiles that fill the registers, waste few rows, and leave every thread some."""
    rows, _ = extents(layout)
    heights = range(_TALLEST, 3, -1) if rows >= _TALLEST else [rows]
    tile_rows = min(heights, key=lambda height: -(-rows // height) * height)
    # Of the registers, one vector of each tile column holds weights, and one broadcasts an input.
    fitting = min(_WIDEST, (target.registers - 1) // (tile_rows + 1))
    return _evenly(layout, LinearSchedule(tile_rows, fitting), threads)


def masked_linear(layout: Layout, target: Target, threads: int) -> LinearSchedule:
    """Masked vectors without tuning: all rows in a tile; whether that may be, `masked_fits` tells."""
    rows, _ = extents(layout)
    fitting = max(1, min(_WIDEST_MASKED, (target.registers - rows - _EXPANDING) // rows))
    return _evenly(layout, LinearSchedule(rows, fitting, masked_vectors.NAME), threads)


def masked_fits(layout: Layout, target: Target, schedule: LinearSchedule) -> bool:
    """Whether a schedule of masked vectors may be: whole vectors, expanded, read once, sums in registers."""
    whole = bool(target.instructions.expand) and FeatureTiles.of(layout, schedule).whole_vectors
    return whole and schedule.rows == extents(layout)[0] and _registers(schedule) <= target.registers


def _evenly(layout: Layout, most: LinearSchedule, threads: int) -> LinearSchedule:
    """The schedule with tiles of equal size, no larger than `most`'s, and some for every thread."""
    rows, vectors = extents(layout)
    tasks = -(-threads * most.rows // rows)
    tiles = max(-(-vectors // most.vectors), min(tasks, vectors))
    return replace(most, vectors=-(-vectors // tiles))


def _registers(schedule: LinearSchedule) -> int:
    """The sums, and of dense tiles a vector of weights of every column and an input.

    Of masked ones an input of every row, and the vectors that are being expanded.
    """
    sums = schedule.rows * schedule.vectors
    if schedule.format == DENSE_FORMAT:
        return sums + schedule.vectors + 1
    return sums + schedule.rows + _EXPANDING


def linear_features(
    layout: Layout, inner: int, context: Context, schedule: LinearSchedule
) -> dict[str, float]:
    """What a schedule implies for a layer of `inner` input features, by name."""
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
            working_set=layout.itemsize * (weights + inputs),
        ),
        "streamed_l2": layout.itemsize * inputs * row_tiles / context.target.l2_bytes,
        "masked": float(schedule.format != DENSE_FORMAT),
    }


def linear_fault(layout: Layout, target: Target, schedule: LinearSchedule) -> str | None:
    """Why a kernel cannot have a schedule, and what it can have; None if it can. The rest is speed."""
    if schedule.format not in FORMATS:
        return f"there is no format {schedule.format!r}, but {', '.join(FORMATS)}"
    if schedule.format == masked_vectors.NAME and not masked_fits(layout, target, schedule):
        return (
            f"{masked_vectors.NAME} take {expanding()}, whole vectors of features, tiles of all "
            f"{extents(layout)[0]} rows, and no more than {target.registers} registers"
        )
    return below_one(schedule)


def linear_fits(layout: Layout, target: Target, schedule: LinearSchedule) -> bool:
    """Whether a schedule's tiles fit the output and the registers."""
    rows, vectors = extents(layout)
    if schedule.rows > rows or schedule.vectors > vectors:
        return False
    if schedule.format == DENSE_FORMAT:
        return _registers(schedule) <= target.registers
    return masked_fits(layout, target, schedule)


def schedule_linear(function: Any, *, vectorised: bool) -> Any:
    """The scheduled module: tiles in parallel, those of the same weights one after the other.

    A tile's sums stay in registers.
    """
    sch = s_tir.Schedule(function)
    out, sums = sch.get_sblock("out"), sch.get_sblock("registers" if vectorised else "sums")
    feature_tile, row_tile, *inner = sch.get_loops(out)
    tile = sch.fuse(feature_tile, row_tile)
    sch.parallel(tile)
    sch.annotate(tile, PREFETCH, "task")
    sch.compute_at(sums, tile, preserve_unit_loops=True)
    *own, k = sch.get_loops(sums)[1:]
    sch.reorder(k, *own)
    sch.annotate(k, PREFETCH, "visit")
    for *unrolled, lane in (own, inner) if vectorised else (own,):
        for loop in unrolled:
            sch.unroll(loop)
        sch.vectorize(lane)
    sch.decompose_reduction(sums, k)
    return sch.mod
