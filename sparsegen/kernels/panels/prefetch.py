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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.operands import Value
from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.prefetch import Line

Expr = Any
_MOST = 128  # lines that one visit fetches: more would keep the multiply-adds waiting


@dataclass(frozen=True)
class Prefetch:
    """Fetches ahead for the next of `tiles` (groups, rows, columns), whose starts are `steps` apart.

    A task is a tile and one of `chunks` of `chunk` panels. With `by_panels` the next tile is the next
    task's, for which the visits of one task fetch; otherwise all tasks of a tile share that. A column
    block has `channels` input channels, `plane` floats apart. What a tile reads of one are `pieces`,
    `piece` floats apart, of the same lines: the first piece's lie at `lines` for an image's first tile.
    `downward` tiles follow each other down the image's columns, others along its rows.
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
    downward: bool

    @property
    def visits(self) -> int:
        """Visits that share the fetching for a tile."""
        return self.chunk if self.by_panels else self.chunks * self.chunk

    @property
    def share(self) -> int:
        """Pieces that a visit fetches."""
        return -(-self.channels * self.pieces // self.visits)

    def __call__(self, task: Expr, block: Expr, panel: Expr) -> list[Line]:
        """The lines to fetch at a visit of the task's `panel`."""
        groups, height, width = self.tiles
        if self.by_panels:
            tile, visit = tirx.floormod(task + 1, groups * height * width), panel
        else:
            tile = tirx.floordiv(task, self.chunks) + 1
            visit = tirx.floormod(task, self.chunks) * self.chunk + panel
        group = tirx.floordiv(tile, height * width)
        y, x = tirx.floormod(tirx.floordiv(tile, width), height), tirx.floormod(tile, width)
        if self.downward:
            y, x = tirx.floormod(tile, height), tirx.floormod(tirx.floordiv(tile, height), width)
        start = y * self.steps[0] + x * self.steps[1]
        most, share = self.channels * self.pieces, self.share
        fetched: list[Line] = []
        for i in range(share):
            unit = visit * share + i
            exists = unit < most if share * self.visits > most else None
            channel, piece = tirx.floordiv(unit, self.pieces), tirx.floormod(unit, self.pieces)
            at = start + (block * self.channels + channel) * self.plane + piece * self.piece
            fetched += [(0, group, at + line, exists) for line in self.lines]
        return fetched


def plan_prefetch(problem: PanelProblem, panels: int, knobs: PanelSchedule) -> Prefetch | None:
    """What a kernel of `panels` panels fetches ahead; None where nothing is next, or too much is."""
    if problem.tiles(knobs) == 1:
        return None
    channels = min(knobs.block, problem.channels)
    lines, downward = problem.lines(knobs), problem.depthwise is not None
    if downward:  # the tile above has read the rest, or fetched it
        lines = np.setdiff1d(lines, lines - problem.tile_steps(knobs)[0])
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
        downward=downward,
    )
    return prefetch if len(prefetch.lines) * prefetch.share <= _MOST else None


def _pieces(lines: NDArray[np.int64]) -> int:
    """The most pieces, equally far apart, of the same lines that lines can be cut in."""

    def regular(pieces: int) -> bool:
        cut = lines.reshape(pieces, -1)
        return bool((np.diff(cut, axis=0) == cut[-1] - cut[-2]).all()) if pieces > 1 else True

    return max(n for n in range(1, len(lines) + 1) if len(lines) % n == 0 and regular(n))


@dataclass(frozen=True)
class OperandPrefetch:
    """Fetches what the epilogue reads of operands that lie as the output does, `layout`.

    `parameters` are the operands' numbers among the kernel's, from the end. A task is one of `tiles` and
    one of `chunks` of `chunk` panels of `rows`; it visits them once a column block, of `blocks`.
    """

    layout: Layout
    parameters: tuple[int, ...]
    tiles: tuple[int, int, int]
    tile: tuple[int, int]
    rows: int
    chunks: int
    chunk: int
    blocks: int
    by_panels: bool

    def __call__(self, task: Expr, block: Expr, panel: Expr) -> list[Line]:
        """The lines to fetch at a visit of the task's `panel`; some may lie past the last pixel."""
        groups, height, width = self.tiles
        tiles = groups * height * width
        by_tiles = (tirx.floordiv(task, self.chunks), tirx.floormod(task, self.chunks))
        tile, chunk = (task % tiles, task // tiles) if self.by_panels else by_tiles
        group, y, x = tile // (height * width), tile // width % height, tile % width
        down, right = self.layout.pixel_steps((1, 1))
        channel = (chunk * self.chunk + panel) * self.rows
        first = self.layout.base + channel * self.layout.plane
        at = first + y * self.tile[0] * down + x * self.tile[1] * right
        last = block == self.blocks - 1 if self.blocks > 1 else None
        return [
            (number, group, at + row * self.layout.plane + dy * down + dx * right, last)
            for number in self.parameters
            for row in range(self.rows)
            for dy in range(self.tile[0])
            for dx in range(self.tile[1])
        ]


def plan_operands(
    problem: PanelProblem, panels: int, knobs: PanelSchedule, epilogue: Epilogue
) -> OperandPrefetch | None:
    """What a kernel of `panels` panels fetches of its epilogue's operands; None where that does not help.

    Rows in another order have their operands anywhere.
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
        layout=problem.out,
        parameters=parameters,
        tiles=problem.tile_grid(knobs),
        tile=(knobs.tile_h, knobs.tile_w),
        rows=knobs.rows,
        chunks=panels // knobs.chunk,
        chunk=knobs.chunk,
        blocks=-(-problem.channels // knobs.block),
        by_panels=knobs.parallel == "panels",
    )


@dataclass(frozen=True)
class Both:
    """Fetches what each of `parts` does."""

    parts: tuple[Prefetch | OperandPrefetch, ...]

    def __call__(self, task: Expr, block: Expr, panel: Expr) -> list[Line]:
        """The lines to fetch at a visit."""
        return [line for part in self.parts for line in part(task, block, panel)]
