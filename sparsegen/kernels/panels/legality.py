"""Which knobs of a panel schedule go together: what fits the registers, the image and the weights.

Tiles, lines and blocks are numbers or arrays: the rules serve both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparsegen.formats.detect import Structure
from sparsegen.formats.registry import FORMATS
from sparsegen.kernels.panels.packing import packable
from sparsegen.kernels.panels.problem import PARALLEL, PanelProblem, PanelSchedule, Tile
from sparsegen.kernels.space import below_one
from sparsegen.lowering.layout import LINE_BYTES
from sparsegen.target import Target

TILE_LIMIT = 16
"""Pixel vectors of a tile along an axis: what layouts leave room for past an image's end."""

FREE_REGISTERS = 4  # beside the accumulators
_SPARSE_ROWS = 4  # 2^rows masks, each with code of its own, unless rows keep the same
_MASK_BITS = 31  # that are not the sign
_MOST_CODE = 512  # multiply-adds of a depthwise convolution, straight-line code: more take long to compile
_COMBINED_ROWS = (1, 2, 4, 8, 16)


def most_rows(problem: PanelProblem, target: Target) -> int:
    """The most rows of a panel: more pixels than one need the registers for themselves."""
    one_pixel = problem.pixels == (1, 1)
    most = target.registers - FREE_REGISTERS if one_pixel else target.registers // 4
    return max(1, min(most, len(problem.matrix)))


def blocks(problem: PanelProblem) -> list[int]:
    """Input channels that a column block may have, ascending."""
    return sorted({min(problem.channels, 1 << i) for i in range(3, 11)} | {problem.channels})


def panel_fault(problem: PanelProblem, knobs: PanelSchedule) -> str | None:
    """Why a kernel would compute something else under a schedule, and what it can do; None if it would not.

    What is legal beside that is a matter of speed.
    """
    reason = below_one(knobs)
    if reason is not None:
        return reason
    if knobs.format not in FORMATS:
        return f"there is no format {knobs.format!r}, but {', '.join(FORMATS)}"
    if knobs.rows > _MASK_BITS:
        return f"panels have {knobs.rows} rows; at most {_MASK_BITS} have bits in a mask"
    if knobs.parallel not in PARALLEL:
        return f"parallel is {knobs.parallel!r}; it may be {' or '.join(PARALLEL)}"
    if not _stand(problem, knobs):
        height, width = problem.pixels
        allowed = "" if problem.ragged else f", and {height} by {width} of them cut evenly"
        return (
            f"tiles have {knobs.tile_h} by {knobs.tile_w} pixel vectors; "
            f"at most {TILE_LIMIT} along an axis are possible{allowed}"
        )
    if knobs.pack_input and not packable(problem, knobs):
        return (
            f"input cannot be packed in tiles of {knobs.tile_h} by {knobs.tile_w} pixel vectors; "
            "take other tiles, or no pack_input"
        )
    return None


def _stand(problem: PanelProblem, tiles: Tile) -> Any:
    """Whether there is room for the last tiles: they end with the image, or not too far past it."""
    height, width = problem.pixels
    near = (tiles.tile_h <= TILE_LIMIT) & (tiles.tile_w <= TILE_LIMIT)
    return near & (problem.ragged | ((height % tiles.tile_h == 0) & (width % tiles.tile_w == 0)))


def tile_fits(problem: PanelProblem, target: Target, rows: int, tiles: Tile) -> Any:
    """Whether a tile's accumulators fit the registers, the tile the image, and its code the limit."""
    (height, width), pixels = problem.pixels, tiles.tile_h * tiles.tile_w
    fits = rows * pixels <= target.registers - FREE_REGISTERS
    if problem.depthwise is not None:
        fits = fits & (pixels * len(problem.depthwise.offsets) <= _MOST_CODE)
    return fits & (tiles.tile_h <= height) & (tiles.tile_w <= width) & _stand(problem, tiles)


def block_fits(problem: PanelProblem, target: Target, lines: Any, block: Any) -> Any:
    """Whether a block is the least there is, or its input, `lines` a channel, a part of the L2 cache."""
    return (block == blocks(problem)[0]) | (LINE_BYTES * lines * block <= target.l2_bytes // 4)


def formats(structure: Structure, rows: int, *, dense: bool) -> Iterator[tuple[str, bool]]:
    """(format, permuted) that weights of a structure may have in panels of `rows`."""
    yield "dense_panels", False
    if dense or structure.kind == "dense":
        return
    if rows <= _SPARSE_ROWS or structure.rows % rows == 0:
        yield "masked_panels", False
        if rows > 1 and structure.rows == 1:
            yield "masked_panels", True
    if rows in _COMBINED_ROWS:
        yield "column_combined", False
