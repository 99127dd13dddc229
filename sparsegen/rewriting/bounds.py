"""What a pointwise step's result lies in, by what its value lies in."""

from __future__ import annotations

from sparsegen.graph import Step
from sparsegen.rewriting.site import Interval, Site

_RANGES: dict[str, Interval] = {
    "sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "erf": (-1.0, 1.0),
    "sin": (-1.0, 1.0), "cos": (-1.0, 1.0), "sign": (-1.0, 1.0), "relu6": (0.0, 6.0), "softsign": (-1.0, 1.0),
}  # fmt: skip
"""Of functions that have one, whatever their argument."""


def site_interval(site: Site) -> Interval | None:
    """Of a site's result, where it is a step; None where nothing is known."""
    step = site.step
    if step is None:
        return None
    operand = None
    if isinstance(step.operand, str):
        array = site.constants.get(step.operand)
        known = site.intervals.get(step.operand)
        operand = known if array is None else (float(array.min()), float(array.max()))
    return step_interval(step, site.interval, operand)


def step_interval(step: Step, value: Interval | None, operand: Interval | None = None) -> Interval | None:
    """Of a step's result, None where nothing is known; `operand` is that of a value or constant."""
    if isinstance(step.operand, int | float):
        operand = (float(step.operand), float(step.operand))
    if step.op in _RANGES:
        return _RANGES[step.op]
    if step.op == "clamp":
        low, high = step.parameters
        return (
            (low, high) if value is None else (_clamped(value[0], low, high), _clamped(value[1], low, high))
        )
    if value is None:
        return None
    low, high = value
    match step.op:
        case "relu":
            return max(low, 0.0), max(high, 0.0)
        case "neg":
            return -high, -low
        case "abs" | "square":
            largest = max(abs(low), abs(high))
            least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
            return (least, largest) if step.op == "abs" else (least**2, largest**2)
    return None if operand is None else _binary(step, value, operand)


def _clamped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _binary(step: Step, value: Interval, operand: Interval) -> Interval | None:
    first, second = (operand, value) if step.reverse else (value, operand)
    match step.op:
        case "add":
            return first[0] + second[0], first[1] + second[1]
        case "sub":
            return first[0] - second[1], first[1] - second[0]
        case "mul":
            ends = [a * b for a in first for b in second]
            return min(ends), max(ends)
        case "maximum":
            return max(first[0], second[0]), max(first[1], second[1])
        case "minimum":
            return min(first[0], second[0]), min(first[1], second[1])
    return None
