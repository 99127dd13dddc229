"""What a kernel's expression reads: values in their layouts, and constants."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from sparsegen.isa import LONGEST
from sparsegen.lowering.expressions import Condition, Expr, IntExpr, TensorExpr
from sparsegen.lowering.layout import Layout

CHANNELS = "channel_of"
"""Parameter of a kernel of permuted rows: the output channel of each."""


@dataclass(frozen=True)
class Value:
    """A value of the graph, in its buffer."""

    name: str
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Logical shape, batch first."""
        return self.layout.shape

    def placeholder(self) -> TensorExpr:
        """The whole buffer, [groups, size]."""
        shape = (self.layout.groups, self.layout.size)
        return te.placeholder(shape, self.layout.dtype, name=_identifier(self.name))

    def argument(self) -> str | NDArray[Any]:
        """What the kernel is called with."""
        return self.name


@dataclass(frozen=True, eq=False)
class Constant:
    """An array of the graph, broadcast as torch broadcasts."""

    name: str
    array: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    def placeholder(self) -> TensorExpr:
        """The array flat, with room for a vector past its end, where tiles stand over the last element."""
        return te.placeholder((self.array.size + LONGEST,), name=_identifier(self.name))

    def argument(self) -> str | NDArray[Any]:
        """What the kernel is called with."""
        return np.append(self.array.reshape(-1), np.zeros(LONGEST, np.float32))


Operand = Value | Constant


def read(
    operand: Operand, tensor: TensorExpr, group: IntExpr, coordinates: tuple[IntExpr, ...], lane: IntExpr
) -> Expr:
    """The operand's element at coordinates (after the batch) of a result that it broadcasts into.

    `group` and `lane` are the result's; without batch lanes the group is the image. With batch lanes
    values have the result's batch, and constants none.
    """
    shape = operand.shape
    aligned = (group, *coordinates)[1 + len(coordinates) - len(shape) :] if shape else ()
    own = tuple(c if extent > 1 else 0 for c, extent in zip(aligned, shape, strict=True))
    if isinstance(operand, Value) and operand.layout.batch_lanes:
        own = (group, *own[1:])
    return at_index(operand, tensor, own, lane)


def at_index(operand: Operand, tensor: TensorExpr, index: tuple[IntExpr, ...], lane: IntExpr = 0) -> Expr:
    """The operand's element at an index, group first: without batch lanes that is its whole index."""
    if isinstance(operand, Constant):
        return tensor[ravel(index, operand.shape)]
    group, *coordinates = index or (0,)
    return tensor[group, operand.layout.address(tuple(coordinates), lane)]


def ravel(index: tuple[IntExpr, ...], shape: tuple[int, ...]) -> IntExpr:
    """Row-major position of an index; a scalar's only element is at 0."""
    position: IntExpr = 0
    for extent, i in zip(shape, index, strict=True):
        position = position * extent + i
    return position


def unravel(position: IntExpr, shape: tuple[int, ...]) -> tuple[IntExpr, ...]:
    """The index of a row-major position."""
    index: list[IntExpr] = []
    for extent in reversed(shape[1:]):
        index.append(position % extent)
        position = position // extent
    return (position, *reversed(index)) if shape else ()


def all_of(tests: Sequence[Condition]) -> Condition | None:
    """Whether all tests hold; None where there are none."""
    return functools.reduce(tirx.And, tests) if tests else None


def pick(constants: Sequence[int], index: Expr) -> Expr:
    """The index-th of some constants: a constant itself once the index is, in an unrolled loop.

    Those at even distances, row after row, as taps lie, are computed. Where the index is compared with every
    place, simplifying an unrolled loop takes long.
    """
    width, step = _even_rows(constants)
    if width == len(constants):
        return constants[0] + index * step
    if width > 1:
        return pick(constants[::width], tirx.floordiv(index, width)) + tirx.floormod(index, width) * step
    value: Expr = tirx.const(constants[-1], "int32")
    for i in reversed(range(len(constants) - 1)):
        value = tirx.Select(index == i, tirx.const(constants[i], "int32"), value)
    return value


def _even_rows(constants: Sequence[int]) -> tuple[int, int]:
    """How many constants a row has, and their distance in it, where all rows are alike; (1, 0) else."""
    steps = np.diff(constants)
    width = int(np.argmin([*(steps == steps[:1]), False])) + 1
    if width < 3 or len(constants) % width:
        return 1, 0
    rows = np.reshape(constants, (-1, width))
    return (width, int(steps[0])) if (np.diff(rows) == steps[0]).all() else (1, 0)


def _identifier(name: str) -> str:
    return "v_" + "".join(c if c.isalnum() else "_" for c in name)


def zero_outside(layout: Layout, coordinates: tuple[IntExpr, ...], value: Expr) -> Expr:
    """The value where the coordinates are an element's, zero in the halo between rows.

    The value is not evaluated outside, so it may read there what does not exist.
    """
    holds = layout.holds(coordinates)
    return value if holds is None else tirx.if_then_else(holds, value, tirx.const(0, layout.dtype))
