"""How much an error counts at each place."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sparsegen.rewriting.approximation.tube import Array


@dataclass(frozen=True)
class Weights:
    """Weights of at most 1, linear between `places` and level outside of them."""

    places: Array = field(repr=False)
    weights: Array = field(repr=False)

    def at(self, x: Array) -> Array:
        """The weight of each place."""
        return np.asarray(np.interp(x, self.places, self.weights))
