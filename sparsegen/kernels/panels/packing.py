"""The slab: a tile's input of one column block, copied into one run of memory before it is read.

A tile reads short runs of an input's rows, channel after channel, and for every panel again. Far
apart, they may meet in few sets of the L1 cache; where the layer has a stride, half of their lines
are never read. In a slab they lie side by side, and steps from pixel to pixel are as short as can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te

from sparsegen.kernels.loops import read_whole
from sparsegen.kernels.panels.problem import PanelProblem, PanelSchedule
from sparsegen.lowering.expressions import Expr, IntExpr, TensorExpr


@dataclass(frozen=True, eq=False)
class Slab:
    """How a tile's input lies in the slab: `channels` input channels of the same whole vectors each.

    A vector is `lanes` floats.
    `starts` [vectors] tells where the vectors of the first channel lie in the input of a group, for
    the first tile; `offsets` [columns] where each column lies in the slab of its block, for the
    tile's first pixel, and `pixel_steps` how much further for a pixel down or to the right. All in
    floats.
    """

    channels: int
    lanes: int
    starts: NDArray[np.int32]
    offsets: NDArray[np.int32]
    pixel_steps: tuple[int, int]

    @property
    def floats(self) -> int:
        """Floats of the slab."""
        return self.channels * len(self.starts) * self.lanes


def plan_slab(problem: PanelProblem, knobs: PanelSchedule) -> Slab | None:
    """The slab of a schedule's tiles; None where `packable` does not hold.

    Vectors that a tile reads of a channel overlap or touch where taps and pixels are neighbours. A run
    of those is copied as whole vectors, and the runs follow each other.
    """
    if problem.depthwise is not None:
        return None
    lanes, taps = problem.out.lanes, problem.offsets[: problem.columns_per_channel].astype(np.int64)
    y, x = np.indices((knobs.tile_h, knobs.tile_w)).reshape(2, -1, 1)
    read = y * problem.pixel_steps[0] + x * problem.pixel_steps[1] + taps
    vectors = np.unique(read)
    gaps = np.flatnonzero(np.diff(vectors) > lanes)
    begins, ends = vectors[[0, *(gaps + 1)]], vectors[[*gaps, -1]] + lanes
    lengths = -(-(ends - begins) // lanes)
    starts = np.concatenate(
        [begin + lanes * np.arange(length) for begin, length in zip(begins, lengths, strict=True)]
    )
    run = np.searchsorted(begins, read, side="right") - 1
    at = (np.cumsum(lengths) - lengths)[run] * lanes + read - begins[run]
    down = int(at[knobs.tile_w, 0] - at[0, 0]) if knobs.tile_h > 1 else 0
    right = int(at[1, 0] - at[0, 0]) if knobs.tile_w > 1 else 0
    if not np.array_equal(at, at[0] + y * down + x * right):
        return None
    (_, *tiles), steps = problem.tile_grid(knobs), problem.tile_steps(knobs)
    last_tile = sum((count - 1) * step for count, step in zip(tiles, steps, strict=True))
    if last_tile + (problem.channels - 1) * problem.plane + starts.max() + lanes > problem.source.size:
        return None
    channels = min(knobs.block, problem.channels)
    channel = np.arange(problem.channels)[:, None] % channels
    return Slab(
        channels=channels,
        lanes=lanes,
        starts=starts.astype(np.int32),
        offsets=(channel * len(starts) * lanes + at[0]).reshape(-1).astype(np.int32),
        pixel_steps=(down, right),
    )


def packable(problem: PanelProblem, knobs: PanelSchedule) -> bool:
    """Whether `pack_input` is legal for a tile.

    A column is read at one offset for all pixels of a tile, so these have to lie equally far apart in
    the slab too. They do not where a stride leaves gaps between the rows or pixels that a tap reads
    which other taps fill in part: dilation 3 with stride 2. And the last vector of a run may stand
    over the run's end: it may not stand over the input's. What a depthwise convolution computes is in a
    slab anyway.
    """
    return plan_slab(problem, knobs) is not None


def slab_bytes(problem: PanelProblem, knobs: PanelSchedule) -> int:
    """Bytes of the slab of a schedule for which `packable` holds."""
    slab = plan_slab(problem, knobs)
    assert slab is not None
    return problem.source.itemsize * slab.floats


def packed_input(
    x: TensorExpr, problem: PanelProblem, knobs: PanelSchedule, slab: Slab, blocks: IntExpr
) -> tuple[TensorExpr, TensorExpr]:
    """The stage `slab`, [groups, tiles down, tiles across, blocks, floats], and its parameter, the starts.

    Past the last channel, in a block that has fewer, the last one is copied again.
    """
    lanes, vectors, (down, across) = slab.lanes, len(slab.starts), problem.tile_steps(knobs)
    starts = te.placeholder((vectors,), "int32", name="starts")

    def copied(g: Expr, tile_y: Expr, tile_x: Expr, b: Expr, i: Expr) -> Expr:
        channel = b * slab.channels + i // (vectors * lanes)
        if problem.channels % slab.channels:
            channel = te.min(channel, problem.channels - 1)
        start = starts[i // lanes % vectors] + tile_y * down + tile_x * across
        return x[g, start + channel * problem.plane + i % lanes]

    return te.compute((*problem.tile_grid(knobs), blocks, slab.floats), copied, name="slab"), starts


def schedule_slab(sch: Any, slab: Slab, part: Any, loop: Any) -> None:
    """Copy the slab, which the block `part` reads, a vector at a time when an iteration of `loop` begins."""
    block = sch.get_sblock("slab")
    # Where a column lies in the slab is read from memory, so TVM does not know that it is within.
    read_whole(sch, part, "slab", slab.floats)
    sch.compute_at(block, loop, preserve_unit_loops=True)
    *_, i = sch.get_loops(block)
    *_, channel, vector, lane = sch.split(i, [slab.channels, len(slab.starts), slab.lanes])
    sch.reorder(vector, channel, lane)  # a start is read once, the channels are at constant distances
    sch.vectorize(lane)
