"""Which lines of the input a panel kernel fetches ahead: the next tile's, panel by panel.

A tile's input comes from memory the first time that it is read, in runs too short for the
hardware's prefetchers to notice. While a tile is computed, every visit of a panel fetches a few
channels of the next tile, so that they lie in the cache when it begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule

Expr = Any
_MOST = 128  # lines that one visit fetches: more would keep the multiply-adds waiting


@dataclass(frozen=True)
class Prefetch:
    """Fetches ahead for the next of `tiles` (groups, rows, columns), whose starts are `steps` apart.

    A task is a tile and one of `chunks` of `chunk` panels. With `by_panels` the next tile is the next
    task's, for which the visits of one task fetch; otherwise all tasks of a tile share that. In a
    column block of `channels` input channels, `plane` floats apart, the lines that a tile reads of
    the first lie at `lines` for an image's first tile.
    """

    lines: tuple[int, ...]
    tiles: tuple[int, int, int]
    steps: tuple[int, int]
    chunks: int
    chunk: int
    by_panels: bool
    channels: int
    plane: int

    @property
    def visits(self) -> int:
        """Visits that share the fetching for a tile."""
        return self.chunk if self.by_panels else self.chunks * self.chunk

    def __call__(self, task: Expr, block: Expr, panel: Expr) -> list[tuple[Expr, Expr, Expr | None]]:
        """(group, address, condition) of the lines to fetch at a visit of the task's `panel`."""
        groups, height, width = self.tiles
        if self.by_panels:
            tile, visit = tirx.floormod(task + 1, groups * height * width), panel
        else:
            tile = tirx.floordiv(task, self.chunks) + 1
            visit = tirx.floormod(task, self.chunks) * self.chunk + panel
        group = tirx.floordiv(tile, height * width)
        y, x = tirx.floormod(tirx.floordiv(tile, width), height), tirx.floormod(tile, width)
        start = y * self.steps[0] + x * self.steps[1]
        share = -(-self.channels // self.visits)
        fetched = []
        for i in range(share):
            channel = visit * share + i
            exists = channel < self.channels if share * self.visits > self.channels else None
            at = start + (block * self.channels + channel) * self.plane
            fetched += [(group, at + line, exists) for line in self.lines]
        return fetched


def plan_prefetch(problem: PanelProblem, panels: int, knobs: PanelSchedule) -> Prefetch | None:
    """What a kernel of `panels` panels fetches ahead; None where nothing is next, or too much is."""
    if problem.tiles(knobs) == 1:
        return None
    channels = min(knobs.block, problem.channels)
    prefetch = Prefetch(
        lines=tuple(int(line) for line in problem.lines(knobs)),
        tiles=problem.tile_grid(knobs),
        steps=problem.tile_steps(knobs),
        chunks=panels // knobs.chunk,
        chunk=knobs.chunk,
        by_panels=knobs.parallel == "panels",
        channels=channels,
        plane=problem.plane,
    )
    return prefetch if len(prefetch.lines) * -(-channels // prefetch.visits) <= _MOST else None
