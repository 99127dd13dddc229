"""Continuous piecewise linear functions: the parameters of the step `piecewise`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Self

_NOTHING = 1e-12
"""A slope that is smaller, beside the bends that it is the sum of, is what float64 left of zero."""


@dataclass(frozen=True)
class Piecewise:
    """The function `constant + slope * x + sum(bend * max(x - knot, 0))`, its knots in increasing order.

    There is one at least.
    """

    constant: float
    slope: float
    knots: tuple[float, ...]
    bends: tuple[float, ...]

    @classmethod
    def of(cls, parameters: tuple[float, ...]) -> Self:
        """The function of a step's parameters."""
        constant, slope, *rest = parameters
        return cls(constant, slope, tuple(rest[::2]), tuple(rest[1::2]))

    @property
    def parameters(self) -> tuple[float, ...]:
        """Of the step: (constant, slope, first knot, its bend, second knot, its bend, ...)."""
        pairs = zip(self.knots, self.bends, strict=True)
        return (self.constant, self.slope, *(number for pair in pairs for number in pair))

    @property
    def slopes(self) -> tuple[float, ...]:
        """Before, between and after the knots: one more than these. Zero is exactly that."""
        least = _NOTHING * max(map(abs, (self.slope, *self.bends)))
        sums = accumulate(self.bends, initial=self.slope)
        return tuple(each if abs(each) > least else 0.0 for each in sums)

    def __call__(self, x: float) -> float:
        """The value at a finite number."""
        pairs = zip(self.knots, self.bends, strict=True)
        return self.constant + self.slope * x + sum(bend * max(x - knot, 0.0) for knot, bend in pairs)
