"""What Winograd's kernel computes, as TVM tensor expressions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.winograd.edges import merged, of_images, of_pixels
from sparsegen.kernels.winograd.problem import WinogradProblem, WinogradSchedule
from sparsegen.kernels.winograd.transforms import combine, select

Expr = Any


def expression(
    problem: WinogradProblem, knobs: WinogradSchedule, epilogue: Epilogue
) -> tuple[Any, tuple[NDArray[Any], ...]]:
    """The function, and its arguments between the input and the epilogue's operands.

    Parameters: x, weight, bias (where there is one), the epilogue's operands, out. Stages: a tile of the
    input transformed along its columns, `registers_columns`, and its rows, `tiles`; sums over the input
    channels, `registers`, kept in `products`; a tile of the output along its columns, `registers_rows`, and
    its rows, `out`. With pixel lanes there are two more before the first, and before the last: see `edges`.
    """
    transform, (out_channels, channels) = problem.transform(knobs), problem.channels
    n, m, rows, lanes = transform.inputs, transform.outputs, knobs.rows, problem.out.lanes
    down, across, panels = *problem.groups(knobs), problem.panels(knobs)
    group = (problem.out.groups, down, across)
    tiles = (knobs.tiles_h, knobs.tiles_w)
    x = te.placeholder((problem.source.groups, problem.source.size), name="x")
    weight = te.placeholder((n, n, panels, channels, rows), name="weight")
    bias = te.placeholder((panels * rows,), name="bias")

    read = (of_images if problem.out.batch_lanes else of_pixels)(x, problem, knobs)

    def columns(*point: Expr) -> Expr:
        g, gy, gx, c, ty, tx, i, j, lane = point
        values = [read(g, gy, gx, c, ty, tx, k, j, lane) for k in range(n)]
        return select(i, [combine(row, values) for row in transform.input])

    by_columns = te.compute((*group, channels, *tiles, n, n, lanes), columns, name="registers_columns")

    def transformed(*point: Expr) -> Expr:
        g, gy, gx, i, j, c, ty, tx, lane = point
        values = [by_columns[g, gy, gx, c, ty, tx, i, k, lane] for k in range(n)]
        return select(j, [combine(row, values) for row in transform.input])

    inputs = te.compute((*group, n, n, channels, *tiles, lanes), transformed, name="tiles")
    c = te.reduce_axis((0, channels), name="c")

    def term(*point: Expr) -> Expr:
        g, gy, gx, i, j, panel, r, ty, tx, lane = point
        return te.sum(weight[i, j, panel, c, r] * inputs[g, gy, gx, i, j, c, ty, tx, lane], axis=c)

    space = (*group, n, n, panels, rows, *tiles, lanes)
    sums = te.compute(space, term, name="registers")
    products = te.compute(space, lambda *point: sums[point], name="products")

    def of_rows(*point: Expr) -> Expr:
        g, gy, gx, panel, r, ty, tx, i, j, lane = point
        values = [products[g, gy, gx, k, j, panel, r, ty, tx, lane] for k in range(n)]
        return select(i, [combine(row, values) for row in transform.output])

    by_rows = te.compute((*group, panels, rows, *tiles, m, n, lanes), of_rows, name="registers_rows")
    store = problem.store(knobs)

    def result(*point: Expr) -> Expr:
        *tile, i, j, lane = point
        values = [by_rows[(*tile, i, k, lane)] for k in range(n)]
        return select(j, [combine(row, values) for row in transform.output])

    if not problem.out.batch_lanes:
        result = merged(result, (*group, panels, rows, *tiles), problem, knobs)

    def finish(*point: Expr) -> Expr:
        value, coordinates = result(*point), store.coordinates(point)
        if problem.conv.bias is not None:
            value = value + bias[coordinates[0]]
        lane = point[-1] if problem.out.batch_lanes else 0
        value = epilogue.apply(value, point[0], coordinates, lane)
        holds = problem.out.holds(coordinates)
        return value if holds is None else tirx.Select(holds, value, tirx.const(0.0, "float32"))

    out = te.compute((*group, panels, rows, *tiles, *store.inner), finish, name="out")
    arrays = [pack_weights(problem, knobs)]
    placeholders = [weight]
    if problem.conv.bias is not None:
        arrays.append(np.pad(problem.conv.bias, (0, panels * rows - out_channels)))
        placeholders.append(bias)
    return te.create_prim_func([x, *placeholders, *epilogue.placeholders, out]), tuple(arrays)


def pack_weights(problem: WinogradProblem, knobs: WinogradSchedule) -> NDArray[np.float32]:
    """The transformed weights [n, n, panels, C, rows]: one stream of memory a panel."""
    weights = problem.transform(knobs).weights(problem.conv.weight)
    n, _, out_channels, channels = weights.shape
    panels = problem.panels(knobs)
    padded = np.pad(weights, ((0, 0), (0, 0), (0, panels * knobs.rows - out_channels), (0, 0)))
    return np.ascontiguousarray(padded.reshape(n, n, panels, knobs.rows, channels).swapaxes(3, 4))
