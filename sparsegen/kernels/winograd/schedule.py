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

_PAGE = 4096  # bytes between addresses that share a set of an L1 cache


def schedule(function: Any, knobs: WinogradSchedule, *, batch_lanes: bool, across: int) -> Any:
    """The scheduled module of `expression`'s function; `across` are the tiles of a row in a vector.

    A task transforms its tiles' input, multiplies by the weights of its panels, one of the n x n
    positions after the other, so that a position's input stays in the caches for all panels, and
    transforms the products back.
    """
    sch = s_tir.Schedule(function)
    names = ("registers_columns", "tiles", "registers", "products", "registers_rows", "out")
    columns, tiles, sums, products, rows, out = map(sch.get_sblock, names)
    if isinstance(knobs, SparseWinogradSchedule):
        # Which channels are read is told by memory.
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
    # LLVM keeps this order, and what the inner loops read in registers: so that is the fewer of the two.
    factors = (ty, tx, r) if knobs.rows < knobs.tiles_h * knobs.tiles_w else (r, ty, tx)
    sch.reorder(c, chain, *factors, lane)
    _straight(sch, (chain, *factors, lane))
    if isinstance(knobs, SparseWinogradSchedule):
        sch.annotate(c, MASKED, 1)
        if knobs.chains == 1:
            sch.annotate(c, AHEAD, KEPT_CHANNELS)
    sch.annotate(c, RUN, "weight")
    sch.decompose_reduction(sums, c)
    sch.compute_at(tiles, task, preserve_unit_loops=True)
    i, j, c, ty, tx, lane = sch.get_loops(tiles)[-6:]
    sch.reorder(c, ty, tx, i, j, lane)
    _straight(sch, (i, j, lane))
    for block in (tiles, products):
        # Positions lie far apart: a whole number of pages, and they would share few sets of the caches.
        itemsize = ITEM_BYTES[str(sch.get(block).writes[0].source.dtype)]
        sch.storage_align(block, 0, axis=4, factor=_PAGE // itemsize, offset=LINE_BYTES // itemsize)
    sch.compute_at(columns, tx, preserve_unit_loops=True)
    _straight(sch, sch.get_loops(columns)[-3:])
    if not batch_lanes:
        _gather(sch, tx, across)
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


def _gather(sch: Any, tile: Any, across: int) -> None:
    """A vector of tiles' pixels, at each iteration of the loop `tile`: a row of tiles after the other."""
    gathered = sch.get_sblock("gathered")
    sch.compute_at(gathered, tile, preserve_unit_loops=True)
    k, j, lane = sch.get_loops(gathered)[-3:]
    down, along = sch.split(lane, [None, across])
    sch.reorder(k, down, along, j)
    sch.unroll(j)


def _straight(sch: Any, loops: Any) -> None:
    """Unroll all loops but the last, the lanes, which become a vector."""
    *outer, lane = loops
    for loop in outer:
        sch.unroll(loop)
    sch.vectorize(lane)
