"""Where tiles meet the layout: vectors of tiles read from an image, and put together to rows again."""

from __future__ import annotations

from collections.abc import Callable

from tvm import te, tirx

from sparsegen.kernels.operands import all_of, pick
from sparsegen.kernels.winograd.problem import WinogradProblem, WinogradSchedule
from sparsegen.lowering.expressions import Expr, TensorExpr

Read = Callable[..., Expr]
"""(group, tile group's y and x, channel, tiles' y and x, pixel's y and x in a tile, lane) to an input."""


def of_images(x: TensorExpr, problem: WinogradProblem, knobs: WinogradSchedule) -> Read:
    """With batch lanes a vector is one of the layout's; zero past what the image's taps read.

    What lies there belongs to others. In exact arithmetic it would cancel.
    """
    source, window, m = problem.source, problem.window, knobs.outputs

    def read(g: Expr, gy: Expr, gx: Expr, c: Expr, ty: Expr, tx: Expr, k: Expr, j: Expr, lane: Expr) -> Expr:
        phase = c % window.stride**2
        y, at_x = (gy * knobs.tiles_h + ty) * m + k, (gx * knobs.tiles_w + tx) * m + j
        value = x[g, window.address(source, c, y, at_x) + lane]
        inside = all_of(
            [
                at * window.stride + of_phase < (extent - 1) * window.stride + window.kernel
                for at, of_phase, extent in (
                    (y, phase // window.stride, problem.out.shape[2]),
                    (at_x, phase % window.stride, problem.out.shape[3]),
                )
                if extent % m or window.kernel % window.stride
            ]
        )
        return value if inside is None else tirx.if_then_else(inside, value, tirx.const(0, source.dtype))

    return read


def of_pixels(x: TensorExpr, problem: WinogradProblem, knobs: WinogradSchedule) -> Read:
    """With pixel lanes, from the stage `gathered`: [..., channel, tiles, y, x, lanes], a tile's pixels apart.

    Rows of the padding are zero. Where tiles stand over a row's end they read on into the next one, or into
    the row of zeros past the image: in exact arithmetic that would cancel.
    """
    source, window, transform = problem.source, problem.window, problem.transform(knobs)
    m, n, (down, across) = transform.outputs, transform.inputs, problem.lane_tiles(knobs.outputs)

    def pixel(*point: Expr) -> Expr:
        g, gy, gx, c, ty, tx, k, j, lane = point
        y = (((gy * knobs.tiles_h + ty) * down) + lane // across) * m + k
        at_x = (((gx * knobs.tiles_w + tx) * across) + lane % across) * m + j
        row = y + pick(window.rows, c % window.stride**2)
        inside = tirx.And(row >= 0, row < source.shape[2])
        value = x[g, window.address(source, c, y, at_x)]
        return tirx.if_then_else(inside, value, tirx.const(0, source.dtype))

    tiles = (knobs.tiles_h, knobs.tiles_w)
    space = (problem.out.groups, *problem.groups(knobs), problem.channels[1], *tiles, n, n, problem.out.lanes)
    gathered = te.compute(space, pixel, name="gathered")
    return lambda *point: gathered[point]


def merged(
    result: Callable[..., Expr], space: tuple[int, ...], problem: WinogradProblem, knobs: WinogradSchedule
) -> Callable[..., Expr]:
    """With pixel lanes, `result` of the tiles in `space` at the points of the store.

    Stages: `vectors`, which holds a vector of tiles as computed, and `merged`, its rows: [..., y, tile
    down, x].
    """
    m, (down, across), store = knobs.outputs, problem.lane_tiles(knobs.outputs), problem.store(knobs)
    vectors = te.compute((*space, m, m, problem.out.lanes), result, name="vectors")

    def pixel(*point: Expr) -> Expr:
        *tile, y, tile_down, x = point
        return vectors[(*tile, y, x % m, tile_down * across + x // m)]

    rows = te.compute((*space, m, down, max(across * m, problem.out.lanes)), pixel, name="merged")
    return lambda *point: rows[(*point[:-2], store.along(point))]
