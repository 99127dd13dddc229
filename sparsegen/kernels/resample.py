"""Resampling of images: along columns first, then along the one row that is left.

Best for any factor: where positions are read is known, and lies in tables, or is a division by a constant
where every position is copied a whole number of times. An interpolated row stays in the L1 cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import s_tir, te

from sparsegen.graph import Interpolation, Layer, Resample2d
from sparsegen.kernels.loops import extent, parallel, read_whole
from sparsegen.kernels.operands import zero_outside
from sparsegen.kernels.reductions import Point, stage
from sparsegen.kernels.registry import Context, kernel_for
from sparsegen.lowering.expressions import Expr, TensorExpr
from sparsegen.lowering.kernel import Kernel, LayoutStore


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis of a kernel: `repeats` is how often each position is copied in turn, 0 where it is not so."""

    interpolation: Interpolation
    name: str
    repeats: int = field(init=False)
    tables: list[TensorExpr] = field(init=False, default_factory=list)
    arrays: list[NDArray[Any]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "repeats", _repeats(self.interpolation))
        if not self.repeats:
            self.arrays.append(np.ascontiguousarray(self.interpolation.reads.T))
        if not self.interpolation.copies:
            self.arrays.append(np.ascontiguousarray(self.interpolation.weights.T))
        self.tables.extend(te.placeholder(a.shape, str(a.dtype), name=self.name) for a in self.arrays)

    def value(self, at: Expr, read: Callable[[Expr], Expr]) -> Expr:
        """The value at an output position, of what `read` gives at an input position."""
        if self.repeats:
            return read(at // self.repeats)
        reads, *weights = self.tables
        if not weights:
            return read(reads[0, at])
        taps = range(self.interpolation.reads.shape[1])
        first, *others = (weights[0][tap, at] * read(reads[tap, at]) for tap in taps)
        return sum(others, start=first)


def _repeats(axis: Interpolation) -> int:
    """How often each input position in turn is copied to the output; 0 where that is not what happens."""
    if not axis.copies:
        return 0
    reads = axis.reads[:, 0]
    times = int(np.count_nonzero(reads == 0))
    return times if times and np.array_equal(reads, np.arange(len(reads)) // times) else 0


@kernel_for(Resample2d, "resample")
def resample(layer: Layer, context: Context) -> Kernel:
    """Kernel of the sums along both axes."""
    core, source, out = layer.core, context.value(layer.inputs[0]), context.layout(layer.name)
    assert isinstance(core, Resample2d)
    rows, columns = _Axis(core.rows, "rows"), _Axis(core.columns, "columns")
    x, epilogue, layout = source.placeholder(), context.epilogue(layer), source.layout
    step, floats = layout.step, layout.shape[3] * layout.step  # of a row, lanes included
    between = out.holds((0,) * 3) is not None  # rows are stored with a halo, which has no columns

    def down(point: Point) -> Expr:
        group, channel, row, position = point
        return rows.value(row, lambda at: x[group, layout.address((channel, at, 0)) + position])

    read = down if core.rows.copies else stage((layout.groups, *out.shape[1:3], floats), down, "down")

    def across(point: Point) -> Expr:
        group, channel, row, column, *lane = point
        return columns.value(column, lambda at: read((group, channel, row, at * step + sum(lane))))

    value = stage((layout.groups, *out.shape[1:]), across, "across") if between else across

    def element(*point: Expr) -> Expr:
        coordinates = out.coordinates(point)
        result = epilogue.apply(value(point), point[0], coordinates, out.lane(point))
        return zero_outside(out, coordinates, result)

    tables, arrays = [*rows.tables, *columns.tables], [*rows.arrays, *columns.arrays]
    result = te.compute(out.space, element, name="out")
    function = te.create_prim_func([x, *tables, *epilogue.placeholders, result])
    return Kernel(
        kind="resample",
        module=_schedule(
            function,
            floats=0 if core.rows.copies else floats,
            between=between,
            lanes=layout.lanes if layout.batch_lanes else 0,
            repeats=columns.repeats,
        ),
        store=LayoutStore(out),
        arguments=(source.argument(), *arrays, *epilogue.arguments),
    )


def _schedule(function: Any, *, floats: int, between: bool, lanes: int, repeats: int) -> Any:
    """Rows in parallel; `floats` are those of an interpolated row, 0 where there is none.

    Copies of one position are straight-line code. Without batch lanes LLVM vectorises the loops along a
    row: gathers where positions come from a table, interleaved stores where they are repeated.
    """
    sch = s_tir.Schedule(function)
    reader = sch.get_sblock("across" if between else "out")
    loops = sch.get_loops(sch.get_sblock("out"))
    (task,) = parallel(sch, loops[:3], work=extent(sch, loops))
    if between:
        sch.compute_at(reader, task, preserve_unit_loops=True)
    if floats:
        read_whole(sch, reader, "down", floats)
        down = sch.get_sblock("down")
        sch.compute_at(down, task, preserve_unit_loops=True)
        if lanes:
            _, vector = sch.split(sch.get_loops(down)[-1], [None, lanes])
            sch.vectorize(vector)
    if lanes:
        sch.vectorize(loops[-1])
    if repeats > 1:
        _, copies = sch.split(sch.get_loops(reader)[-1] if between else loops[3], [None, repeats])
        sch.unroll(copies)
    return sch.mod
