"""The format and schedule of a panel kernel without tuning: the least estimated cycles."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sparsegen.formats.detect import Structure, detect
from sparsegen.kernels.panels.cost import Works, cycles, input_lines
from sparsegen.kernels.panels.legality import block_fits, blocks, formats, most_rows, tile_fits
from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule
from sparsegen.target import Target

_TASKS = 4  # parallel tasks a thread, so that a task more or less does not matter
_WORTH_PERMUTING = 0.97  # of the cycles without: below, the estimate is not sure enough


@dataclass(frozen=True, eq=False)
class Choice:
    """The schedule chosen for a problem, and what it was chosen against.

    `cycles` are estimated, on each thread; `estimates` are the least of every format that was
    considered, the dense one among them, without permutation.
    """

    schedule: PanelSchedule
    structure: Structure
    cycles: float
    estimates: dict[str, float]


def choose(
    problem: PanelProblem, target: Target, *, threads: int, dense: bool = False, permute: bool = True
) -> Choice:
    """The format and schedule with the least estimated cycles.

    `dense` allows dense panels only; without `permute` the rows stay in their order.
    """
    structure = detect(problem.matrix, columns_per_channel=problem.columns_per_channel)
    best: dict[tuple[str, bool], tuple[float, PanelSchedule]] = {}
    for knobs, estimate in _candidates(problem, target, structure, threads, dense, permute):
        key = (knobs.format, knobs.permuted)
        if key not in best or estimate < best[key][0]:
            best[key] = estimate, knobs
    estimates = {name: estimate for (name, permuted), (estimate, _) in best.items() if not permuted}
    least, knobs = min((best[name, False] for name in estimates), key=lambda each: each[0])
    for (_, permuted), (estimate, each) in best.items():
        if permuted and estimate < _WORTH_PERMUTING * least:
            least, knobs = estimate, each
    return Choice(knobs, structure, least, estimates)


def _candidates(
    problem: PanelProblem, target: Target, structure: Structure, threads: int, dense: bool, permute: bool
) -> Iterator[tuple[PanelSchedule, float]]:
    """Legal schedules of every format that suits the weights, with their estimated cycles."""
    works, (height, width) = Works(problem), problem.pixels
    for rows in range(1, most_rows(problem, target) + 1):
        suitable = [each for each in formats(structure, rows, dense=dense) if permute or not each[1]]
        for tile_h, tile_w in itertools.product(range(1, height + 1), range(1, width + 1)):
            if not tile_fits(problem, target, rows, tile_h, tile_w):
                continue
            lines = input_lines(problem, PanelSchedule(rows, tile_h, tile_w, 1, 1))
            for block in blocks(problem):
                if not block_fits(problem, target, lines[0], block):
                    continue
                tiled = _with_chunk(problem, PanelSchedule(rows, tile_h, tile_w, block, 1), threads)
                for name, permuted in suitable:
                    knobs = replace(tiled, format=name, permuted=permuted)
                    work = works.of(knobs)
                    yield knobs, cycles(problem, target, knobs, work, lines=lines, threads=threads)


def _with_chunk(problem: PanelProblem, knobs: PanelSchedule, threads: int) -> PanelSchedule:
    """As many panels a task as still leave every thread some tasks, and all threads equally many."""
    panels = -(-problem.matrix.shape[0] // knobs.rows)
    tiles = problem.tiles(knobs)
    if threads == 1:
        return replace(knobs, chunk=panels)
    least = min(panels, -(-threads * _TASKS // tiles))

    def idle(chunks: int) -> float:
        """Share of the threads' time without a task."""
        return -(-tiles * chunks // threads) * threads / (tiles * chunks) - 1

    chunks = min(range(least, min(panels, least + threads - 1) + 1), key=idle)
    return replace(knobs, chunk=-(-panels // chunks))
