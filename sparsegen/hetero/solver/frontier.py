"""Pareto frontiers: vectors, less is better, of which none is kept that another is nowhere worse than."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

_FIRST = 8  # rows


class Frontier:
    """One frontier a key."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, NDArray[np.float64]] = {}
        self._counts: dict[Hashable, int] = {}
        self._kept: dict[Hashable, set[tuple[float, ...]]] = {}

    def add(self, key: Hashable, vector: tuple[float, ...]) -> bool:
        """Keep a vector, and drop those that it makes superfluous; False where it is superfluous itself."""
        rows = self._rows.get(key)
        if rows is None:
            rows = np.empty((_FIRST, len(vector)))
            rows[0] = vector
            self._rows[key], self._counts[key], self._kept[key] = rows, 1, {vector}
            return True
        kept = self._kept[key]
        if vector in kept:
            return False
        count = self._counts[key]
        there, new = rows[:count], np.array(vector)
        if (there <= new).all(axis=1).any():
            return False
        worse = (there >= new).all(axis=1)
        if worse.any():
            for row in there[worse]:
                kept.discard(tuple(row.tolist()))
            left = there[~worse]
            count = len(left)
            rows[:count] = left
        if count == len(rows):
            rows = self._rows[key] = np.concatenate([rows, np.empty_like(rows)])
        rows[count] = new
        self._counts[key] = count + 1
        kept.add(vector)
        return True

    def keeps(self, key: Hashable, vector: tuple[float, ...]) -> bool:
        """Whether a vector that was added is still kept; the empty one, of no key, always is."""
        return not vector or vector in self._kept[key]
