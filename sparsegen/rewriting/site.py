"""A site: one operator of a graph that a device lacks, as rules see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sparsegen.devices import Operator
from sparsegen.devices.operators import described
from sparsegen.graph import Array, Core, Identity, Layer, Shape, Step

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Site:
    """A layer of a core without steps, or of one step without a core.

    shapes: of the values and constants that it reads. constants: those of them that are constant. intervals:
    that values lay in on calibration inputs, for those that were seen.
    """

    layer: Layer
    shapes: Mapping[str, Shape]
    constants: Mapping[str, Array] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def core(self) -> Core:
        """Identity for a step."""
        return self.layer.core

    @property
    def step(self) -> Step | None:
        """The step, where that is what the site is."""
        return self.layer.epilogue[0] if isinstance(self.core, Identity) and self.layer.epilogue else None

    @property
    def parameters(self) -> tuple[float, ...]:
        """Of the step."""
        return () if self.step is None else self.step.parameters

    @property
    def operand(self) -> str | float | None:
        """Of the step."""
        return None if self.step is None else self.step.operand

    @property
    def reverse(self) -> bool:
        """Whether the sides of the step are swapped."""
        return self.step is not None and self.step.reverse

    @property
    def known_operand(self) -> Array | None:
        """The step's operand where that is a number or a constant; one array, a number of no dimension."""
        if isinstance(self.operand, str):
            return self.constants.get(self.operand)
        return None if self.operand is None else np.array(self.operand)

    @property
    def operand_interval(self) -> Interval | None:
        """What the elements of the step's operand lie in; None where nothing is known."""
        if (known := self.known_operand) is not None:
            return float(known.min()), float(known.max())
        return self.intervals.get(self.operand) if isinstance(self.operand, str) else None

    @property
    def input(self) -> str:
        """The name of the first input."""
        return self.layer.inputs[0]

    @property
    def shape(self) -> Shape:
        """Of the result."""
        return self.layer.shape

    @property
    def input_shape(self) -> Shape:
        """Of the first input."""
        return self.shapes[self.input]

    @property
    def interval(self) -> Interval | None:
        """What the first input's elements lay in on calibration inputs."""
        return self.intervals.get(self.input)

    @cached_property
    def operator(self) -> Operator:
        """As devices see it."""
        return described(self.layer, self.shapes, self.constants.keys())

    @property
    def name(self) -> str:
        """The name of the operator: a step's, or that which devices give to the core."""
        return self.operator.name if self.step is None else self.step.op


def site_of(
    layer: Layer,
    shapes: Mapping[str, Shape],
    constants: Mapping[str, Array],
    intervals: Mapping[str, Interval],
) -> Site:
    """A layer as a site; the mappings may have more than it reads."""
    reads = list(layer.reads())
    return Site(
        layer,
        {name: shapes[name] for name in reads},
        {name: constants[name] for name in reads if name in constants},
        {name: intervals[name] for name in reads if name in intervals},
    )
