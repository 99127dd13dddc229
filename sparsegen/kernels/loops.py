"""The schedule that kernels without a schedule of their own share."""

from __future__ import annotations

from typing import Any

from tvm import s_tir


def parallel_rows(function: Any, *, batch_lanes: bool, block: str = "out") -> Any:
    """The scheduled module of a function whose `block` writes its output's space.

    All loops but the innermost two run in parallel as one; batch lanes are vectorised. Without them
    the innermost loop is left to LLVM, which vectorises strided rows with shuffles. Stages before
    `block` are computed inside the parallel loop; those of reductions keep their own loops.
    """
    sch = s_tir.Schedule(function)
    loops = sch.get_loops(sch.get_sblock(block))
    reductions = len(loops) - len(_output_loops(sch, block))
    spatial = loops[: len(loops) - reductions]
    if batch_lanes:
        lane = spatial.pop()
        if reductions:
            sch.reorder(*loops[-reductions:], lane)
        sch.vectorize(lane)
    outer = spatial[:-1] or spatial
    sch.parallel(sch.fuse(*outer) if len(outer) > 1 else outer[0])
    return sch.mod


def _output_loops(sch: Any, block: str) -> list[Any]:
    statement = sch.get(sch.get_sblock(block))
    return [i for i in statement.iter_vars if i.iter_type == 0]
