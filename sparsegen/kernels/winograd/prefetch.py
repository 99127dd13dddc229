"""Which lines of the input Winograd's kernel fetches ahead: the next tiles', between its multiplications.

A tile's input comes from memory channel by channel, in runs too short for the hardware's prefetchers to
notice, and is read once: nothing else would be waited for as long.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsegen.kernels.tasks import Tasks
from sparsegen.kernels.winograd.problem import WinogradProblem, WinogradSchedule
from sparsegen.lowering.expressions import Condition, Expr, IntExpr
from sparsegen.lowering.prefetch import Line

_MOST = 64  # lines that one visit fetches: more would keep the multiply-adds waiting


@dataclass(frozen=True)
class TilePrefetch:
    """Fetches ahead for the next group of tiles of `tasks`; groups are `steps` floats apart.

    A task visits every position, of `positions`, and of each a chunk's panels. A group reads `lines`
    (channels, rows, vectors of a row), `strides` floats apart, from `first`.
    """

    tasks: Tasks
    steps: tuple[int, int]
    positions: int
    lines: tuple[int, int, int]
    strides: tuple[int, int, int]
    first: int

    @property
    def share(self) -> int:
        """Lines that one visit fetches."""
        channels, rows, vectors = self.lines
        return -(-channels * rows * vectors // (self.positions * self.tasks.chunk * self.tasks.chunks))

    def __call__(self, task: IntExpr, position: IntExpr, panel: Expr, last: Condition | None) -> list[Line]:
        """The lines of the input to fetch at a visit."""
        tasks, share, (_, rows, vectors) = self.tasks, self.share, self.lines
        group, y, x = tasks.place(tasks.next_tile(task))
        start = self.first + y * self.steps[0] + x * self.steps[1]
        of_task = tasks.split(task)[1] * (self.positions * tasks.chunk)
        visit = (of_task + position * tasks.chunk + panel) * share
        fetched: list[Line] = []
        for line in (visit + i for i in range(share)):
            at = (line // (rows * vectors), line // vectors % rows, line % vectors)
            address = start + sum(index * stride for index, stride in zip(at, self.strides, strict=True))
            fetched.append((0, group, address, at[0] < self.lines[0]))
        return fetched


def plan_prefetch(problem: WinogradProblem, knobs: WinogradSchedule) -> TilePrefetch | None:
    """What a kernel fetches ahead; None where nothing is next, or too much is, or lanes hold pixels."""
    source, groups = problem.source, problem.groups(knobs)
    if not problem.out.batch_lanes or problem.out.groups * groups[0] * groups[1] == 1:
        return None
    inputs, panels, weight = problem.transform(knobs).inputs, problem.panels(knobs), problem.conv.weight
    margin, steps = weight.shape[2] - problem.stride, knobs.outputs * problem.stride
    height, width = knobs.tiles_h * steps, knobs.tiles_w * steps
    prefetch = TilePrefetch(
        tasks=Tasks((problem.out.groups, *groups), panels // knobs.chunk, knobs.chunk),
        steps=(height * source.row, width * source.step),
        positions=inputs**2,
        lines=(weight.shape[1], height + margin, width + margin),
        strides=(source.plane, source.row, source.step),
        first=int(problem.conv.taps.offsets(source)[0]),
    )
    return prefetch if prefetch.share <= _MOST else None
