"""Steps as functions of one variable, approximated by sums of ReLUs; each fit is made once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsegen.errors import RewritingError
from sparsegen.graph import UNARY, Array, Piecewise, Step
from sparsegen.rewriting.approximation import PiecewiseLinear, approximate
from sparsegen.rewriting.approximation.api import least_knots
from sparsegen.rewriting.draft import Draft
from sparsegen.rewriting.rule import RefusalError
from sparsegen.rewriting.site import Interval, Site
from sparsegen.torch_graph.steps import step_function

NamedFunction = tuple[str | float, ...]
_Found = TypeVar("_Found", int, PiecewiseLinear)
JUMPING = ("floor", "ceil", "trunc", "round", "sign", "hardshrink")
"""Steps that no continuous function comes near to where they jump."""
_WHOLE_LINE = (
    "sigmoid", "tanh", "erf", "gelu", "gelu_tanh", "silu", "mish", "hardswish", "softplus", "elu",
    "log_sigmoid", "softsign",
)  # fmt: skip
"""Steps with asymptotes on both sides: the error holds everywhere."""
_ONE_FORM: dict[NamedFunction, Step] = {
    ("square",): Step("square"), ("sqrt",): Step("sqrt"), ("reciprocal",): Step("pow", parameters=(-1.0,)),
    ("cube",): Step("cube"),
}  # fmt: skip
"""Of functions that several steps stand for, so that each is fitted once."""
_MOST_RELUS, _POINTS, _MIDDLE = 400, 2048, (-30.0, 30.0)
_CLOSEST = 1e-15
_SURELY = 0.7  # of the number that a small error takes: at least so many are taken
_NARROWEST = 1e-6  # of an interval, beside its larger end
_SLOPE_BITS = 22  # of float32's 24, so that differences of slopes are exact


def fit_of(site: Site, draft: Draft, build: Callable[[Draft, ReluSum], object]) -> PiecewiseLinear:
    """The fewest ReLUs for a step within the draft's error: on all numbers, or on what calibration saw.

    Beyond an interval the outer pieces go on as lines. Raises RefusalError with the reason for none, and
    where what `build` makes of so many ReLUs costs more than the draft may: a fit is long work, how many
    ReLUs it takes is known much sooner.
    """
    step = site.step
    assert step is not None
    if step.op in JUMPING and step.parameters != (0.0,):
        raise RefusalError("it jumps, and sums of ReLUs are continuous")
    interval = None if step.op in _WHOLE_LINE else _interval(site)
    named = _function(step, interval)
    about = _about(step, draft.max_error, interval or _MIDDLE)
    if about > _MOST_RELUS:
        raise RefusalError(f"it would take about {about:,.0f} ReLUs, and may take {_MOST_RELUS}")
    asked = named, _ONE_FORM.get(named or (), step), draft.max_error, interval

    def check_price(count: int) -> None:
        relus = _some_relus(count)
        if not draft.affords(lambda trial: build(trial, relus)):
            raise RefusalError(f"its ReLUs, about {about:,.0f}, take longer than another way")

    if draft.is_limited:
        check_price(max(1, int(_SURELY * about)))
        check_price(_found(_count(*asked)))
    return _found(_fit(*asked))


def _found(found: _Found | str) -> _Found:
    if isinstance(found, str):
        raise RefusalError(f"no sum of ReLUs is found: {found}")
    return found


@functools.lru_cache(maxsize=1024)
def _count(named: NamedFunction | None, step: Step, max_error: float, interval: Interval | None) -> int | str:
    """How many ReLUs a function takes at the least, or why there are none."""
    try:
        return least_knots(named or _computed(step), max_error=max_error, interval=interval)
    except RewritingError as error:
        return str(error)


@functools.lru_cache(maxsize=1024)
def _fit(
    named: NamedFunction | None, step: Step, max_error: float, interval: Interval | None
) -> PiecewiseLinear | str:
    """The fewest ReLUs for a function, or why there are none; `step` computes what has no name."""
    try:
        return approximate(named or _computed(step), max_error=max_error, interval=interval)
    except RewritingError as error:
        return str(error)


def least_error(site: Site) -> float:
    """What a function of one value errs by at the least, as a sum of as many ReLUs as one may have; else 0.

    It is an estimate from below: a quarter of what the rule for small errors gives.
    """
    step = site.step
    if step is None or step.op not in UNARY or step.op in JUMPING:
        return 0.0
    try:
        interval = _MIDDLE if step.op in _WHOLE_LINE else _interval(site)
    except RefusalError:
        return 0.0
    return (_bending(step, interval) / (4 * _MOST_RELUS)) ** 2 / 4


def _about(step: Step, max_error: float, interval: Interval) -> float:
    """How many ReLUs a small error takes."""
    return _bending(step, interval) / (4 * math.sqrt(max_error))


@functools.lru_cache(maxsize=1024)
def _bending(step: Step, interval: Interval) -> float:
    """The integral of sqrt|f''|, which is 4 sqrt(error) for each ReLU.

    Points are even, and ever closer to the ends, where functions such as 1 / x are steep.
    """
    low, high = max(interval[0], _MIDDLE[0] + min(interval[1], 0.0)), interval[1]
    closer = np.geomspace(_CLOSEST, 1.0, _POINTS)
    shares = np.concatenate((np.linspace(0.0, 1.0, _POINTS), closer, 1 - closer))
    x = np.unique(low + (high - low) * shares)
    y = _computed(step)(torch.from_numpy(x)).numpy()
    turns = np.abs(np.diff(np.diff(y) / np.diff(x))) * (x[2:] - x[:-2]) / 2
    return float(np.nansum(np.sqrt(turns)))


def _interval(site: Site) -> Interval:
    if site.interval is None:
        raise RefusalError(f"{site.name} has no asymptotes, and no calibration tells what its values are")
    low, high = site.interval
    widest = _NARROWEST * max(abs(low), abs(high), 1.0)
    if high - low < widest:
        low, high = low - widest / 2, high + widest / 2
    return (-math.inf, high) if site.name in ("exp", "expm1") else (low, high)


def _function(step: Step, interval: Interval | None) -> NamedFunction | None:
    """The name under which the bends of a step's function are known, and its parameters; None for none."""
    if step.op == "sqrt" and interval and interval[0] < 0:
        raise RefusalError(f"square roots of numbers down to {interval[0]:g} are not real")
    inverse = step.op == "div" or (step.op == "pow" and step.parameters[0] < 0)
    if inverse and interval and interval[0] <= 0 <= interval[1]:
        raise RefusalError("it is infinite at 0, and its values lie on both sides")
    match step.op, step.parameters:
        case "elu", (alpha, 1.0, 1.0):
            return "elu", alpha
        case "softplus", parameters:
            return "softplus", *parameters
        case "pow", (2.0,):
            return ("square",)
        case "pow", (-0.5,) if interval and interval[0] > 0:
            return ("rsqrt",)
        case "pow", (0.5,) if interval and interval[0] >= 0:
            return ("sqrt",)
        case ("pow", (-1.0,)) if interval and interval[0] * interval[1] > 0:
            return ("reciprocal",)
        case "div", _ if step.operand == 1.0 and interval and interval[0] * interval[1] > 0:
            return ("reciprocal",)
        case ("cube" | "exp" | "expm1" | "log" | "log10" | "log1p" | "log2" | "sqrt" | "square") as name, _:
            return (name,)
        case "pow", (3.0,):
            return ("cube",)
        case name, () if name in _WHOLE_LINE:
            return (name,)
    return None


def _computed(step: Step) -> Callable[[Tensor], Tensor]:
    """The step's function, by torch."""
    compute, operand = step_function(step, in_place=False), step.operand

    def function(x: Tensor) -> Tensor:
        return compute(x, None if isinstance(operand, str) else operand)

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


class _PiecesOf(NamedTuple):
    """As `Pieces` asks for them."""

    knots: tuple[float, ...]
    values: tuple[float, ...]
    slopes: tuple[float, ...]


def pieces_of(parameters: tuple[float, ...]) -> Pieces:
    """The function of a `piecewise` step's parameters."""
    function = Piecewise.of(parameters)
    return _PiecesOf(function.knots, tuple(map(function, function.knots)), function.slopes)


class ReluSum(NamedTuple):
    """`constant + sum of outer * relu(inner * x + offsets)`; inner is 1 or -1."""

    inner: Array
    offsets: Array
    outer: Array
    constant: float


def _some_relus(count: int) -> ReluSum:
    """A sum of so many ReLUs, of which only the cost matters."""
    ones = np.ones(count, np.float32)
    return ReluSum(ones, ones, ones, 1.0)


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
