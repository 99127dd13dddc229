"""What an operator's result lies in, by what its inputs lie in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from sparsegen.graph import (
    AdaptivePool2d,
    Array,
    Concat,
    Conv2d,
    Gather,
    Layer,
    LayerGraph,
    Linear,
    LogSoftmax,
    Mean,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Pool2d,
    Recurrent,
    Reduce,
    Reshape,
    Shape,
    Slice,
    Softmax,
    Step,
)
from sparsegen.rewriting.parts import parts_of
from sparsegen.rewriting.site import Interval, Site, site_of
from sparsegen.torch_graph.steps import step_function

_RANGES: dict[str, Interval] = {
    "sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "erf": (-1.0, 1.0),
    "sin": (-1.0, 1.0), "cos": (-1.0, 1.0), "sign": (-1.0, 1.0), "relu6": (0.0, 6.0), "softsign": (-1.0, 1.0),
}  # fmt: skip
"""Of functions that have one, whatever their argument."""
_RISING = (
    "relu", "relu6", "sigmoid", "hardsigmoid", "tanh", "erf", "exp", "expm1", "log", "log2", "log10", "log1p",
    "sqrt", "softplus", "log_sigmoid", "softsign", "cube", "floor", "ceil", "round", "trunc", "sign",
    "softshrink", "hardshrink",
)  # fmt: skip
_LEAST: dict[str, tuple[float, float]] = {
    "silu": (-1.2784646, -0.2784646), "gelu": (-0.7517916, -0.1699711), "gelu_tanh": (-0.7524614, -0.1700410),
    "mish": (-1.1924312, -0.3088439), "hardswish": (-1.5, -0.375),
}  # fmt: skip
"""Functions that fall, then rise: where they are least, and what they are there, rounded down."""
MOVES = (
    AdaptivePool2d, Concat, Gather, Mean, Permute, PixelShuffle, PixelUnshuffle, Reshape, Slice,
)  # fmt: skip
"""Cores whose results are elements of the inputs, or lie between some."""


def site_interval(site: Site) -> Interval | None:
    """Of a site's result; None where nothing is known."""
    step = site.step
    if step is None:
        return _core_interval(site)
    if step.op == "mul" and step.operand == site.input:
        return _step_interval(Step("square"), site.interval, None)
    return _step_interval(step, site.interval, site.operand_interval)


def known_intervals(graph: LayerGraph) -> dict[str, Interval]:
    """What values of a graph, and those between the steps of its layers, lie in whatever its inputs are."""
    shapes, found = graph.shapes(), dict[str, Interval]()
    for layer in graph.layers:
        note_intervals(parts_of(layer, shapes), shapes, graph.constants, found)
    return found


def note_intervals(
    parts: Sequence[Layer],
    shapes: Mapping[str, Shape],
    constants: Mapping[str, Array],
    known: dict[str, Interval],
) -> None:
    """Add what the results of layers lie in, where that follows from what is known, and is not known yet."""
    for part in parts:
        interval = site_interval(site_of(part, shapes, constants, known))
        if interval is not None:
            known.setdefault(part.name, interval)


def narrower(first: Interval | None, second: Interval | None) -> Interval | None:
    """What both allow; the second where they share nothing."""
    if first is None or second is None:
        return first or second
    low, high = max(first[0], second[0]), min(first[1], second[1])
    return (low, high) if low <= high else second


def _step_interval(step: Step, value: Interval | None, operand: Interval | None) -> Interval | None:
    """Of a step's result, None where nothing is known, by what its value and operand lie in."""
    if step.op == "clamp":
        low, high = step.parameters
        value = value or (-math.inf, math.inf)
        found = _clamped(value[0], low, high), _clamped(value[1], low, high)
    elif value is None:
        return _RANGES.get(step.op)
    else:
        found = _unary(step, value) or _binary(step, value, operand) or (-math.inf, math.inf)
    return found if all(map(math.isfinite, found)) else _RANGES.get(step.op)


def _clamped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _unary(step: Step, value: Interval) -> Interval | None:
    low, high = value
    if step.op in _RISING:
        return _at(step, low), _at(step, high)
    if step.op in _LEAST:
        place, least = _LEAST[step.op]
        ends = _at(step, low), _at(step, high)
        return least if low <= place <= high else min(ends), max(ends)
    match step.op, step.parameters:
        case "neg", _:
            return -high, -low
        case "abs", _:
            return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))
        case ("square", _) | ("pow", (2.0,)):
            return _square(low, high)
        case "pow", (exponent,) if low > 0:
            ends = low**exponent, high**exponent
            return min(ends), max(ends)
        case "leaky_relu", (slope,) if slope >= 0:
            return _at(step, low), _at(step, high)
        case "elu", (alpha, scale, input_scale) if min(alpha, scale, input_scale) >= 0:
            return _at(step, low), _at(step, high)
    return _RANGES.get(step.op)


def _square(low: float, high: float) -> Interval:
    least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return least**2, max(abs(low), abs(high)) ** 2


def _at(step: Step, value: float) -> float:
    """A step's result at a number; not a number becomes infinity, of which nothing is known."""
    found = float(step_function(step, in_place=False)(torch.tensor(value, dtype=torch.float64), None))
    return math.inf if math.isnan(found) else found


def _binary(step: Step, value: Interval, operand: Interval | None) -> Interval | None:
    if operand is None:
        return None
    first, second = (operand, value) if step.reverse else (value, operand)
    match step.op:
        case "add":
            return first[0] + second[0], first[1] + second[1]
        case "sub":
            return first[0] - second[1], first[1] - second[0]
        case "mul":
            return _between(first, second)
        case "div" if second[0] > 0 or second[1] < 0:
            return _between(first, (1 / second[1], 1 / second[0]))
        case "maximum":
            return max(first[0], second[0]), max(first[1], second[1])
        case "minimum":
            return min(first[0], second[0]), min(first[1], second[1])
    return None


def _between(first: Interval, second: Interval) -> Interval:
    ends = [a * b for a in first for b in second]
    return min(ends), max(ends)


def _core_interval(site: Site) -> Interval | None:
    core = site.core
    if isinstance(core, Softmax):
        return 0.0, 1.0
    if isinstance(core, Recurrent) and not core.keeps_cell:
        return (-1.0, 1.0) if core.kind == "lstm" or len(site.layer.inputs) == 1 else None
    known = [site.intervals.get(name) for name in site.layer.inputs]
    if not known or any(each is None for each in known):
        return None
    low, high = min(each[0] for each in known if each), max(each[1] for each in known if each)
    match core:
        case Pool2d(kind="max"):
            return low, high
        case Pool2d(divisor=None):
            return min(low, 0.0), max(high, 0.0)
        case Pad(value=value) if math.isfinite(value):
            return min(low, value), max(high, value)
        case Reduce(kind="max" | "min"):
            return low, high
        case Reduce(kind="sum", dims=dims):
            count = math.prod(site.input_shape[dim] for dim in dims)
            return count * low, count * high
        case LogSoftmax(dim=dim):
            return low - high - math.log(site.input_shape[dim]), 0.0
        case Conv2d(weight=weight, bias=bias, padding=padding):
            zero = any(padding)
            return _weighted(weight, bias, min(low, 0.0) if zero else low, max(high, 0.0) if zero else high)
        case Linear(weight=weight, bias=bias):
            return _weighted(weight, bias, low, high)
    return (low, high) if isinstance(core, MOVES) else None


def _weighted(weight: Array, bias: Array | None, low: float, high: float) -> Interval | None:
    """Of sums of values in an interval, times weights [K, ...], plus bias; None of an infinite one."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    dims: Sequence[int] = tuple(range(1, weight.ndim))
    above, below = np.maximum(weight, 0).sum(dims, np.float64), np.minimum(weight, 0).sum(dims, np.float64)
    offset = 0 if bias is None else bias
    least, most = above * low + below * high + offset, above * high + below * low + offset
    return float(least.min()), float(most.max())
