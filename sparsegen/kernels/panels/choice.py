"""The format and schedule of a panel kernel without tuning: the least estimated cycles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsegen.formats.detect import Structure, detect
from sparsegen.kernels.panels.candidates import Candidates, Counts, Tiles
from sparsegen.kernels.panels.cost import Floats, cycles, input_lines
from sparsegen.kernels.panels.legality import TILE_LIMIT, block_fits, blocks, formats, most_rows, tile_fits
from sparsegen.kernels.panels.problem import PARALLEL, PanelProblem, PanelSchedule
from sparsegen.kernels.panels.work import Works
from sparsegen.stopwatch import part
from sparsegen.target import Target

DENSE_FORMAT = "dense_panels"
_TASKS = 4  # parallel tasks a thread, so that a task more or less does not matter
_WORTH_PERMUTING = 0.97  # of the cycles without: below, the estimate is not sure enough


@dataclass(frozen=True, eq=False)
class PanelChoice:
    """The schedule chosen for a problem, and what it was chosen against.

    `cycles` are estimated, on each thread; `estimates` are the least of every format that was
    considered, the dense one among them, without permutation, and `schedules` those of that.
    """

    schedule: PanelSchedule
    structure: Structure
    cycles: float
    estimates: dict[str, float]
    schedules: dict[str, PanelSchedule]


@part("choosing panels")
def choose(
    problem: PanelProblem, target: Target, *, threads: int, dense: bool = False, permute: bool = True
) -> PanelChoice:
    """The format and schedule with the least estimated cycles.

    `dense` allows dense panels only; without `permute` the rows stay in their order.
    """
    structure = detect(problem.matrix, columns_per_channel=problem.columns_per_channel)
    candidates, lines = _candidates(problem, target, structure, threads, dense, permute)
    estimated = cycles(
        problem, target, candidates, Works(problem).of(candidates), lines=lines, threads=threads
    )
    best: dict[tuple[str, bool], int] = {}
    kinds = candidates.kinds
    for first in sorted(np.unique(kinds, return_index=True)[1].tolist()):
        of_kind = np.flatnonzero(kinds == kinds[first])
        kind = candidates.format[first].item(), candidates.permuted[first].item()
        best[kind] = int(of_kind[estimated[of_kind].argmin()])
    estimates = {name: float(estimated[at]) for (name, permuted), at in best.items() if not permuted}
    chosen = min((best[name, False] for name in estimates), key=lambda at: float(estimated[at]))
    least = estimated[chosen]
    for (_, permuted), at in best.items():
        if permuted and estimated[at] < _WORTH_PERMUTING * least:
            least, chosen = estimated[at], at
    schedules = {name: candidates.schedule(best[name, False]) for name in estimates}
    return PanelChoice(candidates.schedule(chosen), structure, float(least), estimates, schedules)


def _candidates(
    problem: PanelProblem, target: Target, structure: Structure, threads: int, dense: bool, permute: bool
) -> tuple[Candidates, tuple[Counts, Floats]]:
    """Legal schedules of every format that suits the weights, in order of knobs; what lines they read."""
    tiles = Tiles.within(problem.pixels, TILE_LIMIT)
    tiles = tiles[tile_fits(problem, target, 1, tiles)]  # those that fit no panel cost time
    lines, sizes = input_lines(problem, tiles), np.array(blocks(problem))
    block_fitting = block_fits(problem, target, lines[0][:, None], sizes)
    found, tiles_of = [], []
    for rows in range(1, most_rows(problem, target) + 1):
        suitable = [each for each in formats(structure, rows, dense=dense) if permute or not each[1]]
        names, permuted = map(np.array, zip(*suitable, strict=True))
        fitting = tile_fits(problem, target, rows, tiles)[:, None] & block_fitting
        tile, block, kind = np.nonzero(np.repeat(fitting[..., None], len(suitable), axis=2))
        found.append(
            Candidates(
                rows=np.full(len(tile), rows),
                tile_h=tiles.tile_h[tile],
                tile_w=tiles.tile_w[tile],
                block=sizes[block],
                chunk=_chunks(problem, rows, tiles, threads)[tile],
                format=names[kind],
                permuted=permuted[kind],
                parallel=np.full(len(tile), PARALLEL[0]),
            )
        )
        tiles_of.append(tile)
    of_all = np.concatenate(tiles_of)
    return Candidates.joined(found), (lines[0][of_all], lines[1][of_all])


def _chunks(problem: PanelProblem, rows: int, tiles: Tiles, threads: int) -> Counts:
    """As many panels a task as still leave every thread some tasks, and all threads equally many."""
    count: Counts = problem.tiles(tiles)
    panels = -(-problem.matrix.shape[0] // rows)
    if threads == 1:
        return np.full(len(count), panels)
    least = np.minimum(panels, -(-threads * _TASKS // count))
    chunks, idle = least, _idle(count * least, threads)
    for more in range(1, threads):
        others = np.minimum(panels, least + more)
        idle_then = _idle(count * others, threads)
        chunks = np.where(idle_then < idle, others, chunks)
        idle = np.minimum(idle, idle_then)
    chosen: Counts = -(-panels // chunks)
    return chosen


def _idle(tasks: Counts, threads: int) -> Floats:
    """Share of the threads' time without a task."""
    idle: Floats = -(-tasks // threads) * threads / tasks - 1
    return idle
