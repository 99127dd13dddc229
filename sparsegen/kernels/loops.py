"""Schedules that kernels without a schedule of their own share."""

from __future__ import annotations

from math import prod
from typing import Any

import tvm
from tvm import s_tir, tirx

_SMALLEST = 1 << 13  # points of a loop nest that are worth starting threads for
_TASKS = 64  # parallel tasks that keep any number of threads busy


def parallel_rows(function: Any, *, batch_lanes: bool) -> Any:
    """The scheduled module of a function whose only block is `out`, pointwise over its space.

    Batch lanes are vectorised. Without them the innermost loop is left to LLVM, which vectorises
    strided rows with shuffles, and rows that end in a halo with masks.
    """
    sch = s_tir.Schedule(function)
    parallel_points(sch, sch.get_loops(sch.get_sblock("out")), batch_lanes=batch_lanes)
    return sch.mod


def parallel_points(sch: Any, loops: list[Any], *, batch_lanes: bool) -> None:
    """Schedule a pointwise block's loops: rows in parallel, or single vectors where rows are few."""
    work, lanes = extent(sch, loops), loops[-1:] if batch_lanes else []
    for lane in lanes:
        sch.vectorize(lane)
    points = loops[: len(loops) - len(lanes)]
    few = extent(sch, points[:-1]) < _TASKS
    parallel(sch, points if batch_lanes and few else points[:-1], work=work)


def parallel(sch: Any, loops: list[Any], *, work: int) -> list[Any]:
    """Run outermost loops as one, in parallel unless the `work`, in points, is too little to share.

    Returns that one loop, or none where there were none.
    """
    if not loops:
        return []
    fused = sch.fuse(*loops) if len(loops) > 1 else loops[0]
    if is_shared(work):
        sch.parallel(fused)
    return [fused]


def is_shared(work: int) -> bool:
    """Whether a loop nest of so many points runs in parallel."""
    return work >= _SMALLEST


def place_stage(sch: Any, name: str, at: list[Any], *, vectorised: bool) -> None:
    """Compute a stage inside the loop in `at`, or before everything where there is none.

    The stage's last dimension becomes its innermost loop, inside those of a reduction.
    """
    block = sch.get_sblock(name)
    for loop in at:
        sch.compute_at(block, loop, preserve_unit_loops=True)
    loops = sch.get_loops(block)
    reductions = sum(i.iter_type == tirx.IterVar.CommReduce for i in sch.get(block).iter_vars)
    last, reducing = loops[-reductions - 1], loops[len(loops) - reductions :]
    if reducing:
        sch.reorder(*reducing, last)
    if vectorised:
        sch.vectorize(last)
    if reducing:
        sch.decompose_reduction(block, reducing[0])


def read_whole(sch: Any, reader: Any, stage: str, extent: int, *, dimension: int = -1) -> None:
    """Have a block read all of a stage's dimension, of this extent, at each of the others' points.

    Where it reads there may depend on memory, or be less than all, which would cut the stage's loops short.
    """
    block = sch.get(reader)
    (index,) = (i for i, region in enumerate(block.reads) if region.source.name == stage)
    ranges = [(each.min, each.min + 1) for each in block.reads[index].region]
    ranges[dimension] = (0, extent)
    region = tirx.IndexMap(
        [each.var for each in block.iter_vars], [at for each in ranges for at in each], None
    )
    # Its method takes only blocks with as many variables as the buffer has dimensions.
    tvm.get_global_func("s_tir.schedule.ScheduleAnnotateBufferAccess")(sch, reader, index, 0, region)


def extent(sch: Any, loops: list[Any]) -> int:
    """Points of a nest of loops."""
    return prod(int(sch.get(loop).extent) for loop in loops)
