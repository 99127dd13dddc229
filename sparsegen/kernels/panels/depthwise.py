"""The computed slab: a tile's input of one column block, which a depthwise convolution gives.

What only a pointwise convolution reads of a depthwise one's need not exist as a whole. When an iteration of
the block's loop begins, the block's channels of the tile are computed, into so little memory that every
panel then reads them from the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te

from sparsegen.kernels.accumulators import accumulator_of
from sparsegen.kernels.epilogue import Epilogue
from sparsegen.kernels.loops import read_whole
from sparsegen.kernels.operands import pick
from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule
from sparsegen.lowering.expressions import Expr, IntExpr, TensorExpr


@dataclass(frozen=True)
class DepthwiseSlab:
    """How a tile's input lies in the slab: `channels` input channels of a `tile` of pixel vectors each.

    A vector is `lanes` floats.
    """

    channels: int
    tile: tuple[int, int]
    lanes: int

    @property
    def floats(self) -> int:
        """Floats of the slab."""
        return self.channels * self.tile[0] * self.tile[1] * self.lanes

    @property
    def pixel_steps(self) -> tuple[int, int]:
        """Floats to the pixel below, and to the one on the right."""
        return self.tile[1] * self.lanes, self.lanes

    def offsets(self, channels: int) -> NDArray[np.int32]:
        """Where each of the input's channels lies in the slab of its block."""
        channel = np.arange(channels) % self.channels
        return (channel * (self.floats // self.channels)).astype(np.int32)


def plan_depthwise(problem: PanelProblem, knobs: PanelSchedule) -> DepthwiseSlab | None:
    """The computed slab of a schedule's tiles; None where a problem has its input in memory."""
    if problem.depthwise is None:
        return None
    channels = min(knobs.block, problem.channels)
    return DepthwiseSlab(channels, (knobs.tile_h, knobs.tile_w), problem.out.lanes)


def computed_input(
    x: TensorExpr, problem: PanelProblem, knobs: PanelSchedule, slab: DepthwiseSlab, blocks: IntExpr
) -> tuple[TensorExpr, list[tuple[TensorExpr, NDArray[Any]]]]:
    """The stage `slab`, [groups, tiles down, tiles across, blocks, floats], and its parameters' arrays.

    The stage before it, `registers_taps`, has its sums over taps. Past the last channel, in a block that has
    fewer, the last one is computed again.
    """
    depthwise, lanes, (height, width) = problem.depthwise, slab.lanes, slab.tile
    total = accumulator_of(problem.source.dtype)
    assert depthwise is not None
    weights = te.placeholder(depthwise.matrix.shape, name="tap_weights")
    bias = te.placeholder(depthwise.bias.shape, name="tap_bias")
    (down, right), (tile_down, tile_right) = problem.pixel_steps, problem.tile_steps(knobs)
    tap, last = te.reduce_axis((0, len(depthwise.offsets)), name="tap"), problem.channels - 1

    def channel_of(b: Expr, c: Expr) -> Expr:
        channel = b * slab.channels + c
        return te.min(channel, last) if problem.channels % slab.channels else channel

    def product(g: Expr, tile_y: Expr, tile_x: Expr, b: Expr, c: Expr, y: Expr, ox: Expr, lane: Expr) -> Expr:
        channel, start = channel_of(b, c), tile_y * tile_down + tile_x * tile_right
        at = start + channel * problem.plane + pick(depthwise.offsets.tolist(), tap) + y * down + ox * right
        return te.sum(weights[channel, tap] * x[g, at + lane].astype(total), axis=tap)

    grid = (*problem.tile_grid(knobs), blocks)
    sums = te.compute((*grid, slab.channels, *slab.tile, lanes), product, name="registers_taps")
    steps = Epilogue(depthwise.steps, {})

    def finished(g: Expr, tile_y: Expr, tile_x: Expr, b: Expr, i: Expr) -> Expr:
        vector, lane = i // lanes, i % lanes
        c, y, ox = vector // (height * width), vector // width % height, vector % width
        value = sums[g, tile_y, tile_x, b, c, y, ox, lane] + bias[channel_of(b, c)]
        return steps.apply(value, g, (), lane)

    slab_of = te.compute((*grid, slab.floats), finished, name="slab")
    return slab_of, [(weights, depthwise.matrix), (bias, depthwise.bias)]


def schedule_depthwise(sch: Any, slab: DepthwiseSlab, part: Any, loop: Any) -> None:
    """Compute the slab, which the block `part` reads, when an iteration of `loop` begins.

    A channel's sums over taps stay in registers. Its taps and pixels are straight-line code: what
    neighbouring pixels share is loaded once.
    """
    block, sums = sch.get_sblock("slab"), sch.get_sblock("registers_taps")
    # Where a column lies in the slab is read from memory, so TVM does not know that it is within.
    read_whole(sch, part, "slab", slab.floats)
    sch.compute_at(block, loop, preserve_unit_loops=True)
    *_, i = sch.get_loops(block)
    *_, channel, y, x, lane = sch.split(i, [slab.channels, *slab.tile, slab.lanes])
    sch.compute_at(sums, channel, preserve_unit_loops=True)
    *_, own_y, own_x, own_lane, tap = sch.get_loops(sums)
    sch.reorder(tap, own_y, own_x, own_lane)
    for each in (y, x, tap, own_y, own_x):
        sch.unroll(each)
    for each in (lane, own_lane):
        sch.vectorize(each)
    sch.decompose_reduction(sums, tap)
