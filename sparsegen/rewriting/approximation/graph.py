"""A piecewise linear function as arrays, to compute with."""

from __future__ import annotations

import numpy as np

from sparsegen.rewriting.approximation.tube import Array


class Graph:
    """A piecewise linear function by its knots, its values there and its first and last slope."""

    def __init__(self, knots: Array, values: Array, first: float, last: float) -> None:
        self.knots, self.values, self.first, self.last = knots, values, first, last
        self.slopes = np.concatenate(((first,), np.diff(values) / np.diff(knots), (last,)))

    def __call__(self, x: Array) -> Array:
        """The function at each place."""
        piece = np.searchsorted(self.knots, x)
        anchor = np.maximum(piece - 1, 0)
        return np.asarray(self.values[anchor] + self.slopes[piece] * (x - self.knots[anchor]))
