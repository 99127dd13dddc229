"""A draft: the layers that a rule puts in a site's place, as it adds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from sparsegen.devices import Estimate, Operator
from sparsegen.devices.operators import described
from sparsegen.graph import Array, Core, Identity, Layer, Shape, Step
from sparsegen.rewriting.approximation import PiecewiseLinear
from sparsegen.rewriting.site import Interval, Site

Price = Callable[[Operator], Estimate]
"""What an operator costs on the device, or, as the reason of the estimate, why it does not run there."""


@dataclass(frozen=True)
class Approximation:
    """A function that is computed to within an error, in place of exactly.

    function: its name. error: the largest, absolute. shown: how that is known. form: what stands in for it,
    "8 ReLUs" or "x * sigmoid(1.773 x)". interval: on which it holds; None for all numbers. knots, slopes: of
    a piecewise linear function; `fit`, where it is one of a function of one value. curve: what stands in for
    such a function otherwise, on float64 tensors.
    """

    function: str
    error: float
    shown: str
    form: str
    interval: Interval | None = None
    knots: tuple[float, ...] = ()
    slopes: tuple[float, ...] = ()
    fit: PiecewiseLinear | None = None
    curve: Callable[[Tensor], Tensor] | None = field(default=None, repr=False, compare=False)


class Draft:
    """Layers in an order that runs, each of a core or of one step; what they read is there before them.

    A rule adds to it, and names the value that stands for the site's result. max_error: that an approximation
    may have; 0 where none is wanted. price, limit: what operators cost, and the seconds past which the draft
    is of no use. dtype: of the constants that rules make of nothing.
    """

    dtype: type[np.floating[Any]] = np.float32

    def __init__(
        self, site: Site, max_error: float = 0.0, price: Price | None = None, limit: float = math.inf
    ) -> None:
        self.max_error = max_error
        self._site, self._price, self._limit = site, price, limit
        self.layers: list[Layer] = []
        self.constants: dict[str, Array] = {}
        self.approximations: list[Approximation] = []
        self.intervals: dict[str, Interval] = {}
        self._prefix = site.layer.name
        self.shapes = dict(site.shapes)

    def shape(self, value: str) -> Shape:
        """Of a value or constant, the site's or one that was added."""
        return self.shapes[value]

    def add(self, core: Core, inputs: str | Sequence[str], shape: Shape) -> str:
        """A layer of a core, and the name of its value."""
        reads = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        layer = Layer(self._new_name(), core, reads, tuple(map(int, shape)))
        self.shapes[layer.name] = layer.shape
        self.layers.append(layer)
        return layer.name

    def step(
        self,
        value: str,
        op: str,
        operand: str | float | None = None,
        *,
        reverse: bool = False,
        parameters: tuple[float, ...] = (),
    ) -> str:
        """A pointwise step of a value, broadcast against its operand as in torch; see `graph.Step`."""
        shape = self.shape(value)
        if isinstance(operand, str):
            shape = np.broadcast_shapes(shape, self.shape(operand))
        steps = (Step(op, operand, reverse, parameters),)
        layer = Layer(self._new_name(), Identity(), (value,), shape, steps)
        self.shapes[layer.name] = layer.shape
        self.layers.append(layer)
        return layer.name

    def constant(self, array: Array) -> str:
        """A constant, and its name."""
        name = self._new_name()
        self.constants[name] = np.asarray(array)  # arithmetic on arrays of no dimension gives numbers
        self.shapes[name] = self.constants[name].shape
        return name

    def array(self, values: Any) -> Array:
        """Numbers as an array of the draft's dtype, for a constant or the weight of a core."""
        made: Array = np.asarray(values, self.dtype)
        return made

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit to what it may cost."""
        return self._price is not None and math.isfinite(self._limit)

    def affords(self, build: Callable[[Draft], object]) -> bool:
        """Whether what `build` adds to a draft costs no more than this one may: asked before long work.

        What the device lacks counts as nothing, as it is not known yet what it becomes.
        """
        if self._price is None or not self.is_limited:
            return True
        trial = Draft(self._site, self.max_error)
        build(trial)
        costs = map(self._price, trial.operators())
        return sum(cost.seconds for cost in costs if cost.supported) <= self._limit

    def operators(self) -> Iterator[Operator]:
        """The layers as devices see them."""
        known = {*self._site.constants, *self.constants}
        for layer in self.layers:
            yield described(layer, {name: self.shapes[name] for name in layer.reads()}, known)

    def lies_in(self, value: str, low: float, high: float) -> str:
        """Note that an added value lies between two numbers, for reasons that its steps do not show."""
        self.intervals[value] = (low, high)
        return value

    def approximated(self, approximation: Approximation) -> None:
        """Note that the draft computes a function to within an error."""
        assert math.isfinite(approximation.error)
        self.approximations.append(approximation)

    def _new_name(self) -> str:
        return f"{self._prefix}~{len(self.layers) + len(self.constants)}"
