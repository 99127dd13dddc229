"""The graph's edges: torch's dense tensors to the lane layout, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import tvm_ffi
from tvm import s_tir, te, tirx

from sparsegen.graph import ITEM_BYTES
from sparsegen.kernels.loops import extent, parallel, parallel_rows
from sparsegen.kernels.operands import Value, ravel, zero_outside
from sparsegen.lowering.expressions import Condition, Expr, IntExpr
from sparsegen.lowering.kernel import Kernel, LayoutStore
from sparsegen.lowering.layout import Layout
from sparsegen.lowering.store import Parameters

_QUAD = 4  # lanes that one step of the transposition brings together: LLVM has shuffles for four
_BLOCK = 32  # pixels of a row that are transposed at once, where rows divide so: all lanes' stay in L1


def enter(name: str, out: Layout) -> Kernel:
    """Kernel from a dense tensor, row-major, to `out`; `name` is that of the graph's input.

    With batch lanes, lanes past the batch repeat its last image.
    """
    x = te.placeholder((prod(out.shape),), out.dtype, name="x")

    def pixel(group: Expr, coordinates: tuple[Expr, ...], lane: IntExpr) -> Expr:
        image = te.min(group * out.lanes + lane, out.shape[0] - 1) if out.batch_lanes else group
        return x[ravel((image, *coordinates)[: len(out.shape)], out.shape)]

    transposed = _has_rows_of_vectors(out)
    read = _quads(out, pixel) if transposed else pixel

    def element(*point: Any) -> Any:
        coordinates = out.coordinates(point)
        return zero_outside(out, coordinates, read(point[0], coordinates, out.lane(point)))

    function = _at_any_address(te.create_prim_func([x, te.compute(out.space, element, name="out")]))
    module = _transpose(function, vectors="out") if transposed else parallel_rows(function, batch_lanes=False)
    return Kernel("enter", module, LayoutStore(out), (name,))


@dataclass(frozen=True)
class DenseStore:
    """Stores points (group, element coordinates, lane) of a tensor row-major in one flat buffer."""

    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """All elements."""
        return (prod(self.layout.shape),)

    def __call__(
        self, point: tuple[Expr, ...], parameters: Parameters
    ) -> tuple[tuple[IntExpr, ...], Condition | None]:
        """The flat index; lanes past the batch are not stored."""
        layout = self.layout
        if not layout.batch_lanes:
            return (ravel(point[: len(layout.shape)], layout.shape),), None
        image = point[0] * layout.lanes + point[-1]
        condition = image < layout.shape[0] if layout.shape[0] % layout.lanes else None
        return (ravel((image, *point[1:-1]), layout.shape),), condition


def leave(value: Value) -> Kernel:
    """Kernel from a value's layout to a dense tensor, row-major."""
    source, x = value.layout, value.placeholder()

    def stored(group: Expr, coordinates: tuple[Expr, ...], lane: IntExpr) -> Expr:
        return x[group, source.address(coordinates, lane)]

    transposed = _has_rows_of_vectors(source)
    read = _quads(source, stored) if transposed else stored
    space = (source.groups, *source.element_shape, *((source.lanes,) if source.batch_lanes else ()))
    result = te.compute(
        space, lambda *point: read(point[0], source.coordinates(point), source.lane(point)), name="out"
    )
    function = te.create_prim_func([x, result])
    module = (
        _transpose(function, vectors="quads") if transposed else parallel_rows(function, batch_lanes=False)
    )
    return Kernel("leave", module, DenseStore(source), (value.argument(),))


@dataclass(frozen=True)
class BufferStore:
    """Stores points (group, vector, lane) of a whole buffer."""

    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """(groups, size)."""
        return self.layout.groups, self.layout.size

    def __call__(
        self, point: tuple[Expr, ...], parameters: Parameters
    ) -> tuple[tuple[Expr, ...], Condition | None]:
        """(group, address); all points are stored."""
        group, piece, lane = point
        return (group, piece * self.layout.lanes + lane), None


def copy_buffer(value: Value) -> Kernel:
    """Kernel that copies a value's buffer as it is, halo and all."""
    layout, x = value.layout, value.placeholder()
    pieces = layout.size // layout.lanes
    result = te.compute(
        (layout.groups, pieces, layout.lanes),
        lambda group, piece, lane: x[group, piece * layout.lanes + lane],
        name="out",
    )
    module = parallel_rows(te.create_prim_func([x, result]), batch_lanes=True)
    return Kernel("copy", module, BufferStore(layout), (value.argument(),))


def _at_any_address(function: Any) -> Any:
    """The function with a first parameter that need not start at a cache line, as a user's may not."""
    aligned = function.params[0]
    itemsize = ITEM_BYTES[str(aligned.dtype)]
    x = tirx.decl_buffer(aligned.shape, aligned.dtype, aligned.name, data_alignment=itemsize)
    return tvm_ffi.structural_map(function, (tirx.Var, lambda own: x if own.same_as(aligned) else own))


def _has_rows_of_vectors(layout: Layout) -> bool:
    """Whether lanes and the last dimension change places between the layout and a dense tensor."""
    return layout.batch_lanes and len(layout.shape) > 1


def _quads(layout: Layout, element: Callable[..., Expr]) -> Callable[..., Expr]:
    """`element(group, coordinates, lane)` by way of a stage between the two orders of lanes and pixels.

    The stage holds [..., quad, pixel, lane of the quad]: from or to rows of pixels four rows are
    interleaved, from or to vectors of lanes quads are copied whole.
    """
    *outer, row = layout.element_shape
    space = (layout.groups, *outer, layout.lanes // _QUAD, row, _QUAD)

    def gathered(group: Expr, *point: Expr) -> Expr:
        *coordinates, quad, pixel, lane = point
        return element(group, (*coordinates, pixel), quad * _QUAD + lane)

    quads = te.compute(space, gathered, name="quads")

    def read(group: Expr, coordinates: tuple[Expr, ...], lane: IntExpr) -> Expr:
        return quads[(group, *coordinates[:-1], lane // _QUAD, coordinates[-1], lane % _QUAD)]

    return read


def _transpose(function: Any, *, vectors: str) -> Any:
    """Rows in parallel, a block of pixels through both stages; `vectors` is the side of whole vectors."""
    sch = s_tir.Schedule(function)
    out, quads = sch.get_sblock("out"), sch.get_sblock("quads")
    loops = sch.get_loops(out)
    *outer, pixel, lane = loops
    inside = parallel(sch, outer, work=extent(sch, loops))
    if extent(sch, [pixel]) % _BLOCK == 0:
        block, pixel = sch.split(pixel, [None, _BLOCK])
        inside = [block]
    sch.split(lane, [None, _QUAD])
    sch.compute_at(quads, inside[0], preserve_unit_loops=True)
    for stage in (out, quads):
        first, second, lane = sch.get_loops(stage)[-3:]
        pixel, quad = (first, second) if stage is out else (second, first)
        if stage is (out if vectors == "out" else quads):
            sch.reorder(pixel, quad, lane)
            sch.unroll(quad)
            sch.vectorize(lane)
        else:
            sch.reorder(quad, pixel, lane)
            sch.unroll(lane)
    return sch.mod
