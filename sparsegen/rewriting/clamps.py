"""Chains of clamps, as models of several libraries have them, as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sparsegen.graph import Step

Bounds = tuple[float, float]


def merge_clamps(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps of an epilogue, each run of ReLUs, clamps and extremes of numbers made one clamp.

    That is a ReLU or ReLU6 where it bounds like one. A step alone stays as it is.
    """
    merged: list[Step] = []
    for step in steps:
        bounds, before = _bounds(step), _bounds(merged[-1]) if merged else None
        if bounds is None or before is None:
            merged.append(step)
        else:
            merged[-1] = _clamp(_clamped(before[0], bounds), _clamped(before[1], bounds))
    return tuple(merged)


def _bounds(step: Step) -> Bounds | None:
    """Between which a step clamps; None for another step, and for bounds the wrong way round."""
    match step.op, step.operand:
        case "relu", _:
            return 0.0, math.inf
        case "relu6", _:
            return 0.0, 6.0
        case "clamp", _:
            low, high = step.parameters
            return (low, high) if low <= high else None
        case "maximum", int() | float() as low:
            return float(low), math.inf
        case "minimum", int() | float() as high:
            return -math.inf, float(high)
    return None


def _clamped(value: float, bounds: Bounds) -> float:
    return min(max(value, bounds[0]), bounds[1])


def _clamp(low: float, high: float) -> Step:
    match low, high:
        case 0.0, math.inf:
            return Step("relu")
        case 0.0, 6.0:
            return Step("relu6")
    return Step("clamp", parameters=(low, high))
