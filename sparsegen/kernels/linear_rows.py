"""Linear layers without batch lanes: the ways to compute them."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from sparsegen.formats import masked_vectors
from sparsegen.graph import Array, Layer, Linear
from sparsegen.isa import expanding
from sparsegen.kernels.implementation import Implementation, Offer
from sparsegen.kernels.linear import plain_linear
from sparsegen.kernels.linear_choice import LinearChoice, choose_linear
from sparsegen.kernels.linear_schedule import DENSE_FORMAT, LinearSchedule, linear_fault
from sparsegen.kernels.linear_space import linear_space
from sparsegen.kernels.registry import Context
from sparsegen.kernels.roofline import predicted
from sparsegen.kernels.space import KernelSchedule, Space
from sparsegen.lowering.kernel import Kernel


class RowsOfWeights(Implementation):
    """Every weight multiplied, by a tile of rows."""

    name = "rows"
    kinds = ("linear",)
    format = DENSE_FORMAT

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Layers whose lanes hold neighbouring features."""
        return "its lanes hold images" if context.layout(layer.name).batch_lanes else None

    def takes(self, schedule: KernelSchedule, layer: Layer, context: Context) -> bool:
        """Schedules that are not of masked vectors."""
        mine = isinstance(schedule, LinearSchedule) and self._has(schedule.format)
        return mine and RowsOfWeights.accepts(self, layer, context) is None

    def fault(self, schedule: KernelSchedule, layer: Layer, context: Context) -> str | None:
        """What does not fit the rows or the registers."""
        assert isinstance(schedule, LinearSchedule)
        return linear_fault(context.layout(layer.name), context.target, schedule)

    def offer(self, layer: Layer, context: Context) -> Offer:
        """The tiles without tuning."""
        choice = linear_choice(layer, context)
        cost = predicted(layer, context, choice.estimates[self.format], weights=_weight(layer).nbytes)
        return Offer(self, cost, choice.schedules[self.format], self.format)

    def space(self, layer: Layer, context: Context) -> Space | None:
        """Tiles of both formats."""
        return linear_space(layer, context)

    def build(self, layer: Layer, context: Context, schedule: KernelSchedule | None) -> Kernel:
        """The kernel of a tile's sums."""
        assert isinstance(schedule, LinearSchedule)
        return plain_linear(layer, context, schedule)

    def _has(self, format: str) -> bool:
        return format != masked_vectors.NAME


class ExpandedRows(RowsOfWeights):
    """Weights that are kept expanded from memory under their masks: few rows, which wait for them."""

    name = "masked_vectors"
    format = masked_vectors.NAME

    def accepts(self, layer: Layer, context: Context) -> str | None:
        """Few rows, whole vectors of features, and an instruction that expands."""
        refused = super().accepts(layer, context)
        if refused is not None:
            return refused
        if context.dense:
            return "every weight is to be multiplied"
        if not context.target.instructions.expand:
            return f"skipping zeros at this batch takes {expanding()}"
        if self.format in linear_choice(layer, context).estimates:
            return None
        return "too many rows to skip zeros, or no whole vectors of features"

    def _has(self, format: str) -> bool:
        return format == masked_vectors.NAME


def linear_choice(layer: Layer, context: Context) -> LinearChoice:
    """The choice for a layer, made once in a compilation."""
    weight, layout = _weight(layer), context.layout(layer.name)
    zeros = blake2b(np.packbits(weight != 0).tobytes()).digest()
    key = "linear", weight.shape, zeros, layout
    return context.once(key, lambda: choose_linear(weight, layout, context))


def _weight(layer: Layer) -> Array:
    assert isinstance(layer.core, Linear)
    return layer.core.weight
