"""What calibration values say: where to approximate, and how much an error counts there.

An approximation by pieces whose error alternates between -E(x) and E(x) takes the integral of
sqrt(|f''| / (16 E)) many pieces. Among all E that take as many, the mean square of the error, with values of
density p, is least where E is proportional to (|f''| / p^2)^(1/5). The weight is the inverse of that, and
the greatest error times weight is minimised: that is well defined, and its optimum can be certified, while
the mean square comes out smaller in most cases, though not in all.
"""

from __future__ import annotations

import math

import numpy as np

from sparsegen.rewriting.approximation.functions import Function
from sparsegen.rewriting.approximation.gates import evaluate
from sparsegen.rewriting.approximation.tube import Array
from sparsegen.rewriting.approximation.weights import Weights

_LEAST_WEIGHT = 0.1
"""Where a value is rare, errors are at most ten times as large."""
_LEAST_BEND = 0.01
"""A smaller |f''|, of the greatest, counts as this: an inflection is one point only."""
_BINS = 64


def weigh(samples: Array, function: Function, interval: tuple[float, float]) -> Weights:
    """Weights in [0.1, 1] from a histogram of calibration values and the function's second differences."""
    heights, edges = np.histogram(samples, bins=min(_BINS, math.isqrt(len(samples))))
    places, step = (edges[:-1] + edges[1:]) / 2, min(edges[1] - edges[0], (interval[1] - interval[0]) / 4)
    density = _smooth(heights.astype(np.float64))
    middle = np.clip(places, interval[0] + step, interval[1] - step)
    left, at, right = (evaluate(function, middle + shift) for shift in (-step, 0.0, step))
    bend = np.maximum(_smooth(np.abs(left - 2 * at + right)), _LEAST_BEND)
    weights = (density**2 / bend) ** 0.2
    return Weights(places, np.maximum(weights / weights.max(), _LEAST_WEIGHT))


def _smooth(values: Array) -> Array:
    """Values averaged with their neighbours, the greatest 1."""
    smooth = np.convolve(np.pad(values, 1, mode="edge"), (0.25, 0.5, 0.25), mode="valid")
    return np.asarray(smooth / (smooth.max() or 1.0))


def interval_of(samples: Array) -> tuple[float, float]:
    """The range of calibration values, widened at each end.

    Of n values, one more lies outside their range with a chance of 2 / (n + 1). Each end moves out by the
    distance between it and the value that sqrt(n) values lie beyond. If values become rare exponentially,
    that makes the chance at an end n^(-3/2) rather than 1 / n; if they end abruptly, none is left outside.
    """
    ordered = np.sort(samples)
    beyond = min(math.isqrt(len(ordered)), len(ordered) - 1)
    low, high = float(ordered[0]), float(ordered[-1])
    return 2 * low - float(ordered[beyond]), 2 * high - float(ordered[-1 - beyond])
