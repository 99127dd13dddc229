"""How a panel kernel runs: tiles in parallel, a panel's accumulators in registers."""

from __future__ import annotations

from typing import Any

from tvm import s_tir

from sparsegen.kernels.panels.combined import schedule_combined
from sparsegen.kernels.panels.depthwise import DepthwiseSlab, schedule_depthwise
from sparsegen.kernels.panels.masked import schedule_masked
from sparsegen.kernels.panels.packing import Slab, schedule_slab
from sparsegen.kernels.panels.problem import PanelSchedule
from sparsegen.lowering.prefetch import PREFETCH
from sparsegen.lowering.sums import SUMS


def schedule(
    function: Any, knobs: PanelSchedule, slab: Slab | DepthwiseSlab | None, *, registers: int
) -> Any:
    """The scheduled module of `expression`'s function, for a CPU of so many vector registers."""
    sch = s_tir.Schedule(function)
    out = sch.get_sblock("out")
    g, panel, r, oh, ow, lane = sch.get_loops(out)
    oh, oh_in = sch.split(oh, [None, knobs.tile_h])
    ow, ow_in = sch.split(ow, [None, knobs.tile_w])
    chunk, panel = sch.split(panel, [None, knobs.chunk])
    # A tile below shares rows of a depthwise convolution's input: they are still in the cache.
    tiles = (g, ow, oh) if isinstance(slab, DepthwiseSlab) else (g, oh, ow)
    tasks = (chunk, *tiles) if knobs.parallel == "panels" else (*tiles, chunk)
    sch.reorder(*tasks, panel, r, oh_in, ow_in, lane)
    task = sch.fuse(*tasks)
    sch.parallel(task)
    sch.annotate(task, PREFETCH, "task")
    sch.vectorize(lane)
    for loop in (r, oh_in, ow_in):
        sch.unroll(loop)
    part, block = sch.get_sblock("registers"), task
    if _has_sums(sch):
        if _stay_in_registers(knobs, registers):
            sch.annotate(panel, SUMS, "finish")
        block = _schedule_sums(sch, part, task)
    else:
        sch.annotate(panel, PREFETCH, "visit")
        sch.compute_at(part, panel, preserve_unit_loops=True)
    if knobs.format == "column_combined":
        schedule_combined(sch, part, knobs)
    else:
        schedule_masked(sch, part, knobs)
    if isinstance(slab, DepthwiseSlab):
        schedule_depthwise(sch, slab, part, block)
    elif slab is not None:
        schedule_slab(sch, slab, part, block)
    return sch.mod


def _stay_in_registers(knobs: PanelSchedule, registers: int) -> bool:
    """Whether a panel's sums, a column's weights and a vector of the input fit the registers at once.

    Where they do not, visits that also begin and finish the sums spill more: by a fifth of the time of 4 rows
    by 7 pixels with AVX-512.
    """
    return knobs.rows * knobs.tile_h * knobs.tile_w + knobs.rows + 1 <= registers


def _has_sums(sch: Any) -> bool:
    return any(
        str(sch.get(child).name_hint) == "sums" for child in sch.get_child_blocks(sch.get_sblock("root"))
    )


def _schedule_sums(sch: Any, part: Any, task: Any) -> Any:
    """Per task: over column blocks, add every panel's registers to its sums in memory.

    Returns the loop over blocks.
    """
    sums = sch.get_sblock("sums")
    sch.compute_at(sums, task, preserve_unit_loops=True)
    *_, panel, oh, ow, r, lane, b = sch.get_loops(sums)
    sch.reorder(b, panel, r, oh, ow, lane)
    for loop in (r, oh, ow):
        sch.unroll(loop)
    sch.vectorize(lane)
    sch.compute_at(part, panel, preserve_unit_loops=True)
    sch.decompose_reduction(sums, b)
    for loop, role, of_sums in ((b, "block", "blocks"), (panel, "visit", "visit")):
        sch.annotate(loop, PREFETCH, role)
        sch.annotate(loop, SUMS, of_sums)
    return b
