"""What a kernel's expression reads: values in their layouts, and constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from sparsegen.kernels.layout import Layout

Expr = Any


@dataclass(frozen=True)
class Value:
    """A value of the graph, in its buffer."""

    name: str
    layout: Layout

    def placeholder(self) -> Any:
        """The whole buffer, [groups, size]."""
        return te.placeholder((self.layout.groups, self.layout.size), name=_identifier(self.name))

    def argument(self) -> str | NDArray[Any]:
        """What the kernel is called with."""
        return self.name


@dataclass(frozen=True, eq=False)
class Constant:
    """An array of the graph, broadcast as torch broadcasts."""

    name: str
    array: NDArray[np.float32]

    def placeholder(self) -> Any:
        """The array flat: a scalar stays one element."""
        return te.placeholder((max(1, self.array.size),), name=_identifier(self.name))

    def argument(self) -> str | NDArray[Any]:
        """What the kernel is called with."""
        return np.ascontiguousarray(self.array.reshape(-1))


Operand = Value | Constant


def read(operand: Operand, tensor: Any, group: Expr, coordinates: tuple[Expr, ...], lane: Expr) -> Expr:
    """The operand's element at coordinates (after the batch) of a result that it broadcasts into.

    `group` and `lane` are the result's; without batch lanes the group is the image.
    """
    if isinstance(operand, Value):
        layout = operand.layout
        own = _align(coordinates, layout.element_shape)
        return tensor[group if layout.groups > 1 else 0, layout.address(own, lane)]
    shape = operand.array.shape
    aligned = (group, *coordinates)[-len(shape) :] if shape else ()
    at: Expr = 0
    for extent, coordinate in zip(shape, aligned, strict=True):
        at = at * extent + (coordinate if extent > 1 else 0)
    return tensor[at]


def _align(coordinates: tuple[Expr, ...], shape: tuple[int, ...]) -> tuple[Expr, ...]:
    own = coordinates[len(coordinates) - len(shape) :]
    return tuple(c if extent > 1 else 0 for c, extent in zip(own, shape, strict=True))


def _identifier(name: str) -> str:
    return "v_" + "".join(c if c.isalnum() else "_" for c in name)


def zero_outside(layout: Layout, coordinates: tuple[Expr, ...], value: Expr) -> Expr:
    """The value where the coordinates are an element's, zero in the halo between rows.

    The value is not evaluated outside, so it may read there what does not exist.
    """
    holds = layout.holds(coordinates)
    return value if holds is None else tirx.if_then_else(holds, value, tirx.const(0.0, "float32"))
