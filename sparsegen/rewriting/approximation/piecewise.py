"""A continuous piecewise linear function: what an approximation is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from sparsegen.errors import RewritingError
from sparsegen.rewriting.approximation.functions import Function
from sparsegen.rewriting.approximation.weights import Weights

_NARROW = (torch.float16, torch.bfloat16)


class Relus(NamedTuple):
    """`constant + slope * x + sum(d * relu(x - knot) for knot, d in terms)`."""

    constant: float
    slope: float
    terms: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class PiecewiseLinear:
    """A continuous piecewise linear approximation of a function; call it on tensors of any float dtype.

    It has `values` at its `knots`, which increase, and `slopes` before, between and after them: one more.
    Within `interval` it errs by at most `error`, and `shown` says how that is known: "proved: ..." of a named
    function, or "verified densely: ..." of a Python function, with the number of points and how far apart
    they are. That is the greatest error that was seen: what a peak does that lies between two points cannot
    be excluded. A proved bound holds for the function that the numbers define; what evaluating it
    in a dtype rounds comes on top. Where calibration values were given, `weights` say how
    much a value counts, and `weighted_error` is the greatest error times weight, on many points.
    """

    name: str
    knots: tuple[float, ...]
    values: tuple[float, ...]
    slopes: tuple[float, ...]
    interval: tuple[float, float]
    error: float
    shown: str
    function: Function = field(repr=False, compare=False)
    weighted_error: float | None = None
    weights: Weights | None = field(default=None, repr=False, compare=False)

    def __call__(self, x: Tensor) -> Tensor:
        """The approximation at each element: a tensor of the shape and dtype of `x`, on its device.

        Raises RewritingError for a tensor that is not of floating point.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point():
            found = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise RewritingError(f"{self.name}: called with {found}: give a tensor of a float dtype")
        wide = x.float() if x.dtype in _NARROW else x
        knots, values, slopes = (
            torch.tensor(each, dtype=wide.dtype, device=x.device)
            for each in (self.knots, self.values, self.slopes)
        )
        piece = torch.bucketize(wide.detach().contiguous(), knots)
        anchor = (piece - 1).clamp(min=0)
        return (values[anchor] + slopes[piece] * (wide - knots[anchor])).to(x.dtype)

    def as_relus(self) -> Relus:
        """The same function as a line and one ReLU a knot."""
        constant = self.values[0] - self.slopes[0] * self.knots[0]
        bends = (after - before for before, after in zip(self.slopes, self.slopes[1:], strict=False))
        return Relus(constant, self.slopes[0], tuple(zip(self.knots, bends, strict=True)))
