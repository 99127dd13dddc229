"""How pooling runs: down the windows' rows, then along them; which loops hold which stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from math import prod
from typing import Any

from tvm import s_tir

from sparsegen.graph import Layer
from sparsegen.kernels.features import implied
from sparsegen.kernels.loops import extent, is_shared, parallel
from sparsegen.kernels.registry import Context
from sparsegen.kernels.space import KnobValue, Point, Space
from sparsegen.kernels.windows import Windows
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.prefetch import PREFETCH

Axes = tuple[Windows, Windows]
"""The windows down the rows, and those along a row."""

_UNROLLED = 8  # taps that are worth straight-line code
_MOST_UNROLLED = 64  # taps of straight-line code, of a window or an axis: more take long to compile
_TASKS = 4  # parallel tasks a thread that even out the load


@dataclass(frozen=True)
class PoolSchedule:
    """One schedule of a pooling.

    parallel_rows: whether rows of windows are parallel tasks, or channels alone. nested: stages that
    are computed for one window at a time, not for a whole row of them: 0, 1 (that along the row), or 2
    (both: nothing is written between them, and what windows share is computed for each).
    unroll_down, unroll_across: whether a window's rows, or its columns, are straight-line code at
    every position, not each a pass along the row.
    """

    parallel_rows: bool
    nested: int
    unroll_down: bool
    unroll_across: bool

    def as_dict(self) -> Point:
        """Knob by name."""
        return asdict(self)


def default_pool(out: Layout, axes: Axes, *, threads: int) -> PoolSchedule:
    """Without tuning: rows in parallel where channels are few, few taps unrolled."""
    vertical, horizontal = axes
    few = horizontal.size <= _UNROLLED
    return PoolSchedule(
        parallel_rows=out.groups * out.shape[1] < _TASKS * threads,
        nested=1 if out.batch_lanes and few else 0,
        unroll_down=vertical.size <= _UNROLLED,
        unroll_across=few,
    )


def pool_space(layer: Layer, context: Context, axes: Axes) -> Space:
    """The schedules of a pooling with windows on both axes."""
    out = context.layout(layer.name)
    vertical, horizontal = axes
    default = default_pool(out, axes, threads=context.threads)
    either = (False, True)
    # A knob that would not change the code has the default's value alone.
    knobs: dict[str, tuple[KnobValue, ...]] = {
        "parallel_rows": either if vertical.outputs > 1 and is_shared(prod(out.space)) else (),
        "nested": _nested(out, horizontal) if horizontal.outputs > 1 else (),
        "unroll_down": either if vertical.size > 1 else (),
        "unroll_across": either if horizontal.size > 1 else (),
    }
    knobs = {name: values or (default.as_dict()[name],) for name, values in knobs.items()}

    def legal(schedule: PoolSchedule) -> bool:
        return (
            all(value in knobs[name] for name, value in schedule.as_dict().items())
            and _straight_line(schedule, axes) <= _MOST_UNROLLED
            and _registers(schedule, axes) <= context.target.registers
        )

    features = partial(_features, context, axes, context.layout(layer.inputs[0]), out)
    return Space("pool", knobs, default, partial(replace, default), legal, features)


def pool_fault(out: Layout, axes: Axes, schedule: PoolSchedule) -> str | None:
    """Why a kernel cannot have a schedule, and what it can have; None if it can. The rest is speed."""
    allowed = _nested(out, axes[1])
    if schedule.nested in allowed:
        return None
    return f"nested is {schedule.nested}; it may be {' or '.join(map(str, allowed))}"


def _nested(out: Layout, horizontal: Windows) -> tuple[int, ...]:
    """Numbers of stages that may be computed for one window."""
    if not out.batch_lanes:  # the vectors run along the row
        return (0,)
    # TVM finds what a window reads where windows are even, and leave out no position between them.
    return (0, 1, 2) if horizontal.even and horizontal.stride <= _reach(horizontal) else (0, 1)


def _reach(windows: Windows) -> int:
    """Positions from the first tap of a window to its last."""
    return (windows.size - 1) * windows.dilation + 1


def _straight_line(schedule: PoolSchedule, axes: Axes) -> int:
    """Taps in the longest stretch of code without a loop."""
    vertical, horizontal = axes
    down = vertical.size if schedule.unroll_down else 1
    if schedule.nested == 2 and schedule.unroll_across:
        return down * _reach(horizontal)
    return max(down, horizontal.size if schedule.unroll_across else 1)


def _registers(schedule: PoolSchedule, axes: Axes) -> int:
    """A result, a value, and what is left of the columns of one window where those are straight-line code."""
    return 2 + (_reach(axes[1]) if schedule.nested == 2 and schedule.unroll_across else 0)


def _features(
    context: Context, axes: Axes, source: Layout, out: Layout, schedule: PoolSchedule
) -> dict[str, float]:
    vertical, horizontal = axes
    rows = out.groups * out.shape[1] * vertical.outputs
    positions = horizontal.outputs * _reach(horizontal) if schedule.nested == 2 else horizontal.span
    down, across = positions * vertical.size, horizontal.outputs * horizontal.size
    # A pass along the row reads and writes what the pass before it left.
    moved = down * (1 if schedule.unroll_down else 3) + across * (1 if schedule.unroll_across else 3)
    return {
        **implied(
            context.target,
            threads=context.threads,
            tasks=rows if schedule.parallel_rows else rows // vertical.outputs,
            registers=_registers(schedule, axes),
            computed=prod(out.space),
            stored=prod(out.shape),
            multiplies=rows * (down + across) / (1 if out.batch_lanes else out.lanes),
            loads=moved / (down + across),
            working_set=source.itemsize * (vertical.size * source.row + horizontal.span * out.step),
        ),
        "nested": float(schedule.nested),
        "code": float(_straight_line(schedule, axes)),
    }


def schedule_pool(function: Any, knobs: PoolSchedule, *, batch_lanes: bool) -> Any:
    """The scheduled module: channels in parallel, with their rows or without; two stages to a row."""
    sch = s_tir.Schedule(function)
    out, across, down = (sch.get_sblock(name) for name in ("out", "across", "down"))
    loops = sch.get_loops(out)
    group, channel, row, column, *lanes = loops
    tasks = [group, channel, row] if knobs.parallel_rows else [group, channel]
    (task,) = parallel(sch, tasks, work=extent(sch, loops))
    row = task if knobs.parallel_rows else row
    for lane in lanes:
        sch.vectorize(lane)
    sch.compute_at(across, column if knobs.nested else row, preserve_unit_loops=True)
    sch.compute_at(down, column if knobs.nested == 2 else row, preserve_unit_loops=True)
    _schedule_taps(sch, across, unrolled=knobs.unroll_across, batch_lanes=batch_lanes)
    position = _schedule_taps(sch, down, unrolled=knobs.unroll_down, batch_lanes=batch_lanes)
    if knobs.nested == 2 and knobs.unroll_across:
        sch.unroll(position)
    if fetches_ahead(knobs, batch_lanes=batch_lanes):
        sch.annotate(task, PREFETCH, "task")
        if not knobs.parallel_rows:
            sch.annotate(row, PREFETCH, "block")
        sch.annotate(position, PREFETCH, "visit")
    return sch.mod


def fetches_ahead(knobs: PoolSchedule, *, batch_lanes: bool) -> bool:
    """Whether the code visits every position of a row of windows once, and could fetch the next row's."""
    return batch_lanes and knobs.unroll_down and knobs.nested < 2


def _schedule_taps(sch: Any, block: Any, *, unrolled: bool, batch_lanes: bool) -> Any:
    """Taps are unrolled at every position of the row, or each a pass along it; the loop along the row.

    Batch lanes are vectorised; without them LLVM vectorises the loop along the row.
    """
    *loops, k = sch.get_loops(block)
    lanes = [loops.pop()] if batch_lanes else []
    position = loops.pop()
    if unrolled:
        sch.reorder(position, k, *lanes)
        sch.unroll(k)
    else:
        sch.reorder(k, position, *lanes)
    for lane in lanes:
        sch.vectorize(lane)
    sch.decompose_reduction(block, k)
    return position
