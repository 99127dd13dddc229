"""Which lines of the input a panel kernel fetches ahead: the next tile's, panel by panel.

A tile's input comes from memory the first time that it is read, in runs too short for the
hardware's prefetchers to notice. While a tile is computed, every visit of a panel fetches a few
channels of the next tile, so that they lie in the cache when it begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule

Expr = Any
_MOST = 128  # lines that one visit fetches: more would keep the multiply-adds waiting


@dataclass(frozen=True)
class Prefetch:
    """Fetches ahead for the next of `tiles` (groups, rows, columns), whose starts are `steps` apart.

    A task is a tile and one of `chunks` of `chunk` panels. With `by_panels` the next tile is the next
    task's, for which the visits of one task fetch; otherwise all tasks of a tile share that. A column
    block has `channels` input channels, `plane` floats apart. What a tile reads of one are `pieces`,
    `piece` floats apart, of the same lines: the first piece's lie at `lines` for an image's first tile.
    """

    lines: tuple[int, ...]
    tiles: tuple[int, int, int]
    steps: tuple[int, int]
    chunks: int
    chunk: int
    by_panels: bool
    channels: int
    plane: int
    pieces: int
    piece: int

    @property
    def visits(self) -> int:
        """Visits that share the fetching for a tile."""
        return self.chunk if self.by_panels else self.chunks * self.chunk

    @property
    def share(self) -> int:
        """Pieces that a visit fetches."""
        return -(-self.channels * self.pieces // self.visits)

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
        most, share = self.channels * self.pieces, self.share
        fetched = []
        for i in range(share):
            unit = visit * share + i
            exists = unit < most if share * self.visits > most else None
            channel, piece = tirx.floordiv(unit, self.pieces), tirx.floormod(unit, self.pieces)
            at = start + (block * self.channels + channel) * self.plane + piece * self.piece
            fetched += [(group, at + line, exists) for line in self.lines]
        return fetched


def plan_prefetch(problem: PanelProblem, panels: int, knobs: PanelSchedule) -> Prefetch | None:
    """What a kernel of `panels` panels fetches ahead; None where nothing is next, or too much is."""
    if problem.tiles(knobs) == 1:
        return None
    channels = min(knobs.block, problem.channels)
    lines = problem.lines(knobs)
    pieces = _pieces(lines)
    prefetch = Prefetch(
        lines=tuple(int(line) for line in lines[: len(lines) // pieces]),
        tiles=problem.tile_grid(knobs),
        steps=problem.tile_steps(knobs),
        chunks=panels // knobs.chunk,
        chunk=knobs.chunk,
        by_panels=knobs.parallel == "panels",
        channels=channels,
        plane=problem.plane,
        pieces=pieces,
        piece=int(lines[len(lines) // pieces] - lines[0]) if pieces > 1 else 0,
    )
    return prefetch if len(prefetch.lines) * prefetch.share <= _MOST else None


def _pieces(lines: NDArray[np.int64]) -> int:
    """The most pieces, equally far apart, of the same lines that lines can be cut in."""

    def regular(pieces: int) -> bool:
        cut = lines.reshape(pieces, -1)
        return bool((np.diff(cut, axis=0) == cut[-1] - cut[-2]).all()) if pieces > 1 else True

    return max(n for n in range(1, len(lines) + 1) if len(lines) % n == 0 and regular(n))
