"""What a panel kernel costs, without running it: estimated cycles.

The model counts, for a tile and a column, the largest of three times: multiply-adds, loads, and the
latency of an accumulator's chain. To these it adds what a visit (one panel, one column block)
costs: a branch for each mask in use, and the sums read and written; and the way of input, output and
weights to and from memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsegen.kernels.panels.candidates import Candidates, Counts
from sparsegen.kernels.panels.lines import lines_of, share_of_l1
from sparsegen.kernels.panels.problem import PanelProblem, Tile
from sparsegen.kernels.panels.work import Work
from sparsegen.lowering.layout import LINE_BYTES
from sparsegen.target import Target

Floats = NDArray[np.float64]

# In cycles, fitted to the measured times of 2,700 kernels: ResNet-18's layers at 12, 20, 50 and 100 %
# density, unstructured, by vectors and column-combined, at batch 1 and 16, on Zen 5; and to 210 of
# MobileNet's pointwise layers.
_LATENCY = 4.0  # of a multiply-add
_COLUMN = 0.34  # of the loop over a mask's columns
_LOAD = 1.1  # of a vector, over what the target's load ports promise
_SPLIT = 0.8  # more of a load that is not aligned, and touches two lines
_L2_LOAD, _STALL = 0.63, 0.11  # more of a load, and of a wait, for every L1 cache that a block's input takes,
_HELD, _MOST_PAST = 0.55, 1.6  # less the share that stays there, and no more than this many
_ONCE = 1.5  # times as many where a visit reads every line once, as of 1x1 filters: it is gone by the next
_SPILL = 0.24  # share of the time of a column that all rows keep, where a register is missing, and of
_MOVED = 0.06  # every column's, for the sums that move between masks
_VISIT = 9.4
_MASK = 5.6  # of every mask in use, each visit, for a branch that is often mispredicted; up to
_MISS = 15.5  # where the multiply-adds under way are too few to hide that
_HIDDEN = 0.17  # of a cycle of multiply-adds' time
_SUM = 2.9  # of a vector of sums, read and written each visit but one: the first writes, the last reads
_COMPUTED = 1.0  # of a vector that a depthwise convolution gives: biased, activated, stored; and of a line
_FETCH, _FEW = 6.5, 6  # of its input that a visit fetches, past so few, less
_FETCHING = 0.1  # this share of a tile's time, which hides them
_LINE = 1.18  # of a line of the input that a tile fetches
_STREAM = 25.0  # bytes of weights a cycle, where every tile reads them anew from beyond the L2 cache
_STORE = 6.0  # of a vector of the output, on its way to memory; and more in permuted rows, where
_SCATTERED, _FAR = 25.0, 4  # the output is so many times as large as an L2 cache


def input_lines(problem: PanelProblem, tiles: Tile) -> tuple[Counts, Floats]:
    """Cache lines that each tile reads of an input channel, and the share of the L1 cache they can use.

    `tiles` have arrays of heights and widths.
    """
    sizes = list(zip(tiles.tile_h.tolist(), tiles.tile_w.tolist(), strict=True))
    reads, plane, channels = problem.reads, problem.plane // problem.source.line, problem.channels
    shares = [share_of_l1(reads, *size, plane=plane, channels=channels) for size in sizes]
    return np.array([len(lines_of(reads, *size)) for size in sizes], np.int64), np.array(shares)


def cycles(
    problem: PanelProblem,
    target: Target,
    candidates: Candidates,
    work: Work,
    *,
    lines: tuple[Counts, Floats],
    threads: int,
) -> Floats:
    """Estimated cycles of kernels on each of `threads`; `lines` as of `input_lines`."""
    pixels, rows = candidates.tile_h * candidates.tile_w, candidates.rows
    panels, blocks = -(-problem.matrix.shape[0] // rows), -(-problem.channels // candidates.block)
    slab = lines if problem.depthwise is None else (pixels, np.ones(len(pixels)))
    columns = _column_cycles(problem, target, candidates, work, slab)
    sums = rows * pixels * (_SUM * (blocks - 1) + 1.0) / blocks
    segment = columns / (panels * blocks * work.masks)
    branches = np.where(work.constant, 2.0, work.masks * np.maximum(_MASK, _MISS - _HIDDEN * segment))
    chunks = -(-panels // candidates.chunk)
    visits = panels * blocks * (_VISIT + sums + branches)
    far = problem.out.nbytes > _FAR * target.l2_bytes
    store = _STORE + np.where(candidates.permuted & far, _SCATTERED, 0.0)
    inputs = lines[0] * _LINE + _depthwise(problem, target, pixels)
    traffic = chunks * problem.channels * inputs + len(problem.matrix) * pixels * store
    traffic += _streamed(target, candidates, work, chunks) / _STREAM
    tile = columns + visits + traffic
    fetched = problem.channels * _fetched(problem, candidates, lines[0]) - _FEW * panels * blocks
    waited = np.maximum(0.0, _FETCH * fetched - _FETCHING * tile)
    tasks = problem.tiles(candidates) * chunks
    rounds = -(-tasks // threads) / tasks
    estimated: Floats = problem.tiles(candidates) * (tile + waited) * rounds
    return estimated


def _streamed(target: Target, candidates: Candidates, work: Work, chunks: Counts) -> Counts:
    """Bytes of weights that a tile reads from beyond the L2 cache: all, where it cannot hold them.

    Neighbouring tasks of one chunk find its weights there.
    """
    kept = np.arange(1, work.columns.shape[1] + 1)
    stored = 4 * (work.columns * (kept + work.loads[:, None])).sum(axis=1)
    held = np.where(candidates.parallel == "panels", stored / chunks, stored)
    return np.where(held > target.l2_bytes, stored, 0)


def _depthwise(problem: PanelProblem, target: Target, pixels: Counts) -> Floats:
    """Cycles that a tile of a channel takes to compute, where a depthwise convolution gives it."""
    if problem.depthwise is None:
        return np.zeros(len(pixels))
    taps = len(problem.depthwise.offsets)
    computed: Floats = np.maximum(taps * pixels / target.fmas, taps * _LATENCY) + pixels * _COMPUTED
    return computed


def _fetched(problem: PanelProblem, tiles: Tile, lines: Counts) -> Floats:
    """Of the `lines` that a tile reads of a channel for a depthwise convolution, those that come from memory.

    The tile above has read those of the rows that it shares.
    """
    if problem.depthwise is None:
        return np.zeros(len(lines))
    row, fresh = problem.source.row, problem.tile_steps(tiles)[0]
    shared = int(np.ptp(problem.depthwise.offsets)) // row * row + row - problem.pixel_steps[0]
    fetched: Floats = lines * np.minimum(1.0, fresh / (fresh + shared))
    return fetched


def _column_cycles(
    problem: PanelProblem,
    target: Target,
    candidates: Candidates,
    work: Work,
    lines: tuple[Counts, Floats],
) -> Floats:
    """Cycles of all columns, by how many of a panel's rows keep each."""
    pixels, rows = candidates.tile_h * candidates.tile_w, candidates.rows
    of_channel, share = lines
    slab = LINE_BYTES * of_channel * np.minimum(candidates.block, problem.channels) / share
    past = np.minimum(_MOST_PAST, np.maximum(0.0, slab / target.l1_bytes - _HELD))
    past *= _ONCE if problem.columns_per_channel == 1 else 1.0
    split = np.count_nonzero(problem.offsets % problem.out.lanes) / len(problem.offsets)
    load = _LOAD * (1 + _SPLIT * split) * (1 + _L2_LOAD * past)
    loads = work.loads * (pixels * load + 0.5)
    stalls = _COLUMN + _STALL * work.loads * pixels * past
    # A column's weights stay in registers where several pixels read them; combined rows take turns.
    weights = np.where((pixels == 1) | (work.loads > 1), 1, rows)
    spilled = rows * pixels + weights + 1 > target.registers
    moved = np.where(spilled, 1 + _MOVED, 1.0)
    total = np.zeros(len(rows))
    for p, count in enumerate(work.columns.T, 1):
        busiest = np.maximum(np.maximum(p * pixels / target.fmas, (loads + p) / target.loads), _LATENCY)
        time = moved * (busiest + stalls)
        total += count * np.where(spilled & (rows == p), time * (1 + _SPILL), time)
    return total
