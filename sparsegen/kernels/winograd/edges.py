"""Where tiles meet the layout: vectors of tiles read from an image, and put together to rows again."""

from __future__ import annotations

from collections.abc import Callable

from tvm import te, tirx

from sparsegen.kernels.operands import all_of, pick
from sparsegen.kernels.winograd.problem import WinogradProblem, WinogradSchedule
from sparsegen.lowering.expressions import Expr, TensorExpr

Read = Callable[..., Expr]
"""(group, tile group's y and x, channel, tiles' y and x, y in a tile, one of `places`) to an input."""


def places(problem: WinogradProblem, knobs: WinogradSchedule) -> tuple[int, int]:
    """Extents of a row of tiles' pixels as they are read.

    That is (x in a tile, image) with batch lanes; with pixel lanes (tile down, x): strips.
    """
    if problem.out.batch_lanes:
        return problem.transform(knobs).inputs, problem.out.lanes
    return problem.strips(knobs.outputs)


def of_images(x: TensorExpr, problem: WinogradProblem, knobs: WinogradSchedule) -> Read:
    """With batch lanes a vector is one of the layout's; zero past what the image's taps read.

    What lies there belongs to others. In exact arithmetic it would cancel.
    """
    source, window, m = problem.source, problem.window, knobs.outputs

    def read(g: Expr, gy: Expr, gx: Expr, c: Expr, ty: Expr, tx: Expr, k: Expr, j: Expr, lane: Expr) -> Expr:
        y, at_x = (gy * knobs.tiles_h + ty) * m + k, (gx * knobs.tiles_w + tx) * m + j
        value = x[g, window.address(source, c, y, at_x) + lane]
        inside = all_of(
            [
                at * window.stride + pick(phases, window.phase(c))
                < (extent - 1) * window.stride + window.kernel
                for at, phases, extent in zip(
                    (y, at_x), zip(*window.phases, strict=True), problem.out.shape[2:], strict=True
                )
                if extent % m or window.kernel % window.stride
            ]
        )
        return value if inside is None else tirx.if_then_else(inside, value, tirx.const(0, source.dtype))

    return read


def of_pixels(x: TensorExpr, problem: WinogradProblem, knobs: WinogradSchedule) -> Read:
    """With pixel lanes, rows of pixels from the stage `registers_strips`: [..., y, tile down, x].

    Rows of the padding are zero. Where tiles stand over a row's end they read on into the next one, but for
    an image's last row that nothing of the image or of its padding follows: in exact arithmetic that would
    cancel.
    """
    source, window, n = problem.source, problem.window, problem.transform(knobs).inputs
    (_, across), (down, width) = problem.lane_tiles(knobs.outputs), problem.strips(knobs.outputs)
    step, height, zero = across * knobs.outputs, source.shape[2], tirx.const(0, source.dtype)
    # From a plane's begin to that of the last row's last strip.
    last = (height - 1) * source.row + max(window.columns) + (problem.tiles(knobs.outputs)[1] - 1) * step
    assert (source.shape[1] - 1) * source.plane + last + width <= source.size - source.base
    is_past = last + step - knobs.outputs + n > source.plane

    def pixel(*point: Expr) -> Expr:
        g, gy, gx, c, ty, tx, k, tile_down, at = point
        y = ((gy * knobs.tiles_h + ty) * down + tile_down) * knobs.outputs + k
        at_x, phase = (gx * knobs.tiles_w + tx) * step + at, window.phase(c)
        row, column = y + pick(window.rows, phase), at_x + pick(window.columns, phase)
        value = x[g, window.address(source, c, y, at_x)]
        if is_past:
            value = tirx.Select(column < source.row, value, zero)
        return tirx.if_then_else(tirx.And(row >= 0, row < height), value, zero)

    groups, tiles = (problem.out.groups, *problem.groups(knobs)), (knobs.tiles_h, knobs.tiles_w)
    space = (*groups, problem.channels[1], *tiles, n, down, width)
    strips = te.compute(space, pixel, name="registers_strips")
    return lambda *point: strips[point]


def apart(strips: TensorExpr, problem: WinogradProblem, knobs: WinogradSchedule) -> TensorExpr:
    """With pixel lanes, vectors of the same pixel of every tile, of rows of pixels transformed along columns.

    The stage `registers_apart`: [..., y, x, lanes].
    """
    _, across = problem.lane_tiles(knobs.outputs)
    n, lanes = problem.transform(knobs).inputs, problem.out.lanes

    def pixel(*point: Expr) -> Expr:
        *row, j, lane = point
        return strips[(*row, lane // across, lane % across * knobs.outputs + j)]

    vectors: TensorExpr = te.compute((*strips.shape[:-2], n, lanes), pixel, name="registers_apart")
    return vectors


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
