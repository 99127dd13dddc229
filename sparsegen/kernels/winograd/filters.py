"""The transformed filters of Winograd's kernel: all of them, or those that are not zero everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from sparsegen.kernels.winograd.kept import KeptChannels
from sparsegen.kernels.winograd.problem import SparseWinogradSchedule, WinogradProblem, WinogradSchedule
from sparsegen.lowering.expressions import Expr
from sparsegen.lowering.kernel import WeightArray
from sparsegen.runtime.transformed import TransformedFilters

KEPT_CHANNELS = "channels"
"""Parameter of a sparse kernel: the channels that its panels multiply."""


@dataclass(frozen=True, eq=False)
class Filters:
    """Transformed filters as the expression reads them.

    `placeholders` are parameters of the kernel. `masked` tells that it depends on memory, or on the position,
    how many terms there are. `term(read, i, j, panel, chain, r)` is the product that is
    summed over `axis` at position (i, j) in one of the schedule's chains, `read(c)` being the transformed
    input of channel c.
    """

    placeholders: tuple[Any, ...]
    axis: Any
    term: Callable[[Callable[[Expr], Expr], Expr, Expr, Expr, Expr, Expr], Expr]
    masked: bool


def filters(problem: WinogradProblem, knobs: WinogradSchedule) -> Filters:
    """The filters of a schedule."""
    if isinstance(knobs, SparseWinogradSchedule):
        return _sparse(problem, knobs)
    return _dense(problem, knobs)


def packed(problem: WinogradProblem, knobs: WinogradSchedule) -> tuple[WeightArray, ...]:
    """The arguments for the placeholders of `filters`: weights first.

    These are [n, n, panels, C, rows], or [n, n, kept, rows] of the channels that panels keep: one stream of
    memory a panel.
    """
    panels, rows, matrix = problem.panels(knobs), knobs.rows, problem.transform(knobs).weight
    n = len(matrix)
    if not isinstance(knobs, SparseWinogradSchedule):
        shape = n, n, panels, problem.channels[1], rows
        return (TransformedFilters(partial(_of_panels, problem, knobs), matrix, shape),)
    ends = problem.part_ends
    kept = KeptChannels.of(problem.kept, rows=rows, panels=panels, multiple=knobs.chains, ends=ends)
    listed = n, n, max(1, len(kept.channels)), rows
    weights = TransformedFilters(partial(_listed, problem, knobs, kept), matrix, listed)
    return weights, kept.addresses, kept.starts


def _of_panels(problem: WinogradProblem, knobs: WinogradSchedule) -> NDArray[np.float32]:
    """All filters, [panels, C, rows, taps, taps]: zero past the last output channel."""
    panels, rows, filters = problem.panels(knobs), knobs.rows, problem.filters
    out_channels, channels, *taps = filters.shape
    padded = np.pad(filters, ((0, panels * rows - out_channels), (0, 0), (0, 0), (0, 0)))
    # Masks leave -0 of negative weights; a file has +0 for nothing.
    return (padded + np.float32(0)).reshape(panels, rows, channels, *taps).swapaxes(1, 2)


def _listed(
    problem: WinogradProblem, knobs: SparseWinogradSchedule, kept: KeptChannels
) -> NDArray[np.float32]:
    """The filters of the channels that panels keep, [kept, rows, taps, taps]."""
    filters = _of_panels(problem, knobs)[kept.panel_of, kept.channels]
    filters[kept.repeated] = 0
    if len(filters):
        return filters
    # An array has a number of everything, even where none is read.
    return np.zeros((1, *filters.shape[1:]), np.float32)


def _dense(problem: WinogradProblem, knobs: WinogradSchedule) -> Filters:
    n, (_, channels) = problem.transform(knobs).inputs, problem.channels
    weight = te.placeholder((n, n, problem.panels(knobs), channels, knobs.rows), name="weight")
    c = te.reduce_axis((0, channels), name="c")
    parts, ends = problem.window.parts, [0, *problem.part_ends]

    def end_of(part: int) -> Expr:
        return tirx.const(ends[part], "int32")

    def term(read: Callable[[Expr], Expr], i: Expr, j: Expr, panel: Expr, chain: Expr, r: Expr) -> Expr:
        if len(parts.counts) == 1:
            return weight[i, j, panel, c, r] * read(c)
        begin, end = parts.begin(end_of, j, n), parts.end(end_of, i, j, n)
        product = weight[i, j, panel, begin + c, r] * read(begin + c)
        return tirx.if_then_else(c < end - begin, product, tirx.const(0, problem.out.dtype))

    return Filters((weight,), c, term, masked=len(parts.counts) > 1)


def _sparse(problem: WinogradProblem, knobs: SparseWinogradSchedule) -> Filters:
    n, (_, channels), chains = problem.transform(knobs).inputs, problem.channels, knobs.chains
    parts, panels = problem.window.parts, problem.panels(knobs)
    weight = te.placeholder((n, n, te.var("kept"), knobs.rows), name="weight")
    channel_of = te.placeholder((te.var("listed"),), "int32", name=KEPT_CHANNELS)
    starts = te.placeholder((panels * len(parts.counts) + 1,), "int32", name="starts")
    c = te.reduce_axis((0, -(-channels // chains)), name="c")

    def number(part: int) -> Expr:
        return tirx.const(part, "int32")

    def term(read: Callable[[Expr], Expr], i: Expr, j: Expr, panel: Expr, chain: Expr, r: Expr) -> Expr:
        begin, end = (
            starts[panel * len(parts.counts) + part]
            for part in (parts.begin(number, j, n), parts.end(number, i, j, n))
        )
        at = begin + c * chains + chain
        product = weight[i, j, at, r] * read(channel_of[at])
        within = c < te.indexdiv(end - begin, chains)
        return tirx.if_then_else(within, product, tirx.const(0, problem.out.dtype))

    return Filters((weight, channel_of, starts), c, term, masked=True)
