"""By how much an operator's result is off, where its inputs are off by known amounts."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sparsegen.graph import (
    Array,
    Conv2d,
    Linear,
    Pad,
    Pool2d,
    Reduce,
    Step,
)
from sparsegen.rewriting.bounds import MOVES
from sparsegen.rewriting.site import Interval, Site

_KEEPING = (*MOVES, Pad, Pool2d)
"""Cores whose results are off by no more than their inputs."""
_STEEPEST: dict[str, float] = {
    "relu": 1.0, "relu6": 1.0, "clamp": 1.0, "neg": 1.0, "abs": 1.0, "softshrink": 1.0, "softplus": 1.0,
    "tanh": 1.0, "log_sigmoid": 1.0, "softsign": 1.0, "sin": 1.0, "cos": 1.0, "select": 1.0, "sigmoid": 0.25,
    "hardsigmoid": 1 / 6, "hardswish": 1.5, "silu": 1.1, "gelu": 1.13, "gelu_tanh": 1.13, "mish": 1.1,
    "erf": 2 / math.sqrt(math.pi),
}  # fmt: skip
"""The steepest slope of functions that have one on all numbers."""


def result_error(site: Site, errors: Mapping[str, float]) -> float:
    """How far a site's result is off at most; infinite where nothing tells.

    errors: how far inputs are off, by name, where they are.
    """
    off = {name: errors.get(name, 0.0) for name in site.layer.reads()}
    if not any(off.values()):
        return 0.0
    step = site.step
    if step is None:
        return _core_error(site, max(off[name] for name in site.layer.inputs))
    if step.op in ("add", "sub", "mul", "div", "maximum", "minimum", "prelu"):
        return _binary(site, step, off)
    return off[site.input] * _slope(step, _widened(site.interval, off[site.input]))


def _widened(interval: Interval | None, error: float) -> Interval:
    if interval is None or not math.isfinite(error):
        return -math.inf, math.inf
    return interval[0] - error, interval[1] + error


def _slope(step: Step, interval: Interval) -> float:
    """The steepest slope of a function on an interval."""
    low, high = interval
    largest = max(abs(low), abs(high))
    match step.op, step.parameters:
        case "leaky_relu", (slope,):
            return max(1.0, abs(slope))
        case "elu", (alpha, scale, input_scale):
            return abs(scale) * max(1.0, abs(alpha * input_scale))
        case (("exp" | "expm1"), _):
            return math.exp(high) if high < 700 else math.inf
        case ("square", _) | ("cube", _) | ("pow", (_,)):
            return _power_slope({"square": 2.0, "cube": 3.0}.get(step.op) or step.parameters[0], low, largest)
        case "sqrt", _:
            return _power_slope(0.5, low, largest)
        case ("log" | "log2" | "log10" | "log1p") as name, _:
            least = low + (name == "log1p")
            base = {"log2": math.log(2), "log10": math.log(10)}.get(name, 1.0)
            return math.inf if least <= 0 else 1 / (least * base)
        case "threshold", (bound, other) if bound == other:
            return 1.0
    return _STEEPEST.get(step.op, math.inf)


def _power_slope(exponent: float, low: float, largest: float) -> float:
    if exponent >= 1 and (low > 0 or exponent == int(exponent)):
        return math.inf if math.isinf(largest) else exponent * largest ** (exponent - 1)
    return math.inf if low <= 0 else abs(exponent) * low ** (exponent - 1)


def _binary(site: Site, step: Step, off: Mapping[str, float]) -> float:
    value, second = off[site.input], site.operand_interval
    other = off[step.operand] if isinstance(step.operand, str) else 0.0
    largest, largest_other = _largest(site.interval), _largest(second)
    match step.op:
        case "add" | "sub":
            return value + other
        case "maximum" | "minimum":
            return max(value, other)
        case "prelu":
            return value * max(1.0, largest_other) + _product(other, largest + value)
        case "mul":
            return _product(value, largest_other) + _product(other, largest + value)
    if step.reverse:
        value, other, largest, second = other, value, largest_other, site.interval
    least = -math.inf if second is None else max(second[0], -second[1]) - other
    if least <= 0:
        return math.inf
    return (value + _product(other, largest / (least + other))) / least


def _largest(interval: Interval | None) -> float:
    return math.inf if interval is None else max(map(abs, interval))


def _product(error: float, factor: float) -> float:
    """Nothing times what is not known is nothing."""
    return error * factor if error else 0.0


def _core_error(site: Site, error: float) -> float:
    match site.core:
        case Conv2d(weight=weight) | Linear(weight=weight):
            return error * _weight(weight)
        case Reduce(kind="max" | "min"):
            return error
        case Reduce(kind="sum", dims=dims):
            return error * math.prod(site.input_shape[dim] for dim in dims)
    return error if isinstance(site.core, _KEEPING) else math.inf


def _weight(weight: Array) -> float:
    """Of the largest sum of magnitudes that one output has."""
    return float(np.abs(weight).reshape(len(weight), -1).sum(1, np.float64).max())
