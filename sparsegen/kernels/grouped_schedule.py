"""How grouped and depthwise convolutions run: a tile's sums in registers, and which tiles may be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from tvm import s_tir

from sparsegen.graph import Layer
from sparsegen.kernels.features import implied
from sparsegen.kernels.panels import TILE_LIMIT
from sparsegen.kernels.registry import Context
from sparsegen.kernels.space import Point, Space
from sparsegen.kernels.taps import TapConv2d
from sparsegen.lowering.layout import Layout

_TILE = 8  # accumulators: enough to hide the latency of a multiply-add, few enough for 16 registers
_MOST_CODE = 1024  # multiply-adds of straight-line code: more take long to compile, and to decode
_WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
_HEIGHTS = (1, 2, 3, 4, 6, 8)
_ROWS = (1, 2, 3, 4, 5, 6, 8, 10, 12)


@dataclass(frozen=True)
class GroupedSchedule:
    """One schedule of a convolution with groups.

    tile_h, tile_w: pixel vectors of a tile. rows: output channels of one group, which share the
    tile's input; the rows x tile_h x tile_w accumulators stay in registers. unrolled: whether the
    taps are straight-line code with their offsets in it, so that what neighbouring pixels share is
    loaded once. parallel_rows: whether rows of tiles are parallel tasks, or channels alone.
    """

    tile_w: int
    tile_h: int = 1
    rows: int = 1
    unrolled: bool = False
    parallel_rows: bool = True

    def as_dict(self) -> Point:
        """Knob by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class GroupedProblem:
    """A convolution with groups, and how its input and output lie."""

    conv: TapConv2d
    source: Layout
    out: Layout

    @staticmethod
    def of(layer: Layer, context: Context) -> GroupedProblem:
        """The problem of a layer whose core is a TapConv2d."""
        assert isinstance(layer.core, TapConv2d)
        return GroupedProblem(layer.core, context.layout(layer.inputs[0]), context.layout(layer.name))

    @property
    def channels(self) -> int:
        """Output channels."""
        return len(self.conv.weight)

    @property
    def per_group(self) -> int:
        """Output channels of a group, which read the same input."""
        return self.channels // self.conv.groups

    @property
    def columns(self) -> int:
        """Taps of an output, of all input channels of its group."""
        return int(self.conv.matrix.shape[1])

    def padded_pixels(self, schedule: GroupedSchedule) -> tuple[int, int]:
        """The output's pixel vectors rounded up to whole tiles."""
        height, width = self.out.pixel_vectors
        return -(-height // schedule.tile_h) * schedule.tile_h, -(-width // schedule.tile_w) * schedule.tile_w


def default_grouped(problem: GroupedProblem) -> GroupedSchedule:
    """The schedule without tuning: as much of a row as hides a multiply-add's latency."""
    return GroupedSchedule(tile_w=min(_TILE, problem.out.pixel_vectors[1]))


def grouped_space(layer: Layer, context: Context) -> Space:
    """The schedules of a convolution with groups."""
    problem = GroupedProblem.of(layer, context)
    height, width = problem.out.pixel_vectors
    default = default_grouped(problem)
    knobs = {
        "tile_w": tuple(w for w in _WIDTHS if w <= min(width, TILE_LIMIT)),
        "tile_h": tuple(h for h in _HEIGHTS if h <= min(height, TILE_LIMIT)),
        "rows": tuple(rows for rows in _ROWS if problem.per_group % rows == 0),
        "unrolled": (False, True),
        "parallel_rows": (True, False),
    }

    def legal(schedule: GroupedSchedule) -> bool:
        return (
            all(value in knobs[knob] for knob, value in schedule.as_dict().items())
            and _registers(schedule) <= context.target.registers
            and (not schedule.unrolled or problem.columns * _accumulators(schedule) <= _MOST_CODE)
            # One row of tiles is one task either way.
            and (schedule.parallel_rows or schedule.tile_h < height)
        )

    features = partial(_features, problem, context)
    return Space("grouped_conv", knobs, default, partial(replace, default), legal, features)


def _accumulators(schedule: GroupedSchedule) -> int:
    return schedule.rows * schedule.tile_h * schedule.tile_w


def _registers(schedule: GroupedSchedule) -> int:
    """The accumulators, a weight of every row, and a vector of the input."""
    return _accumulators(schedule) + schedule.rows + 1


def _features(problem: GroupedProblem, context: Context, schedule: GroupedSchedule) -> dict[str, float]:
    conv, source, groups = problem.conv, problem.source, problem.out.groups
    height, width = problem.out.pixel_vectors
    padded_height, padded_width = problem.padded_pixels(schedule)
    vectors = groups * problem.channels * padded_height * padded_width
    tasks = groups * (problem.channels // schedule.rows)
    if schedule.parallel_rows:
        tasks *= padded_height // schedule.tile_h
    # A row of tiles reads so many rows of each channel of its group; with pixel lanes it is the image.
    read = (schedule.tile_h - 1) * conv.taps.stride[0] + int(np.ptp(conv.taps.dy)) + 1
    plane = read * source.row if problem.out.batch_lanes else source.plane
    inputs = len(np.unique(conv.taps.channel)) * plane
    return {
        **implied(
            context.target,
            threads=context.threads,
            tasks=tasks,
            registers=_registers(schedule),
            computed=padded_height * padded_width,
            stored=height * width,
            multiplies=vectors * problem.columns,
            loads=_loads(problem, schedule) / (problem.columns * _accumulators(schedule)),
            working_set=4 * (inputs + schedule.rows * problem.columns),
        ),
        "code": float(_accumulators(schedule) * (problem.columns if schedule.unrolled else 1)),
    }


def _loads(problem: GroupedProblem, schedule: GroupedSchedule) -> int:
    """Vectors, weights and offsets that a tile loads."""
    weights = problem.columns * schedule.rows
    if not schedule.unrolled:
        return problem.columns * (schedule.tile_h * schedule.tile_w + 1) + weights
    step_y, step_x = problem.source.pixel_steps(problem.conv.taps.stride)
    y, x = np.indices((schedule.tile_h, schedule.tile_w)).reshape(2, -1)
    starts = (y * step_y + x * step_x)[:, None] + problem.conv.taps.offsets(problem.source)
    return len(np.unique(starts)) + weights


def schedule_grouped(function: Any, knobs: GroupedSchedule) -> Any:
    """The scheduled module: tiles in parallel, each one's sums in registers over all taps."""
    sch = s_tir.Schedule(function)
    out, sums = sch.get_sblock("out"), sch.get_sblock("registers")
    g, k, row, y, x, lane = sch.get_loops(out)
    k, channel = sch.split(k, [None, knobs.rows])
    y, tile_y = sch.split(y, [None, knobs.tile_h])
    x, tile_x = sch.split(x, [None, knobs.tile_w])
    sch.reorder(g, k, row, y, x, channel, tile_y, tile_x, lane)
    sch.parallel(sch.fuse(g, k, row, *([y] if knobs.parallel_rows else [])))
    sch.compute_at(sums, x, preserve_unit_loops=True)
    *own, own_lane, j = sch.get_loops(sums)[-5:]
    sch.reorder(j, *own, own_lane)
    for loop in (channel, tile_y, tile_x, *own, *([j] if knobs.unrolled else [])):
        sch.unroll(loop)
    for loop in (lane, own_lane):
        sch.vectorize(loop)
    sch.decompose_reduction(sums, j)
    return sch.mod
