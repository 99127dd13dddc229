"""The graph's edges: torch's dense tensors to the lane layout, and back."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from tvm import s_tir, te, tirx

from sparsegen.kernels.kernel import Kernel, LayoutStore
from sparsegen.kernels.layout import Layout
from sparsegen.kernels.loops import parallel_rows
from sparsegen.kernels.operands import Value, zero_outside

_BLOCK = 16  # elements of a row that are read at once, then scattered to their lanes


def enter(name: str, out: Layout) -> Kernel:
    """Kernel from a dense tensor, row-major, to `out`; `name` is that of the graph's input."""
    x = te.placeholder((prod(out.shape),), name="x")

    def element(*point: Any) -> Any:
        coordinates = out.coordinates(point)
        if not out.batch_lanes:
            return zero_outside(out, coordinates, x[_flat(out.shape, (point[0], *coordinates))])
        image = point[0] * out.lanes + point[-1]
        value = x[_flat(out.shape, (image, *coordinates))]
        if out.shape[0] % out.lanes == 0:
            return value
        return tirx.if_then_else(image < out.shape[0], value, tirx.const(0.0, "float32"))

    function = te.create_prim_func([x, te.compute(out.space, element, name="out")])
    module = _transpose_lanes(function) if out.batch_lanes else parallel_rows(function, batch_lanes=False)
    return Kernel("enter", module, LayoutStore(out), (name,))


def _transpose_lanes(function: Any) -> Any:
    """Rows are read a block at a time, for one lane after the other, while the block stays in L1."""
    sch = s_tir.Schedule(function)
    *outer, column, lane = sch.get_loops(sch.get_sblock("out"))
    if outer:
        column, block = sch.split(column, [None, _BLOCK])
        sch.reorder(column, lane, block)
        sch.parallel(sch.fuse(*outer) if len(outer) > 1 else outer[0])
    return sch.mod


@dataclass(frozen=True)
class DenseStore:
    """Stores points (group, element coordinates, lane) of a tensor row-major in one flat buffer."""

    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """All elements."""
        return (prod(self.layout.shape),)

    def __call__(self, point: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any | None]:
        """The flat index; lanes past the batch are not stored."""
        layout = self.layout
        if not layout.batch_lanes:
            return (_flat(layout.shape, point[: len(layout.shape) or 1]),), None
        image = point[0] * layout.lanes + point[-1]
        condition = image < layout.shape[0] if layout.shape[0] % layout.lanes else None
        return (_flat(layout.shape, (image, *point[1:-1])),), condition


def leave(value: Value) -> Kernel:
    """Kernel from a value's layout to a dense tensor, row-major."""
    source = value.layout
    x = value.placeholder()
    space = (source.groups, *source.element_shape, *((source.lanes,) if source.batch_lanes else ()))
    result = te.compute(
        space,
        lambda *point: x[point[0], source.address(source.coordinates(point), source.lane(point))],
        name="out",
    )
    sch = s_tir.Schedule(te.create_prim_func([x, result]))
    loops = sch.get_loops(sch.get_sblock("out"))
    outer = loops[:-2] or loops[:1]
    sch.parallel(sch.fuse(*outer) if len(outer) > 1 else outer[0])
    return Kernel("leave", sch.mod, DenseStore(source), (value.argument(),))


def _flat(shape: tuple[int, ...], coordinates: tuple[Any, ...]) -> Any:
    """Row-major index of coordinates; a scalar's only element is 0."""
    index: Any = 0
    for extent, coordinate in zip(shape, coordinates, strict=bool(shape)):
        index = index * extent + coordinate
    return index
