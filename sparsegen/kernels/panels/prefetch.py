"""Which lines a panel kernel fetches ahead: of the next tile's input, and of the epilogue's operands.

A tile's input comes from memory the first time that it is read, in runs too short for the
hardware's prefetchers to notice. While a tile is computed, every visit of a panel fetches a few
channels of the next tile, so that they lie in the cache when it begins.

What the epilogue adds to a panel's sums, such as a residual, comes from memory too, once, and would
be waited for: a panel's mispredicted branches keep the next one's loads from starting early. A visit
fetches it before its multiply-adds: that of the last column block, where there are several.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.operands import Value
from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule
from sparsegen.kernels.tasks import Tasks
from sparsegen.lowering.expressions import Condition, Expr, IntExpr
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.prefetch import Line

_MOST = 128  # lines that one visit fetches: more would keep the multiply-adds waiting


@dataclass(frozen=True)
class InputPrefetch:
    """Fetches ahead for the next tile of `tasks`; tiles' starts are `steps` apart.

    With `by_panels` the visits of one task fetch for it; otherwise all tasks of a tile share that. A column
    block has `channels` input channels, `plane` floats apart. What a tile reads of one are `pieces`,
    `piece` floats apart, of the same lines: the first piece's lie at `lines` for an image's first tile.
    """

    tasks: Tasks
    lines: tuple[int, ...]
    steps: tuple[int, int]
    channels: int
    plane: int
    pieces: int
    piece: int

    @property
    def visits(self) -> int:
        """Visits that share the fetching for a tile."""
        return self.tasks.chunk if self.tasks.by_panels else self.tasks.chunks * self.tasks.chunk

    @property
    def share(self) -> int:
        """Pieces that a visit fetches."""
        return -(-self.channels * self.pieces // self.visits)

    def __call__(self, task: IntExpr, block: IntExpr, panel: Expr, last: Condition | None) -> list[Line]:
        """The lines to fetch at a visit of the task's `panel`."""
        tasks, most, share = self.tasks, self.channels * self.pieces, self.share
        group, y, x = tasks.place(tasks.next_tile(task))
        visit = panel if tasks.by_panels else tasks.split(task)[1] * tasks.chunk + panel
        start = y * self.steps[0] + x * self.steps[1]
        fetched: list[Line] = []
        for unit in (visit * share + i for i in range(share)):
            exists = unit < most if share * self.visits > most else None
            channel, piece = unit // self.pieces, unit % self.pieces
            at = start + (block * self.channels + channel) * self.plane + piece * self.piece
            fetched += [(0, group, at + line, exists) for line in self.lines]
        return fetched


def plan_prefetch(problem: PanelProblem, panels: int, knobs: PanelSchedule) -> InputPrefetch | None:
    """What a kernel of `panels` panels fetches ahead; None where nothing is next, or too much is."""
    if problem.tiles(knobs) == 1:
        return None
    lines = problem.lines(knobs)
    if problem.depthwise is not None:  # the tile above has read the rest, or fetched it
        lines = np.setdiff1d(lines, lines - problem.tile_steps(knobs)[0])
    pieces = _pieces(lines)
    prefetch = InputPrefetch(
        tasks=_tasks(problem, panels, knobs),
        lines=tuple(int(line) for line in lines[: len(lines) // pieces]),
        steps=problem.tile_steps(knobs),
        channels=min(knobs.block, problem.channels),
        plane=problem.plane,
        pieces=pieces,
        piece=int(lines[len(lines) // pieces] - lines[0]) if pieces > 1 else 0,
    )
    return prefetch if len(prefetch.lines) * prefetch.share <= _MOST else None


def _tasks(problem: PanelProblem, panels: int, knobs: PanelSchedule) -> Tasks:
    """The tasks of a kernel of `panels` panels."""
    return Tasks(
        problem.tile_grid(knobs),
        panels // knobs.chunk,
        knobs.chunk,
        by_panels=knobs.parallel == "panels",
        downward=problem.depthwise is not None,
    )


def _pieces(lines: NDArray[np.int64]) -> int:
    """The most pieces, equally far apart, of the same lines that lines can be cut in."""

    def regular(pieces: int) -> bool:
        cut = lines.reshape(pieces, -1)
        return bool((np.diff(cut, axis=0) == cut[-1] - cut[-2]).all()) if pieces > 1 else True

    return max(n for n in range(1, len(lines) + 1) if len(lines) % n == 0 and regular(n))


@dataclass(frozen=True)
class OperandPrefetch:
    """Fetches what the epilogue reads of operands that lie as the output does, `layout`.

    `parameters` are the operands' numbers among the kernel's, from the end. Panels have `rows`, tiles are
    `tile` pixels; a task visits its panels once a column block, and fetches in the last one.
    """

    tasks: Tasks
    layout: Layout
    parameters: tuple[int, ...]
    tile: tuple[int, int]
    rows: int

    def __call__(self, task: IntExpr, block: IntExpr, panel: Expr, last: Condition | None) -> list[Line]:
        """The lines to fetch at a visit of the task's `panel`; some may lie past the last pixel."""
        tile, chunk = self.tasks.split(task)
        group, y, x = self.tasks.place(tile)
        down, right = self.layout.pixel_steps((1, 1))
        channel = (chunk * self.tasks.chunk + panel) * self.rows
        first = self.layout.base + channel * self.layout.plane
        at = first + y * self.tile[0] * down + x * self.tile[1] * right
        return [
            (number, group, at + row * self.layout.plane + dy * down + dx * right, last)
            for number in self.parameters
            for row in range(self.rows)
            for dy in range(self.tile[0])
            for dx in range(self.tile[1])
        ]


def plan_operand_prefetch(
    problem: PanelProblem, panels: int, knobs: PanelSchedule, epilogue: Epilogue
) -> OperandPrefetch | None:
    """What a kernel of `panels` panels fetches of its epilogue's operands; None where that does not help.

    Rows in another order have their operands anywhere. A visit fetches as many lines of an operand as it
    has sums: no more than there are registers, which needs no limit.
    """
    count = len(epilogue.operands)
    parameters = tuple(
        number - count - 1  # the output is the last parameter
        for number, operand in enumerate(epilogue.operands.values())
        if isinstance(operand, Value) and operand.layout == problem.out
    )
    far = problem.out.batch_lanes and not problem.channels_last  # else the operands are small, and near
    if not (parameters and far and problem.channel_of is None):
        return None
    return OperandPrefetch(
        tasks=_tasks(problem, panels, knobs),
        layout=problem.out,
        parameters=parameters,
        tile=(knobs.tile_h, knobs.tile_w),
        rows=knobs.rows,
    )


@dataclass(frozen=True)
class Together:
    """Fetches what each of `parts` does."""

    parts: tuple[InputPrefetch | OperandPrefetch, ...]

    def __call__(self, task: IntExpr, block: IntExpr, panel: Expr, last: Condition | None) -> list[Line]:
        """The lines to fetch at a visit."""
        return [line for part in self.parts for line in part(task, block, panel, last)]
