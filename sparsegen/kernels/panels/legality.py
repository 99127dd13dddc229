"""Which knobs of a panel schedule go together: what fits the registers, the image and the weights."""

from __future__ import annotations

from collections.abc import Iterator

from sparsegen.formats.detect import Structure
from sparsegen.kernels.panels.problem import PanelProblem
from sparsegen.lowering.layout import LINE
from sparsegen.target import Target

TILE_LIMIT = 16
"""Pixel vectors of a tile along an axis: what layouts leave room for past an image's end."""

FREE_REGISTERS = 4  # beside the accumulators
_SPARSE_ROWS = 4  # 2^rows masks, each with code of its own, unless rows keep the same
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


def tile_fits(problem: PanelProblem, target: Target, rows: int, tile_h: int, tile_w: int) -> bool:
    """Whether a tile's accumulators fit the registers, the tile the image, and its code the limit."""
    height, width = problem.pixels
    if problem.depthwise is not None and tile_h * tile_w * len(problem.depthwise.offsets) > _MOST_CODE:
        return False
    if max(tile_h, tile_w) > TILE_LIMIT or rows * tile_h * tile_w > target.registers - FREE_REGISTERS:
        return False
    whole = problem.ragged or (height % tile_h == 0 and width % tile_w == 0)
    return tile_h <= height and tile_w <= width and whole


def block_fits(problem: PanelProblem, target: Target, lines: int, block: int) -> bool:
    """Whether a block is the least there is, or its input, `lines` a channel, a part of the L2 cache."""
    return block == blocks(problem)[0] or 4 * LINE * lines * block <= target.l2_bytes // 4


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
