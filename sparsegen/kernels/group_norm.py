"""Group norm of images, of which instance norm is the case of one channel a group.

Best for any number of groups: a task takes one group of one image (with batch lanes: of `lanes` images),
sums it twice, for its mean and for its variance, and stores it. Sums run in several vectors side by side.
Without batch lanes vectors cut the channels' planes without regard to rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import s_tir, te, tirx

from sparsegen.graph import GroupNorm, Layer
from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.loops import extent, parallel, place_stage
from sparsegen.kernels.mathematics import constant
from sparsegen.kernels.planes import Pixels, position
from sparsegen.kernels.reductions import Point, Reader, Stages, reduced, stage
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.kernel import Kernel, LayoutStore
from sparsegen.lowering.layout import Layout

Term = Callable[[Expr, Point], Expr]  # of an element, and of the (group, channel group[, lane]) it is in

_WIDEST = 4  # vectors that are summed side by side: enough to hide an addition's latency


@kernel_for(GroupNorm, "group_norm")
def group_norm(layer: Layer, context: Context) -> Kernel:
    """Kernel of the normalisation of each group of channels."""
    core, source, out = layer.core, context.value(layer.inputs[0]), context.layout(layer.name)
    assert isinstance(core, GroupNorm)
    x, layout, epilogue = source.placeholder(), source.layout, context.epilogue(layer)
    assert layout.strides == out.strides, "images of one size have one layout"
    _, channels, height, width = layout.shape
    each = channels // core.groups
    pixels = Pixels(layout, layout.plane)
    sums = _SumsOfImages if layout.batch_lanes else _SumsOfPlanes
    sum_of = sums(x, layout, core.groups, pixels).of
    share, one, eps = constant(1.0 / (each * height * width)), constant(1.0), constant(core.eps)
    extents = (layout.groups, core.groups, *((layout.lanes,) if layout.batch_lanes else ()))

    total, summed = sum_of(lambda value, _: value, "sums")
    mean = stage(extents, lambda point: total(point) * share, "mean")

    def square(value: Expr, point: Point) -> Expr:
        return (value - mean(point)) * (value - mean(point))

    squares, squared = sum_of(square, "squares")
    scale = stage(extents, lambda point: one / tirx.sqrt(squares(point) * share + eps), "scale")

    def element(*point: Expr) -> Expr:
        coordinates, lane = out.coordinates(point), out.lane(point)
        own = (point[0], coordinates[0] // each, *((lane,) if layout.batch_lanes else ()))
        value = (x[point[0], layout.address(coordinates, lane)] - mean(own)) * scale(own)
        value = epilogue.apply(value, point[0], coordinates, lane)
        return value if layout.row == width else pixels.only(value, position(layout, coordinates))

    result = te.compute(out.space, element, name="out")
    function = te.create_prim_func([x, *pixels.tables, *epilogue.placeholders, result])
    stages = [*summed, ("mean", layout.batch_lanes), *squared, ("scale", layout.batch_lanes)]
    return Kernel(
        kind="group_norm",
        module=_schedule(function, stages, each, batch_lanes=layout.batch_lanes),
        store=LayoutStore(out),
        arguments=(source.argument(), *pixels.arrays, *epilogue.arguments),
    )


@dataclass(frozen=True, eq=False)
class _SumsOfImages:
    """Vectors hold a pixel of `lanes` images; several pixels or channels are summed side by side."""

    x: Any
    layout: Layout
    groups: int
    pixels: Pixels

    def of(self, term: Term, name: str) -> tuple[Reader, Stages]:
        """The sum of a term, by (group, channel group, lane), and its stages, the last called `name`."""
        layout, each = self.layout, self.layout.shape[1] // self.groups
        space = [each, *layout.shape[2:]]
        dim, apart = _side_by_side(space)
        space[dim] //= apart

        def element(point: Point) -> Expr:
            group, of_channels, *at, beside, lane = point
            at[dim] = at[dim] * apart + beside
            coordinates = (of_channels * each + at[0], *at[1:])
            value = self.x[group, layout.address(coordinates, lane)].astype(accumulator_of(layout.dtype))
            return term(value, (group, of_channels, lane))

        whole = (layout.groups, self.groups, *space, apart, layout.lanes)
        partial = reduced(te.sum, element, whole, (2, 3, 4), f"{name}_apart")
        total = reduced(te.sum, partial, (*whole[:2], apart, layout.lanes), (2,), name)
        return total, [(f"{name}_apart", True), (name, True)]


def _side_by_side(space: Sequence[int]) -> tuple[int, int]:
    """A dimension, and how many sums there can be of every so many of its positions."""
    for count in range(_WIDEST, 1, -1):
        for dim in reversed(range(len(space))):
            if space[dim] % count == 0:
                return dim, count
    return 0, 1


@dataclass(frozen=True, eq=False)
class _SumsOfPlanes:
    """Vectors hold neighbours of a channel's plane; several vectors are summed side by side."""

    x: Any
    layout: Layout
    groups: int
    pixels: Pixels

    @property
    def apart(self) -> int:
        """Vectors side by side: as many as leave whole ones within a plane."""
        vectors, room = self.layout.vectors, self.layout.plane // self.layout.lanes
        return next(count for count in range(_WIDEST, 0, -1) if -(-vectors // count) * count <= room)

    def of(self, term: Term, name: str) -> tuple[Reader, Stages]:
        """The sum of a term, by (group, channel group), and its stages, the last called `name`."""
        layout, each, lanes = self.layout, self.layout.shape[1] // self.groups, self.layout.lanes
        floats = self.apart * lanes

        def element(point: Point) -> Expr:
            group, of_channels, channel, chunk, at = point
            where = chunk * floats + at
            value = self.x[group, layout.address((of_channels * each + channel, 0, 0)) + where]
            value = value.astype(accumulator_of(layout.dtype))
            return self.pixels.only(term(value, (group, of_channels)), where)

        def vector(point: Point) -> Expr:
            return partial((*point[:2], point[2] * lanes + point[3]))

        whole = (layout.groups, self.groups, each, -(-layout.vectors // self.apart), floats)
        partial = reduced(te.sum, element, whole, (2, 3), f"{name}_apart")
        folded = reduced(te.sum, vector, (*whole[:2], self.apart, lanes), (2,), f"{name}_by_lane")
        total = reduced(te.sum, folded, (*whole[:2], lanes), (2,), name)
        return total, [(f"{name}_apart", True), (f"{name}_by_lane", True), (name, False)]


def _schedule(function: Any, stages: Stages, each: int, *, batch_lanes: bool) -> Any:
    """Groups of `each` channels in parallel; all stages inside one task. Planes are one loop."""
    sch = s_tir.Schedule(function)
    group, channel, row, column, *lanes = sch.get_loops(sch.get_sblock("out"))
    work = extent(sch, [group, channel, row, column, *lanes])
    of_channels, _ = sch.split(channel, [None, each])
    sch.fuse(row, column)
    for lane in lanes:
        sch.vectorize(lane)
    task = parallel(sch, [group, of_channels], work=work)
    for name, vectorised in reversed(stages):
        place_stage(sch, name, task, vectorised=vectorised)
    return sch.mod
