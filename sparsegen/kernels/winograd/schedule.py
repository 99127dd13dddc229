"""How Winograd's kernel runs: groups of tiles in parallel, a panel's sums in registers."""

from __future__ import annotations

from typing import Any

from tvm import s_tir

from sparsegen.graph import ITEM_BYTES
from sparsegen.kernels.loops import read_whole
from sparsegen.kernels.winograd.filters import KEPT_CHANNELS
from sparsegen.kernels.winograd.problem import SparseWinogradSchedule, WinogradSchedule
from sparsegen.lowering.ahead import AHEAD
from sparsegen.lowering.layout import LINE_BYTES
from sparsegen.lowering.passes import MASKED
from sparsegen.lowering.prefetch import PREFETCH
from sparsegen.lowering.runs import RUN
from sparsegen.lowering.shuffles import SHUFFLED

_PAGE = 4096  # bytes between addresses that share a set of an L1 cache


def schedule(function: Any, knobs: WinogradSchedule, *, batch_lanes: bool, masked: bool) -> Any:
    """The scheduled module of `expression`'s function, whose sums are `masked` or not: see `Filters`.

    A task transforms its tiles' input, multiplies by the weights of its panels, one of the n x n
    positions after the other, so that a position's input stays in the caches for all panels, and
    transforms the products back.
    """
    sch = s_tir.Schedule(function)
    names = ("tiles", "registers", "products", "registers_rows", "out")
    tiles, sums, products, rows, out = map(sch.get_sblock, names)
    if masked:
        # Which channels are read is told by memory, or by the position.
        channels = int(sch.get(sch.get_loops(tiles)[5]).extent)
        read_whole(sch, sums, "tiles", channels, dimension=5)
    g, gy, gx, panel, r, ty, tx, *inner = sch.get_loops(out)
    chunk, panel = sch.split(panel, [None, knobs.chunk])
    sch.reorder(g, gy, gx, chunk, panel, r, ty, tx, *inner)
    task = sch.fuse(g, gy, gx, chunk)
    sch.parallel(task)
    if batch_lanes:
        _straight(sch, inner)
    else:
        y, tile_down, _, lane = inner
        sch.reorder(tile_down, y)
        sch.vectorize(lane)
        _rows_of_pixels(sch, tx, knobs.outputs)
    sch.compute_at(rows, tx, preserve_unit_loops=True)
    _straight(sch, sch.get_loops(rows)[-3:])
    sch.compute_at(products, task, preserve_unit_loops=True)
    i, j, of_panel, *inner = sch.get_loops(products)[-7:]
    sch.annotate(task, PREFETCH, "task")
    sch.annotate(sch.fuse(i, j), PREFETCH, "block")
    sch.annotate(of_panel, PREFETCH, "visit")
    _straight(sch, inner)
    sch.compute_at(sums, of_panel, preserve_unit_loops=True)
    chain, r, ty, tx, lane, c = sch.get_loops(sums)[-6:]
    # Vectors of what are fewer, rows' weights or tiles, are held, those of the others loaded one by one.
    of_sum = (r, ty, tx) if knobs.rows > knobs.tiles_h * knobs.tiles_w else (ty, tx, r)
    sch.reorder(c, chain, *of_sum, lane)
    _straight(sch, (chain, *of_sum, lane))
    if masked:
        sch.annotate(c, MASKED, 1)
    if isinstance(knobs, SparseWinogradSchedule) and knobs.chains == 1:
        sch.annotate(c, AHEAD, KEPT_CHANNELS)
    sch.annotate(c, RUN, "weight")
    sch.decompose_reduction(sums, c)
    sch.compute_at(tiles, task, preserve_unit_loops=True)
    i, j, c, ty, tx, lane = sch.get_loops(tiles)[-6:]
    sch.reorder(c, ty, tx, i, j, lane)
    if batch_lanes:
        columns = sch.get_sblock("registers_columns")
        sch.compute_at(columns, tx, preserve_unit_loops=True)
        _straight(sch, (i, j, lane))
        _straight(sch, sch.get_loops(columns)[-3:])
    else:
        _straight(sch, (j, lane))
        _strips(sch, tx, i, lanes=int(sch.get(lane).extent))
    for block in (tiles, products):
        # Positions lie far apart: a whole number of pages, and they would share few sets of the caches.
        itemsize = ITEM_BYTES[str(sch.get(block).writes[0].source.dtype)]
        sch.storage_align(block, 0, axis=4, factor=_PAGE // itemsize, offset=LINE_BYTES // itemsize)
    return sch.mod


def _rows_of_pixels(sch: Any, tile: Any, outputs: int) -> None:
    """A vector of tiles' result as rows, at each iteration of the loop `tile`.

    The loop over pixels is left to LLVM, which shuffles vectors where every m-th is written.
    """
    merged, vectors, out = map(sch.get_sblock, ("merged", "vectors", "out"))
    *_, x = sch.get_loops(merged)
    read_whole(sch, out, "merged", int(sch.get(x).extent))
    sch.compute_at(merged, tile, preserve_unit_loops=True)
    *_, x = sch.get_loops(merged)
    _, j = sch.split(x, [None, outputs])
    sch.unroll(j)
    sch.compute_at(vectors, tile, preserve_unit_loops=True)
    _straight(sch, sch.get_loops(vectors)[-3:])


def _strips(sch: Any, tile: Any, row: Any, lanes: int) -> None:
    """A vector of tiles' pixels at each iteration of the loop `tile`, taken apart at each of the loop `row`.

    They are loaded and transformed along columns as they lie.
    """
    strips, columns, apart = map(sch.get_sblock, ("registers_strips", "columns", "registers_apart"))
    *_, x = sch.get_loops(columns)
    read_whole(sch, apart, "columns", int(sch.get(x).extent))
    sch.compute_at(apart, row, preserve_unit_loops=True)
    *_, k, lane = sch.get_loops(apart)
    sch.annotate(lane, SHUFFLED, 1)
    _straight(sch, (k, lane))
    sch.compute_at(columns, tile, preserve_unit_loops=True)
    *_, i, down, x = sch.get_loops(columns)
    vector, lane = sch.split(x, [None, lanes])
    sch.reorder(down, vector, i, lane)
    _straight(sch, (i, lane))
    sch.compute_at(strips, vector, preserve_unit_loops=True)
    *_, k, down, lane = sch.get_loops(strips)
    _straight(sch, (k, down, lane))


def _straight(sch: Any, loops: Any) -> None:
    """Unroll all loops but the last, the lanes, which become a vector."""
    *outer, lane = loops
    for loop in outer:
        sch.unroll(loop)
    sch.vectorize(lane)
