"""What a panel kernel costs, without running it: estimated cycles.

The model counts, for a tile and a column, the largest of three times: multiply-adds, loads, and the
latency of an accumulator's chain. To these it adds what a visit (one panel, one column block)
costs: a branch for each mask in use, and the sums read and written; and the way of input, output and
weights to and from memory.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.formats.column_combined import groups_of_block
from sparsegen.formats.masked_panels import column_masks
from sparsegen.formats.permutation import order_rows
from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule
from sparsegen.lowering.layout import LINE
from sparsegen.target import Target

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

_SETS = 64  # of an L1 cache: a page of lines, which every x86 core keeps to


@dataclass(frozen=True)
class Work:
    """What a panel kernel's weights make it do, over the whole matrix.

    `columns` [rows]: columns that p of a panel's rows share, for p = 1 to rows, each loaded once.
    `masks` in use, each a loop; `constant` where every visit has the same counts, which the branch
    predictor learns. `loads`: vectors of input loaded for a column, in those of a tile.
    """

    columns: tuple[float, ...]
    masks: int
    constant: bool
    loads: int = 1


def masked_work(matrix: NDArray[np.float32], rows: int, *, dense: bool = False) -> Work:
    """The work of masked panels of `rows`; `dense` counts zeros as kept."""
    out, width = matrix.shape
    if dense:
        last = out % rows
        columns = [0] * rows
        columns[-1] += width * (out // rows)
        columns[last - 1] += width if last else 0
        return Work(tuple(columns), 1, constant=True)
    used = np.bincount(column_masks(matrix, rows).reshape(-1), minlength=1 << rows)
    columns = [0] * rows
    for mask in range(1, 1 << rows):
        columns[mask.bit_count() - 1] += int(used[mask])
    in_use = int(np.count_nonzero(used[1:]))
    return Work(tuple(columns), max(1, in_use), constant=in_use <= 1 + (out % rows > 0))


def combined_work(panels: int, blocks: int, groups: int, rows: int) -> Work:
    """The work of column-combined weights with `groups` a block: each row loads its own columns."""
    columns = [0] * (rows - 1) + [panels * blocks * groups]
    return Work(tuple(columns), 1, constant=True, loads=rows)


class Works:
    """The work of one problem's weights under any schedule; each kind is counted once."""

    def __init__(self, problem: PanelProblem) -> None:
        self._problem = problem
        self.masked = functools.cache(self._masked)
        self._groups = functools.cache(self._groups_of)

    def of(self, knobs: PanelSchedule) -> Work:
        """The work under a schedule's format, rows, block and permutation."""
        if knobs.format != "column_combined":
            return self.masked(knobs.rows, dense=knobs.format == "dense_panels", permuted=knobs.permuted)
        panels = -(-len(self._problem.matrix) // knobs.rows)
        blocks = -(-self._problem.channels // knobs.block)
        return combined_work(panels, blocks, self._groups(knobs.block), knobs.rows)

    def _masked(self, rows: int, *, dense: bool, permuted: bool) -> Work:
        matrix = self._problem.matrix
        if permuted:
            matrix = matrix[order_rows(matrix, rows=rows)]
        return masked_work(matrix, rows, dense=dense)

    def _groups_of(self, block: int) -> int:
        return groups_of_block(self._problem.matrix, block * self._problem.columns_per_channel)


def input_lines(problem: PanelProblem, knobs: PanelSchedule) -> tuple[int, float]:
    """Cache lines that a tile reads of an input channel, and the share of the L1 cache they can use.

    Where strides leave out every other line, lines crowd in half of the cache's sets.
    """
    lines = problem.lines(knobs) // LINE
    last = problem.columns_per_channel % len(problem.offsets)
    plane = (int(problem.offsets[last]) - int(problem.offsets[0])) // LINE
    channels = np.arange(min(problem.channels, _SETS))[:, None] * plane
    sets = len(np.unique((lines + channels) % _SETS))
    return len(lines), min(1.0, sets / min(_SETS, len(lines) * len(channels)))


def cycles(
    problem: PanelProblem,
    target: Target,
    knobs: PanelSchedule,
    work: Work,
    *,
    lines: tuple[int, float],
    threads: int,
) -> float:
    """Estimated cycles of a kernel on each of `threads`; `lines` as of `input_lines`."""
    pixels, rows = knobs.tile_h * knobs.tile_w, knobs.rows
    panels, blocks = -(-problem.matrix.shape[0] // rows), -(-problem.channels // knobs.block)
    slab = lines if problem.depthwise is None else (pixels, 1.0)
    times = _column_times(problem, target, knobs, work, slab)
    columns = sum(count * time for count, time in zip(work.columns, times, strict=True))
    sums = rows * pixels * (_SUM * (blocks - 1) + 1.0) / blocks
    segment = columns / (panels * blocks * work.masks)
    branches = 2.0 if work.constant else work.masks * max(_MASK, _MISS - _HIDDEN * segment)
    chunks = -(-panels // knobs.chunk)
    visits = panels * blocks * (_VISIT + sums + branches)
    far = 4 * problem.out.groups * problem.out.size > _FAR * target.l2_bytes
    store = _STORE + (_SCATTERED if knobs.permuted and far else 0.0)
    inputs = lines[0] * _LINE + _depthwise(problem, target, pixels)
    traffic = chunks * problem.channels * inputs + len(problem.matrix) * pixels * store
    traffic += _streamed(target, knobs, work, chunks) / _STREAM
    tile = columns + visits + traffic
    fetched = problem.channels * _fetched(problem, knobs, lines[0]) - _FEW * panels * blocks
    waited = max(0.0, _FETCH * fetched - _FETCHING * tile)
    tasks = problem.tiles(knobs) * chunks
    rounds = -(-tasks // threads) / tasks
    return float(problem.tiles(knobs) * (tile + waited) * rounds)


def _streamed(target: Target, knobs: PanelSchedule, work: Work, chunks: int) -> float:
    """Bytes of weights that a tile reads from beyond the L2 cache: all, where it cannot hold them.

    Neighbouring tasks of one chunk find its weights there.
    """
    stored = 4 * sum(count * (kept + work.loads) for kept, count in enumerate(work.columns, 1))
    held = stored / chunks if knobs.parallel == "panels" else stored
    return stored if held > target.l2_bytes else 0.0


def _depthwise(problem: PanelProblem, target: Target, pixels: int) -> float:
    """Cycles that a tile of a channel takes to compute, where a depthwise convolution gives it."""
    if problem.depthwise is None:
        return 0.0
    taps = len(problem.depthwise.offsets)
    return max(taps * pixels / target.fmas, taps * _LATENCY) + pixels * _COMPUTED


def _fetched(problem: PanelProblem, knobs: PanelSchedule, lines: int) -> float:
    """Of the `lines` that a tile reads of a channel for a depthwise convolution, those that come from memory.

    The tile above has read those of the rows that it shares.
    """
    if problem.depthwise is None:
        return 0.0
    row, fresh = problem.source.row, problem.tile_steps(knobs)[0]
    shared = int(np.ptp(problem.depthwise.offsets)) // row * row + row - problem.pixel_steps[0]
    return lines * min(1.0, fresh / (fresh + shared))


def _column_times(
    problem: PanelProblem, target: Target, knobs: PanelSchedule, work: Work, lines: tuple[int, float]
) -> list[float]:
    """Cycles of a column that p of a panel's rows keep, for p = 1 to rows."""
    pixels, rows = knobs.tile_h * knobs.tile_w, knobs.rows
    of_channel, share = lines
    slab = 4 * LINE * of_channel * min(knobs.block, problem.channels) / share
    past = min(_MOST_PAST, max(0.0, slab / target.l1_bytes - _HELD))
    past *= _ONCE if problem.columns_per_channel == 1 else 1.0
    split = np.count_nonzero(problem.offsets % problem.out.lanes) / len(problem.offsets)
    load = _LOAD * (1 + _SPLIT * split) * (1 + _L2_LOAD * past)
    loads = work.loads * (pixels * load + 0.5)
    stalls = _COLUMN + _STALL * work.loads * pixels * past
    times = [
        max(p * pixels / target.fmas, (loads + p) / target.loads, _LATENCY) + stalls
        for p in range(1, rows + 1)
    ]
    # A column's weights stay in registers where several pixels read them; combined rows take turns.
    weights = 1 if pixels == 1 or work.loads > 1 else rows
    if rows * pixels + weights + 1 > target.registers:
        times = [(1 + _MOVED) * time for time in times]
        times[-1] *= 1 + _SPILL
    return times
