"""The schedule of a masked-panel kernel without tuning: the least estimated cycles.

The model counts, for a tile and a column, the largest of three times: multiply-adds, loads, and the
latency of an accumulator's chain. To these it adds what a visit (one panel, one column block)
costs: a branch for each mask in use, and the sums read and written.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sparsegen.formats.masked_panels import column_masks
from sparsegen.kernels.masked_panels.problem import PanelProblem, PanelSchedule
from sparsegen.lowering.layout import LINE
from sparsegen.target import Target

TILE_LIMIT = 16  # pixel vectors along an axis: what layouts leave room for past an image's end
_SPARSE_ROWS = 4  # 2^rows masks, each with code of its own
_FREE_REGISTERS = 4  # beside the accumulators
_TASKS = 4  # parallel tasks a thread, so that a task more or less does not matter

# In cycles, fitted to measured times of ResNet-18's 3x3 layers at 10 to 100 % density on Zen 5.
_LATENCY = 4.0  # of a multiply-add
_COLUMN = 0.8  # of the loop over a mask's columns
_LOAD = 1.12  # of a vector, over what the target's load ports promise
_SPLIT_LOAD = 1.5  # times as much where two of three taps are not aligned, and touch two lines
_L2_LOAD = 1.0  # as much again for every L1 cache that a column block's input takes,
_HELD, _MOST_PAST = 0.45, 1.4  # less the share that stays there, and no more than this many
_SPILL = 0.25  # share of the time of a column that all rows keep, where a register is missing
_VISIT = 14.0
_MASK = 3.5  # of every mask in use, each visit, for a branch that is often mispredicted; up to
_MISS = 14.0  # where the multiply-adds under way are too few to hide that
_HIDDEN = 0.2  # of a cycle of multiply-adds' time
_SUM = 4.6  # of a vector of sums, read and written each visit


@dataclass(frozen=True)
class _MaskCounts:
    """Columns of the whole matrix with a mask of p rows, for p in 1..rows, and masks in use."""

    columns: tuple[int, ...]
    masks: int
    constant: bool  # whether every visit has the same counts, which the branch predictor learns


def choose_schedule(
    problem: PanelProblem, target: Target, *, threads: int, dense: bool = False
) -> PanelSchedule:
    """The schedule with the least estimated cycles; `dense` packs every weight."""
    best: tuple[float, PanelSchedule] | None = None
    for rows in _row_choices(problem, target, dense):
        counts = _count_masks(problem, rows, dense)
        for knobs, slab in _schedules(problem, target, rows):
            knobs = _with_chunk(problem, knobs, threads)
            cycles = _cycles(problem, target, knobs, counts, slab=slab, threads=threads)
            if best is None or cycles < best[0]:
                best = (cycles, knobs)
    assert best is not None
    return best[1]


def _row_choices(problem: PanelProblem, target: Target, dense: bool) -> range:
    full = dense or bool(np.all(problem.matrix))
    one_pixel = problem.pixels == (1, 1)
    most = target.registers - _FREE_REGISTERS if one_pixel else target.registers // 4
    most = most if full else _SPARSE_ROWS
    return range(1, max(1, min(most, problem.matrix.shape[0])) + 1)


def _count_masks(problem: PanelProblem, rows: int, dense: bool) -> _MaskCounts:
    out, width = problem.matrix.shape
    if rows > _SPARSE_ROWS:  # panels as high as these are of dense weights alone: one full mask
        return _MaskCounts((0,) * (rows - 1) + (width * (out // rows),), 1, True)
    masks = column_masks(problem.matrix, rows, dense=dense)
    used = np.bincount(masks.reshape(-1), minlength=1 << rows)
    columns = [0] * rows
    for mask in range(1, 1 << rows):
        columns[mask.bit_count() - 1] += int(used[mask])
    in_use = int(np.count_nonzero(used[1:]))
    return _MaskCounts(tuple(columns), max(1, in_use), in_use <= 1 + (out % rows > 0))


def _schedules(problem: PanelProblem, target: Target, rows: int) -> Iterator[tuple[PanelSchedule, int]]:
    """Legal schedules of panels of `rows`, and the bytes of input that a tile reads of a column block."""
    height, width = problem.pixels
    blocks = sorted({min(problem.channels, 1 << i) for i in range(3, 11)} | {problem.channels})
    for tile_h, tile_w in itertools.product(range(1, height + 1), range(1, width + 1)):
        pixels = tile_h * tile_w
        if max(tile_h, tile_w) > TILE_LIMIT or rows * pixels > target.registers - _FREE_REGISTERS:
            continue
        if not problem.ragged and (height % tile_h or width % tile_w):
            continue
        of_channel = 4 * LINE * len(problem.lines(PanelSchedule(rows, tile_h, tile_w, 1, 1)))
        for block in blocks:
            if block == blocks[0] or block * of_channel <= target.l2_bytes // 4:
                yield PanelSchedule(rows, tile_h, tile_w, block, 1), block * of_channel


def _with_chunk(problem: PanelProblem, knobs: PanelSchedule, threads: int) -> PanelSchedule:
    """As many panels a task as still leave every thread some tasks."""
    panels = -(-problem.matrix.shape[0] // knobs.rows)
    tiles = problem.tiles(knobs)
    chunks = 1 if threads == 1 else min(panels, -(-threads * _TASKS // tiles))
    return replace(knobs, chunk=-(-panels // chunks))


def _cycles(
    problem: PanelProblem,
    target: Target,
    knobs: PanelSchedule,
    counts: _MaskCounts,
    *,
    slab: int,
    threads: int,
) -> float:
    pixels, rows = knobs.tile_h * knobs.tile_w, knobs.rows
    load = _LOAD * (1.0 if problem.out.batch_lanes else _SPLIT_LOAD)
    load *= 1 + _L2_LOAD * min(_MOST_PAST, max(0.0, slab / target.l1_bytes - _HELD))
    times = [
        max(p * pixels / target.fmas, (pixels * load + p + 0.5) / target.loads, _LATENCY) + _COLUMN
        for p in range(1, rows + 1)
    ]
    if rows * pixels + min(rows, pixels) + 1 > target.registers:
        times[-1] *= 1 + _SPILL
    columns = sum(count * time for count, time in zip(counts.columns, times, strict=True))
    panels, blocks = -(-problem.matrix.shape[0] // rows), -(-problem.channels // knobs.block)
    sums = rows * pixels * (_SUM if blocks > 1 else 1.0)
    segment = columns / (panels * blocks * counts.masks)
    branches = 2.0 if counts.constant else counts.masks * max(_MASK, _MISS - _HIDDEN * segment)
    tasks = problem.tiles(knobs) * -(-panels // knobs.chunk)
    rounds = -(-tasks // threads) * threads / tasks
    return float(problem.tiles(knobs) * (columns + panels * blocks * (_VISIT + sums + branches)) * rounds)
