"""The format and tiles of a linear layer without batch lanes, without tuning: the least estimated cycles."""

from __future__ import annotations

from dataclasses import dataclass

from sparsegen.formats import masked_vectors
from sparsegen.graph import Array
from sparsegen.kernels.linear_schedule import (
    DENSE_FORMAT,
    LinearSchedule,
    default_linear,
    extents,
    masked_fits,
    masked_linear,
)
from sparsegen.kernels.registry import Context
from sparsegen.lowering.layout import Layout
from sparsegen.stopwatch import part

# In cycles, fitted to the measured times of layers from 1000x512 to 4096x25088 at 10 to 100 % density
# and batches 1 to 8, on Zen 5.
_NEAR, _FAR = 32.0, 10.5  # bytes of weights a cycle: from an L2 cache, and from farther away
_EXPANDED = 1.7  # of a vector of weights that is expanded under its mask
_MULTIPLY = 0.4  # of a vector's multiply-add with a row


@dataclass(frozen=True)
class LinearChoice:
    """The schedule chosen for a layer; those, and estimated cycles, of every format that it may have.

    Cycles are each thread's.
    """

    schedule: LinearSchedule
    estimates: dict[str, float]
    schedules: dict[str, LinearSchedule]

    @property
    def cycles(self) -> float:
        """Those of the chosen format."""
        return self.estimates[self.schedule.format]


@part("choosing the rest")
def choose_linear(matrix: Array, layout: Layout, context: Context) -> LinearChoice:
    """The format and tiles of a layer with weights `matrix` [out, n] and an output in `layout`."""
    target, threads = context.target, context.threads
    dense, masked = default_linear(layout, target, threads), masked_linear(layout, target, threads)
    rows, vectors = extents(layout)
    vectors *= matrix.shape[1]
    bytes_of = {DENSE_FORMAT: layout.itemsize * layout.lanes * vectors}
    near = bytes_of[DENSE_FORMAT] <= threads * target.l2_bytes
    work = {DENSE_FORMAT: vectors * _MULTIPLY * (1 + rows)}
    if not context.dense and masked_fits(layout, target, masked):
        bytes_of[masked.format] = masked_vectors.packed_bytes(
            matrix, vectors=masked.vectors, lanes=layout.lanes
        )
        work[masked.format] = vectors * (_EXPANDED + _MULTIPLY * rows)
    estimates = {
        name: max(size / (_NEAR if near else _FAR), work[name]) / threads for name, size in bytes_of.items()
    }
    schedules = {name: masked if name == masked.format else dense for name in estimates}
    best = min(estimates, key=lambda name: estimates[name])
    return LinearChoice(schedules[best], estimates, schedules)
