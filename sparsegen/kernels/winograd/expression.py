"""What Winograd's kernel computes, as TVM tensor expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import te, tirx

from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.operands import CHANNELS
from sparsegen.kernels.winograd.edges import apart, merged, of_images, of_pixels, places
from sparsegen.kernels.winograd.filters import Filters, filters, packed
from sparsegen.kernels.winograd.problem import WinogradProblem, WinogradSchedule
from sparsegen.kernels.winograd.transforms import Matrix, combine, select
from sparsegen.lowering.expressions import Expr, TensorExpr
from sparsegen.lowering.kernel import WeightArray


def expression(problem: WinogradProblem, knobs: WinogradSchedule, epilogue: Epilogue) -> Any:
    """The function.

    Parameters: x, `arguments`, the epilogue's operands, out. Stages: a tile of the input transformed along
    its columns, `registers_columns`, and its rows, `tiles`; sums over the input channels, `registers`, kept
    in `products`; a tile of the output along its columns, `registers_rows`, and its rows, `out`. With pixel
    lanes there are two more before the first, and before the last: see `edges`.
    """
    panels, rows = problem.panels(knobs), knobs.rows
    x = te.placeholder((problem.source.groups, problem.source.size), problem.source.dtype, name="x")
    bias = te.placeholder((panels * rows,), name="bias")
    channel_of = te.placeholder((panels * rows,), "int32", name=CHANNELS)
    of_weights = filters(problem, knobs)
    products = _products(_tiles(x, problem, knobs), of_weights, problem, knobs)
    result, store = _result(products, problem, knobs), problem.store(knobs)

    def finish(*point: Expr) -> Expr:
        value, (row, *pixel) = result(*point), store.coordinates(point)
        if problem.conv.bias is not None:
            value = value + bias[row]
        coordinates = (row if problem.channel_of is None else channel_of[row], *pixel)
        lane = point[-1] if problem.out.batch_lanes else 0
        value = epilogue.apply(value, point[0], coordinates, lane)
        holds = problem.out.holds(coordinates)
        return value if holds is None else tirx.Select(holds, value, tirx.const(0, problem.out.dtype))

    out = te.compute(
        (*_tile_groups(problem, knobs), panels, rows, *_group(knobs), *store.inner), finish, name="out"
    )
    of_rows = [
        placeholder
        for placeholder, array in ((bias, problem.conv.bias), (channel_of, problem.channel_of))
        if array is not None
    ]
    return te.create_prim_func([x, *of_weights.placeholders, *of_rows, *epilogue.placeholders, out])


def arguments(problem: WinogradProblem, knobs: WinogradSchedule) -> tuple[WeightArray, ...]:
    """The weights, packed; the bias, where there is one; the channels of rows, where they are permuted."""
    padding = problem.panels(knobs) * knobs.rows - problem.channels[0]
    of_rows = (array for array in (problem.conv.bias, problem.channel_of) if array is not None)
    return (*packed(problem, knobs), *(np.pad(array, (0, padding)) for array in of_rows))


def _tiles(x: TensorExpr, problem: WinogradProblem, knobs: WinogradSchedule) -> TensorExpr:
    """The input transformed: [groups, tile groups, n, n, channels, tiles of a group, lanes]."""
    matrix, (_, channels), lanes = problem.transform(knobs).input, problem.channels, problem.out.lanes
    n, groups, tiles = len(matrix), _tile_groups(problem, knobs), _group(knobs)
    batch_lanes = problem.out.batch_lanes
    read = (of_images if batch_lanes else of_pixels)(x, problem, knobs)

    def columns(*point: Expr) -> Expr:
        *tile, i, one, other = point
        return _applied(matrix, i, lambda k: read(*tile, k, one, other))

    space = (*groups, channels, *tiles, n, *places(problem, knobs))
    name = "registers_columns" if batch_lanes else "columns"
    by_columns = te.compute(space, columns, name=name)
    vectors = by_columns if batch_lanes else apart(by_columns, problem, knobs)

    def transformed(*point: Expr) -> Expr:
        g, gy, gx, i, j, c, ty, tx, lane = point
        return _applied(matrix, j, lambda k: vectors[g, gy, gx, c, ty, tx, i, k, lane])

    return te.compute((*groups, n, n, channels, *tiles, lanes), transformed, name="tiles")


def _products(
    inputs: TensorExpr, weights: Filters, problem: WinogradProblem, knobs: WinogradSchedule
) -> TensorExpr:
    """The products: [groups, tile groups, n, n, panels, rows, tiles of a group, lanes]."""
    n, panels, total = (
        problem.transform(knobs).inputs,
        problem.panels(knobs),
        accumulator_of(problem.source.dtype),
    )

    def term(*point: Expr) -> Expr:
        g, gy, gx, i, j, panel, chain, r, ty, tx, lane = point
        product = weights.term(
            lambda c: inputs[g, gy, gx, i, j, c, ty, tx, lane].astype(total), i, j, panel, chain, r
        )
        return te.sum(product, axis=weights.axis)

    groups = _tile_groups(problem, knobs)
    visit, of_row = (*groups, n, n, panels), (knobs.rows, *_group(knobs), problem.out.lanes)
    sums = te.compute((*visit, knobs.chains, *of_row), term, name="registers")

    def added(*point: Expr) -> Expr:
        at, of_row = point[: len(visit)], point[len(visit) :]
        value = sums[(*at, 0, *of_row)]
        for chain in range(1, knobs.chains):
            value = value + sums[(*at, chain, *of_row)]
        return value

    return te.compute((*visit, *of_row), added, name="products")


def _result(products: TensorExpr, problem: WinogradProblem, knobs: WinogradSchedule) -> Callable[..., Expr]:
    """The products transformed back, at a point of the store."""
    matrix, n, lanes = problem.transform(knobs).output, problem.transform(knobs).inputs, problem.out.lanes
    space = (*_tile_groups(problem, knobs), problem.panels(knobs), knobs.rows, *_group(knobs))

    def columns(*point: Expr) -> Expr:
        g, gy, gx, panel, r, ty, tx, i, j, lane = point
        return _applied(matrix, i, lambda k: products[g, gy, gx, k, j, panel, r, ty, tx, lane])

    by_columns = te.compute((*space, len(matrix), n, lanes), columns, name="registers_rows")

    def result(*point: Expr) -> Expr:
        *tile, i, j, lane = point
        return _applied(matrix, j, lambda k: by_columns[(*tile, i, k, lane)])

    return result if problem.out.batch_lanes else merged(result, space, problem, knobs)


def _applied(matrix: Matrix, index: Expr, read: Callable[[int], Expr]) -> Expr:
    """An element, at `index`, of a matrix times the vector that `read` gives."""
    values = [read(k) for k in range(len(matrix[0]))]
    return select(index, [combine(row, values) for row in matrix])


def _tile_groups(problem: WinogradProblem, knobs: WinogradSchedule) -> tuple[int, int, int]:
    return problem.out.groups, *problem.groups(knobs)


def _group(knobs: WinogradSchedule) -> tuple[int, int]:
    return knobs.tiles_h, knobs.tiles_w
