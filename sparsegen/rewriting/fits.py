"""Steps as functions of one variable, approximated by sums of ReLUs; each fit is made once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparsegen.errors import RewritingError
from sparsegen.graph import Array, Step
from sparsegen.rewriting.approximation import PiecewiseLinear, approximate
from sparsegen.rewriting.rule import RefusalError
from sparsegen.rewriting.site import Interval, Site
from sparsegen.torch_graph.steps import step_function

JUMPING = ("floor", "ceil", "trunc", "round", "sign", "hardshrink")
"""Steps that no continuous function comes near to where they jump."""
_WHOLE_LINE = (
    "sigmoid", "tanh", "erf", "gelu", "gelu_tanh", "silu", "mish", "hardswish", "softplus", "elu",
    "log_sigmoid", "softsign",
)  # fmt: skip
"""Steps with asymptotes on both sides: the error holds everywhere."""
_NARROWEST = 1e-6  # of an interval, beside its larger end
_SLOPE_BITS = (
    22  # of float32's 24: differences of slopes are then exact, and the last slope is the asymptote's
)


def fit_of(site: Site, max_error: float) -> PiecewiseLinear:
    """The fewest ReLUs for a step within an error: on all numbers, or on what calibration saw.

    Beyond an interval the outer pieces go on as lines. Raises RefusalError with the reason for none.
    """
    step = site.step
    assert step is not None
    if step.op in JUMPING and step.parameters != (0.0,):
        raise RefusalError("it jumps, and sums of ReLUs are continuous")
    interval = None if step.op in _WHOLE_LINE else _interval(site)
    try:
        return fit(step, max_error, interval)
    except RewritingError as error:
        raise RefusalError(f"no sum of ReLUs is found: {error}") from None


@functools.lru_cache(maxsize=1024)
def fit(step: Step, max_error: float, interval: Interval | None) -> PiecewiseLinear:
    """The fewest ReLUs for a step without another value, within an error on an interval or everywhere.

    Raises RewritingError where there are none.
    """
    return approximate(_function(step, interval), max_error=max_error, interval=interval)


def _interval(site: Site) -> Interval:
    if site.interval is None:
        raise RefusalError(f"{site.name} has no asymptotes, and no calibration tells what its values are")
    low, high = site.interval
    widest = _NARROWEST * max(abs(low), abs(high), 1.0)
    if high - low < widest:
        low, high = low - widest / 2, high + widest / 2
    return (-math.inf, high) if site.name == "exp" else (low, high)


def _function(step: Step, interval: Interval | None) -> str | tuple[str | float, ...] | Callable[..., Tensor]:
    """The step's function by the name under which its bends are known, or as any function of tensors."""
    match step.op, step.parameters:
        case "elu", (alpha, 1.0, 1.0):
            return ("elu", alpha)
        case "softplus", parameters:
            return ("softplus", *parameters)
        case "pow", (2.0,):
            return "square"
        case "pow", (-0.5,) if interval and interval[0] > 0:
            return "rsqrt"
        case "pow", (0.5,) if interval and interval[0] >= 0:
            return "sqrt"
        case ("pow", (-1.0,)) if interval and interval[0] * interval[1] > 0:
            return "reciprocal"
        case "div", _ if step.operand == 1.0 and interval and interval[0] * interval[1] > 0:
            return "reciprocal"
        case "sqrt", _ if interval and interval[0] < 0:
            raise RewritingError(f"square roots of numbers down to {interval[0]:g} are not real")
        case ("exp" | "sqrt" | "square") as name, _:
            return name
        case name, _ if name in _WHOLE_LINE and not step.parameters:
            return name
    compute = step_function(step, in_place=False)

    def function(x: Tensor) -> Tensor:
        return compute(x, None if isinstance(step.operand, str) else step.operand)

    function.__name__ = step.op
    return function


class Pieces(Protocol):
    """A continuous piecewise linear function, by its knots, its values there, and one slope more."""

    @property
    def knots(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def values(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def slopes(self) -> tuple[float, ...]: ...  # noqa: D102


class ReluSum(NamedTuple):
    """`constant + sum of outer * relu(inner * x + offsets)`; inner is 1 or -1."""

    inner: Array
    offsets: Array
    outer: Array
    constant: float


def relu_sum(fit: Pieces, scale: float = 1.0, slope: float = 0.0) -> ReluSum:
    """`scale * fit(x) + slope * x`.

    Slopes are rounded so that their differences are exact in float32: far out, where all ReLUs add up, the
    sum still has the slope of the asymptote.
    """
    knots = np.array(fit.knots).astype(np.float32).astype(np.float64)
    slopes = _rounded(scale * np.array(fit.slopes) + slope)
    first = float(knots[0])
    inner, offsets, outer = [1.0], [-first], [float(slopes[1])]
    if slopes[0]:
        inner, offsets, outer = [-1.0, *inner], [first, *offsets], [-float(slopes[0]), *outer]
    inner += [1.0] * (len(knots) - 1)
    offsets += (-knots[1:]).tolist()
    outer += np.diff(slopes[1:]).tolist()
    arrays = [np.array(each, np.float32) for each in (inner, offsets, outer)]
    return ReluSum(arrays[0], arrays[1], arrays[2], scale * fit.values[0] + slope * first)


def _rounded(slopes: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = float(np.abs(slopes).max())
    unit = 2.0 ** (math.ceil(math.log2(largest)) - _SLOPE_BITS) if largest else 1.0
    rounded: NDArray[np.float64] = np.round(slopes / unit) * unit
    return rounded
