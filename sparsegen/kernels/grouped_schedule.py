"""How grouped and depthwise convolutions run: a tile's sums in registers, and which tiles may be."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from tvm import s_tir

from sparsegen.graph import Layer
from sparsegen.kernels.features import implied
from sparsegen.kernels.panels import TILE_LIMIT
from sparsegen.kernels.registry import Context
from sparsegen.kernels.space import Point, Space, below_one
from sparsegen.kernels.taps import TapConv2d
from sparsegen.lowering.layout import Layout
from sparsegen.stopwatch import part
from sparsegen.target import Target

_LATENCY = 4.0  # cycles of a multiply-add
# In cycles of a vector, fitted to MobileNet's depthwise layers on Zen 5.
_READ, _WRITTEN = 6.5, 9.5
_LOAD, _SPLIT_LOAD = 1.1, 1.3  # of a vector, over what the load ports promise; and where it crosses lines
_OVERHEAD = 8.0  # cycles that a tile takes beside its multiply-adds
_CONDITION = 6.0  # cycles of a vector that is stored under a condition
_DEFAULT_ROWS = 4  # of the default, at most: more rows load more weights for a vector of the input
_TASKS = 4  # parallel tasks a thread, so that a task more or less does not matter
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
    def identity(self) -> Hashable:
        """All that its schedules' times depend on: no weights."""
        taps = self.conv.taps.offsets(self.source).tobytes()
        return (
            "grouped",
            self.conv.weight.shape,
            self.conv.groups,
            taps,
            self.conv.taps.stride,
            self.source,
            self.out,
        )

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


@part("choosing the rest")
def default_grouped(problem: GroupedProblem, target: Target, *, threads: int) -> GroupedSchedule:
    """The schedule without tuning: the least estimated cycles among tiles of one row.

    These read and write memory row after row, which the hardware's prefetchers follow. Taller ones
    load less, and still take up to 1.5 times as long where images come from memory. Taps are unrolled
    for one row alone: several share what they load already, and have taps enough for a loop.
    """
    choices = itertools.product(_ROWS, _WIDTHS, (False, True))
    candidates = [
        schedule
        for rows, tile_w, unrolled in choices
        if problem.per_group % rows == 0 and rows <= (1 if unrolled else _DEFAULT_ROWS)
        if tile_w <= min(problem.out.pixel_vectors[1], TILE_LIMIT)
        if _fits(problem, target, schedule := GroupedSchedule(tile_w, rows=rows, unrolled=unrolled))
    ]
    best = min(candidates, key=lambda schedule: _cycles(problem, target, schedule))
    few = problem.out.groups * (problem.channels // best.rows) < threads * _TASKS
    return replace(best, parallel_rows=few or problem.out.pixel_vectors[0] == 1)


def _cycles(problem: GroupedProblem, target: Target, schedule: GroupedSchedule) -> tuple[float, float]:
    """Estimated cycles of an output channel's row of tiles; between equals, what it loads."""
    vectors = _accumulators(schedule)
    loads = _loads(problem, schedule) * _LOAD * (1.0 if problem.out.batch_lanes else _SPLIT_LOAD)
    sums = max(problem.columns * max(vectors / target.fmas, _LATENCY), loads / target.loads)
    (_, width), (_, padded) = problem.out.pixel_vectors, problem.padded_pixels(schedule)
    tile = sums + _OVERHEAD + (_CONDITION * vectors if padded > width else 0.0)
    tiles = padded / schedule.tile_w / schedule.rows
    return tiles * tile, tiles * loads


def grouped_cycles(
    problem: GroupedProblem, target: Target, schedule: GroupedSchedule, *, threads: int
) -> float:
    """Estimated cycles of a kernel on each thread."""
    tiles, _ = _cycles(problem, target, schedule)
    return problem.out.groups * problem.channels * problem.out.pixel_vectors[0] * tiles / threads


def depthwise_cycles(problem: GroupedProblem, *, threads: int) -> float:
    """Estimated cycles of a depthwise convolution on each thread: it waits for memory."""
    read, written = (
        layout.groups * np.prod(layout.element_shape) / (1 if layout.batch_lanes else layout.lanes)
        for layout in (problem.source, problem.out)
    )
    return float(read * _READ + written * _WRITTEN) / threads


def grouped_space(layer: Layer, context: Context) -> Space:
    """The schedules of a convolution with groups."""
    problem = GroupedProblem.of(layer, context)
    height, width = problem.out.pixel_vectors
    default = default_grouped(problem, context.target, threads=context.threads)
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
            and _fits(problem, context.target, schedule)
            # One row of tiles is one task either way.
            and (schedule.parallel_rows or schedule.tile_h < height)
        )

    features = partial(_features, problem, context)
    return Space("grouped_conv", knobs, default, partial(replace, default), legal, features)


def grouped_fault(problem: GroupedProblem, schedule: GroupedSchedule) -> str | None:
    """Why a kernel cannot have a schedule, and what it can have; None if it can. The rest is speed."""
    reason = below_one(schedule)
    if reason is not None:
        return reason
    if problem.per_group % schedule.rows:
        return f"rows has to divide the {problem.per_group} output channels of a group"
    if max(schedule.tile_h, schedule.tile_w) > TILE_LIMIT:
        return f"tiles may have at most {TILE_LIMIT} pixel vectors along an axis"
    return None


def _fits(problem: GroupedProblem, target: Target, schedule: GroupedSchedule) -> bool:
    """Whether a tile's sums fit the registers, and its code the limit."""
    return _registers(problem, schedule) <= target.registers and (
        not schedule.unrolled or problem.columns * _accumulators(schedule) <= _MOST_CODE
    )


def _accumulators(schedule: GroupedSchedule) -> int:
    return schedule.rows * schedule.tile_h * schedule.tile_w


def _registers(problem: GroupedProblem, schedule: GroupedSchedule) -> int:
    """The accumulators, a weight of every row, and the input: all that rows, or unrolled taps, share."""
    shared = schedule.rows > 1 or (schedule.unrolled and problem.out.batch_lanes)
    inputs = schedule.tile_h * schedule.tile_w if shared else 1
    return _accumulators(schedule) + schedule.rows + inputs


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
            registers=_registers(problem, schedule),
            computed=padded_height * padded_width,
            stored=height * width,
            multiplies=vectors * problem.columns,
            loads=_loads(problem, schedule) / (problem.columns * _accumulators(schedule)),
            working_set=source.itemsize * (inputs + schedule.rows * problem.columns),
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
