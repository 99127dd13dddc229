"""The parallel tasks of a kernel that cuts its output in tiles of pixels and its rows in chunks of panels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsegen.lowering.expressions import IntExpr


@dataclass(frozen=True)
class Tasks:
    """Tasks of one of `tiles` (groups, down, across) and one of `chunks` of `chunk` panels each.

    Neighbouring tasks share a tile, or with `by_panels` a chunk. Tiles follow each other along the image's
    rows, or `downward` its columns.
    """

    tiles: tuple[int, int, int]
    chunks: int
    chunk: int
    by_panels: bool = False
    downward: bool = False

    def split(self, task: IntExpr) -> tuple[IntExpr, IntExpr]:
        """(tile, chunk) of a task."""
        tiles = math.prod(self.tiles)
        return (task % tiles, task // tiles) if self.by_panels else (task // self.chunks, task % self.chunks)

    def next_tile(self, task: IntExpr) -> IntExpr:
        """The tile after a task's: with `by_panels` the next task's, which begins anew with each chunk."""
        return self.split(task + 1)[0] if self.by_panels else self.split(task)[0] + 1

    def place(self, tile: IntExpr) -> tuple[IntExpr, IntExpr, IntExpr]:
        """(group, y, x) of a tile; after the last one comes the first, or the next group's."""
        groups, down, across = self.tiles
        y, x = (
            (tile % down, tile // down % across) if self.downward else (tile // across % down, tile % across)
        )
        return tile // (down * across) if groups > 1 else 0, y, x
