"""The format and schedule of a panel kernel without tuning: the least estimated cycles."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sparsegen.formats.column_combined import groups_of_block
from sparsegen.formats.detect import Structure, detect
from sparsegen.formats.permutation import order_rows
from sparsegen.kernels.panels.cost import FREE_REGISTERS, combined_work, cycles, input_lines, masked_work
from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule
from sparsegen.lowering.layout import LINE
from sparsegen.target import Target

TILE_LIMIT = 16  # pixel vectors along an axis: what layouts leave room for past an image's end
_SPARSE_ROWS = 4  # 2^rows masks, each with code of its own, unless rows keep the same
_COMBINED_ROWS = (1, 2, 4, 8, 16)
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
    one_pixel = problem.pixels == (1, 1)
    most = target.registers - FREE_REGISTERS if one_pixel else target.registers // 4
    sparse = not dense and structure.kind != "dense"
    groups = {
        block: groups_of_block(problem.matrix, block * problem.columns_per_channel)
        for block in (_blocks(problem) if sparse else ())
    }
    for rows in range(1, max(1, min(most, problem.matrix.shape[0])) + 1):
        works = {("dense_panels", False): masked_work(problem.matrix, rows, dense=True)}
        if sparse and (rows <= _SPARSE_ROWS or structure.rows % rows == 0):
            works["masked_panels", False] = masked_work(problem.matrix, rows)
            if permute and rows > 1 and structure.rows == 1:
                ordered = problem.matrix[order_rows(problem.matrix, rows=rows)]
                works["masked_panels", True] = masked_work(ordered, rows)
        for knobs, lines in _schedules(problem, target, rows):
            if sparse and rows in _COMBINED_ROWS:
                panels, blocks = -(-len(problem.matrix) // rows), -(-problem.channels // knobs.block)
                works["column_combined", False] = combined_work(panels, blocks, groups[knobs.block], rows)
            knobs = _with_chunk(problem, knobs, threads)
            for (name, permuted), work in works.items():
                named = replace(knobs, format=name, permuted=permuted)
                yield named, cycles(problem, target, named, work, lines=lines, threads=threads)


def _blocks(problem: PanelProblem) -> list[int]:
    """Input channels of a column block, ascending."""
    return sorted({min(problem.channels, 1 << i) for i in range(3, 11)} | {problem.channels})


def _schedules(
    problem: PanelProblem, target: Target, rows: int
) -> Iterator[tuple[PanelSchedule, tuple[int, float]]]:
    """Legal tiles and blocks of panels of `rows`, and the lines that a tile reads."""
    height, width = problem.pixels
    least, *larger = _blocks(problem)
    for tile_h, tile_w in itertools.product(range(1, height + 1), range(1, width + 1)):
        pixels = tile_h * tile_w
        if max(tile_h, tile_w) > TILE_LIMIT or rows * pixels > target.registers - FREE_REGISTERS:
            continue
        if not problem.ragged and (height % tile_h or width % tile_w):
            continue
        knobs = PanelSchedule(rows, tile_h, tile_w, least, 1)
        lines = input_lines(problem, knobs)
        yield knobs, lines
        for block in larger:
            if 4 * LINE * lines[0] * block <= target.l2_bytes // 4:
                yield replace(knobs, block=block), lines


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
