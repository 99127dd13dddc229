"""Operators that move elements and compute nothing: concatenate, reshape, permute, slice, gather, pad.

Every output element finds its source by arithmetic on its index; with batch lanes an element is a
whole vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te, tirx

from sparsegen.graph import Concat, Gather, Layer, Pad, Permute, Reshape, Shape, Slice
from sparsegen.isa import LONGEST
from sparsegen.kernels.loops import parallel_points
from sparsegen.kernels.mathematics import constant
from sparsegen.kernels.operands import at_index, ravel, unravel, zero_outside
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.expressions import Expr, IntExpr
from sparsegen.lowering.kernel import Kernel, LayoutStore

Index = tuple[IntExpr, ...]
Reader = Callable[[Index], Expr]
Arrange = Callable[[Any, list[Any]], list[Any]]  # splits and reorders a schedule's loops

_SQUARE = 16  # elements a side of the squares that a transposition moves: both sides stay in L1


@kernel_for(Concat)
def concat(layer: Layer, context: Context) -> Kernel:
    """Kernel that joins its inputs along `dim`."""
    core = layer.core
    assert isinstance(core, Concat)
    dim, extents = core.dim, [context.operands[name].shape[core.dim] for name in layer.inputs]

    def element(index: Index, *sources: Reader) -> Expr:
        end = layer.shape[dim]
        value: Expr | None = None
        for extent, source in zip(reversed(extents), reversed(sources), strict=True):
            part = source(_replace(index, dim, index[dim] - (end - extent)))
            value = part if value is None else tirx.if_then_else(index[dim] < end, part, value)
            end -= extent
        assert value is not None, "something is joined"
        return value

    return _kernel(layer, context, element)


@kernel_for(Reshape)
def reshape(layer: Layer, context: Context) -> Kernel:
    """Kernel that reads the elements in row-major order."""
    shape, out = context.operands[layer.inputs[0]].shape, layer.shape
    kept = 1 if shape[:1] == out[:1] else 0  # the batch, which with batch lanes always stays

    def element(index: Index, source: Reader) -> Expr:
        return source((*index[:kept], *unravel(ravel(index[kept:], out[kept:]), shape[kept:])))

    def split_as_input(sch: Any, loops: list[Any]) -> list[Any]:
        factors = common_factors(out[kept:], shape[kept:])
        if factors is None or context.layout(layer.name).holds(out) is not None:
            return loops
        end = kept + len(factors)
        split = [
            part
            for loop, own in zip(loops[kept:end], factors, strict=True)
            for part in _split(sch, loop, own)
        ]
        return [*loops[:kept], *split, *loops[end:]]

    return _kernel(layer, context, element, arrange=split_as_input)


def common_factors(shape: Shape, other: Shape) -> list[list[int]] | None:
    """Each extent of `shape` as the factors between which `other`'s dimensions begin and end.

    None where no such factors exist: then some element's index needs a division.
    """
    ends = sorted({prod(dims[i:]) for dims in (shape, other) for i in range(len(dims) + 1)})
    if any(high % low for low, high in pairwise(ends)):
        return None
    factors = []
    for i, extent in enumerate(shape):
        inner = prod(shape[i + 1 :])
        inside = [end for end in ends if inner <= end <= inner * extent]
        factors.append([high // low for low, high in pairwise(inside)][::-1])
    return factors


@kernel_for(Permute)
def permute(layer: Layer, context: Context) -> Kernel:
    """Kernel that transposes; without batch lanes by squares where rows become columns."""
    core, out = layer.core, context.layout(layer.name)
    assert isinstance(core, Permute)
    last = len(core.dims) - 1

    def element(index: Index, source: Reader) -> Expr:
        return source(tuple(index[core.dims.index(dim)] for dim in range(last + 1)))

    def by_squares(sch: Any, loops: list[Any]) -> list[Any]:
        rows = core.dims.index(last)
        if out.batch_lanes or rows == last:
            return loops
        row, row_in = sch.split(loops[rows], [None, _SQUARE])
        column, column_in = sch.split(loops[last], [None, _SQUARE])
        order = [*loops[:rows], row, *loops[rows + 1 : last], column, row_in, column_in]
        sch.reorder(*order)
        return [*order[:-3], sch.fuse(column, row_in), column_in]

    return _kernel(layer, context, element, arrange=by_squares)


@kernel_for(Slice)
def slice_(layer: Layer, context: Context) -> Kernel:
    """Kernel of every `step`-th element along `dim`, from `start` on."""
    core = layer.core
    assert isinstance(core, Slice)

    def element(index: Index, source: Reader) -> Expr:
        return source(_replace(index, core.dim, core.start + index[core.dim] * core.step))

    return _kernel(layer, context, element)


@kernel_for(Gather)
def gather(layer: Layer, context: Context) -> Kernel:
    """Kernel of chosen elements along `dim`: a table has where each is."""
    core = layer.core
    assert isinstance(core, Gather)
    table = te.placeholder((len(core.indices) + LONGEST,), "int32", name="indices")
    # Past the last element lies the halo between rows, for which nothing is read that matters.
    indices = np.pad(np.asarray(core.indices, np.int32), (0, LONGEST))

    def element(index: Index, source: Reader) -> Expr:
        return source(_replace(index, core.dim, table[index[core.dim]]))

    return _kernel(layer, context, element, tables={table: indices})


@kernel_for(Pad)
def pad(layer: Layer, context: Context) -> Kernel:
    """Kernel that surrounds its input with a constant."""
    core, shape = layer.core, context.operands[layer.inputs[0]].shape
    assert isinstance(core, Pad)

    def element(index: Index, source: Reader) -> Expr:
        own, tests = [], []
        for i, extent, (before, after) in zip(index, shape, core.amounts, strict=True):
            own.append(i - before)
            tests += [i >= before] * (before > 0) + [i < before + extent] * (after > 0)
        value = source(tuple(own))
        return tirx.if_then_else(tirx.all(*tests), value, constant(core.value)) if tests else value

    return _kernel(layer, context, element)


def _kernel(
    layer: Layer,
    context: Context,
    element: Callable[..., Expr],
    arrange: Arrange | None = None,
    tables: Mapping[Any, NDArray[np.int32]] | None = None,
) -> Kernel:
    """The kernel whose `element(index, *sources)` reads its inputs by their index, group first.

    `tables` are placeholders that the elements read, with what they hold.
    """
    tables = tables or {}
    out, epilogue = context.layout(layer.name), context.epilogue(layer)
    sources = {name: context.operands[name] for name in layer.inputs}
    tensors = {name: source.placeholder() for name, source in sources.items()}

    def compute(*point: Any) -> Any:
        coordinates, lane = out.coordinates(point), out.lane(point)

        def reader(name: str) -> Reader:
            return lambda index: at_index(sources[name], tensors[name], index, lane)

        value = element((point[0], *coordinates)[: len(layer.shape)], *map(reader, layer.inputs))
        return zero_outside(out, coordinates, epilogue.apply(value, point[0], coordinates, lane))

    result = te.compute(out.space, compute, name="out")
    function = te.create_prim_func([*tables, *tensors.values(), *epilogue.placeholders, result])
    return Kernel(
        kind=type(layer.core).__name__.lower(),
        module=context.scheduled(function, _schedule, arrange=arrange, batch_lanes=out.batch_lanes),
        store=LayoutStore(out),
        arguments=(
            *tables.values(),
            *(source.argument() for source in sources.values()),
            *epilogue.arguments,
        ),
    )


def _schedule(function: Any, *, arrange: Arrange | None, batch_lanes: bool) -> Any:
    """The scheduled module: points in parallel, their loops in order, or as `arrange` gives them."""
    sch = s_tir.Schedule(function)
    loops = sch.get_loops(sch.get_sblock("out"))
    parallel_points(sch, loops if arrange is None else arrange(sch, loops), batch_lanes=batch_lanes)
    return sch.mod


def _replace(index: Index, dim: int, value: IntExpr) -> Index:
    return (*index[:dim], value, *index[dim + 1 :])


def _split(sch: Any, loop: Any, factors: list[int]) -> list[Any]:
    return sch.split(loop, factors) if len(factors) > 1 else [loop]
