"""What `approximate` is asked for, checked: each refusal says what was found, what is allowed, what to do."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from sparsegen.errors import RewritingError
from sparsegen.rewriting.approximation.calibration import interval_of
from sparsegen.rewriting.approximation.functions import NAMES, Function, named
from sparsegen.rewriting.approximation.python_function import from_python
from sparsegen.rewriting.approximation.search import MOST_KNOTS
from sparsegen.rewriting.approximation.tube import Array
from sparsegen.typed import plain_number, whole_number

Samples = Tensor | np.ndarray[tuple[int, ...], np.dtype[np.floating]]
FunctionLike = str | tuple[str | float, ...] | Callable[[Tensor], Tensor]

_FEWEST_SAMPLES = 2
_NARROWEST = 1e-6


def check_goal(max_error: object, knots: object) -> tuple[float | None, int | None]:
    """The error or the number of knots; RewritingError unless one is given, and is one that can be had."""
    if (max_error is None) == (knots is None):
        found = "neither" if knots is None else "both"
        raise RewritingError(f"{found} of max_error and knots given: give one of them")
    if knots is not None:
        number = whole_number(knots)
        if number is None:
            raise RewritingError(f"knots is {knots!r}: give a whole number from 1 to {MOST_KNOTS:,}")
        if not 1 <= number <= MOST_KNOTS:
            raise RewritingError(f"knots is {number:,}: give a number from 1 to {MOST_KNOTS:,}")
        return None, number
    error = plain_number(max_error)
    if not (_is_number(error) and 0 < error < math.inf):
        raise RewritingError(f"max_error is {max_error!r}: give a finite number above 0, such as 1e-3")
    return float(error), None


def resolve(f: FunctionLike) -> Function:
    """The function that is meant. Raises RewritingError for what means none."""
    if isinstance(f, str):
        return named(f)
    if isinstance(f, tuple) and f and isinstance(f[0], str):
        return named(f[0], *f[1:])  # type: ignore[arg-type]  # checked there, whatever a caller gives
    if not callable(f):
        raise RewritingError(
            f"{f!r} is no function: give a Python function on tensors, or the name of one: {', '.join(NAMES)}"
        )
    return from_python(f)


def check_samples(samples: Samples) -> Array:
    """Calibration values as float64. Raises RewritingError for another shape, NaN and infinity."""
    if not isinstance(samples, Tensor | np.ndarray):
        raise RewritingError(f"samples is of type {type(samples).__name__}: give a tensor or an array")
    values = np.asarray(samples.detach().cpu().double() if isinstance(samples, Tensor) else samples)
    if values.dtype.kind not in "fiu":
        raise RewritingError(f"samples holds {values.dtype}: give real numbers")
    if values.ndim != 1 or len(values) < _FEWEST_SAMPLES:
        raise RewritingError(
            f"samples has shape {values.shape}: give one dimension of {_FEWEST_SAMPLES} values or more "
            "(`samples.flatten()`)"
        )
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values))[0])
        raise RewritingError(f"samples holds {values[wrong]} (number {wrong}): leave out what is not finite")
    if values.min() == values.max():
        raise RewritingError(f"samples are all {values[0]:g}: give values that differ, or an interval")
    return values


def choose_interval(
    function: Function, interval: tuple[float, float] | None, samples: Array | None
) -> tuple[float, float]:
    """Where to approximate: as asked for, where calibration values are, or the function's own interval."""
    if interval is not None:
        return _check_interval(function, interval)
    if samples is not None:
        low, high = interval_of(samples)
        lowest, highest = function.domain
        return _check_interval(function, (max(low, lowest), min(high, highest)))
    if function.interval is None:
        raise RewritingError(
            f"{function.name} needs an interval, as it has no asymptotes on both sides that are known: "
            "give interval=(low, high)"
        )
    return function.interval


def _check_interval(function: Function, interval: tuple[float, float]) -> tuple[float, float]:
    interval = plain_number(interval)
    pair = isinstance(interval, tuple | list) and len(interval) == 2
    if not pair or not all(_is_number(each) and not math.isnan(each) for each in interval):
        raise RewritingError(f"interval is {interval!r}: give two numbers, (low, high)")
    low, high = (float(each) for each in interval)
    if low >= high:
        found = "is empty" if low == high else "is reversed"
        raise RewritingError(f"the interval ({low:g}, {high:g}) {found}: give (low, high) with low < high")
    if math.isfinite(high - low) and high - low < _NARROWEST * max(abs(low), abs(high)):
        raise RewritingError(
            f"the interval ({low!r}, {high!r}) is too narrow for float64: give one that is wider than "
            f"{_NARROWEST:g} of its ends"
        )
    for end, asymptote, side in ((low, function.left, "minus "), (high, function.right, "plus ")):
        if math.isinf(end) and asymptote is None:
            raise RewritingError(
                f"{function.name} has no asymptote at {side}infinity that is known, and the interval is "
                f"({low:g}, {high:g}): give a finite end"
            )
    lowest, highest = function.domain
    if low < lowest or high > highest:
        raise RewritingError(
            f"the interval ({low:g}, {high:g}) leaves the domain of {function.name}, "
            f"({lowest:g}, {highest:g}): give one within"
        )
    if function.pole is not None and low <= function.pole <= high:
        raise RewritingError(
            f"{function.name} is infinite at {function.pole:g}, which the interval ({low:g}, {high:g}) "
            "holds: give one on a side of it"
        )
    return low, high


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
