"""How much a value of x counts, by how often it occurs among calibration values.

An approximation by pieces whose error alternates between -E(x) and E(x) takes the integral of
sqrt(|f''| / (16 E)) many pieces. Among all E that take as many, the mean square of the error, with values of
density p, is least where E is proportional to |f''|^(1/5) p^(-2/5). The weight is therefore p^(2/5), the
density being the greatest at 1: the greatest weighted error is minimised, which is well defined and has a
checkable optimum, and the mean square comes out small with it. A value that is rare weighs a tenth at
least: there the error is at most ten times as large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_WEIGHT = 0.1
_POWER = 0.4
_BINS = 64


@dataclass(frozen=True)
class Weights:
    """Weights in [0.1, 1], linear between `places` and level outside of them."""

    places: Array = field(repr=False)
    weights: Array = field(repr=False)

    def at(self, x: Array) -> Array:
        """The weight of each place."""
        return np.asarray(np.interp(x, self.places, self.weights))


def weigh(samples: Array) -> Weights:
    """Weights from a histogram of calibration values, smoothed over neighbouring bins."""
    count = max(1, min(_BINS, math.isqrt(len(samples))))
    heights, edges = np.histogram(samples, bins=count)
    smooth = np.convolve(np.pad(heights, 1, mode="edge"), (0.25, 0.5, 0.25), mode="valid")
    density = smooth / smooth.max()
    return Weights((edges[:-1] + edges[1:]) / 2, np.maximum(density**_POWER, LEAST_WEIGHT))


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
