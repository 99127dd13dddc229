"""A Python function of which nothing is known, looked at: evenly, at random, and closer where it surprises.

A peak that is narrower than the distance of even points is missed by them. One random place in each of many
equal cells finds whatever is two cells wide, and others ever closer to 0, where many functions bend, what is
narrow there. Where a value is not what its neighbours let expect, the intervals around it are halved, until
no point stands for more than a small share of all bending. What is narrower still may be missed, and so may
a peak between two points: that is why an error found in this way is never called proved.
"""

from __future__ import annotations

import numpy as np

from sparsegen.rewriting.approximation.functions import Function
from sparsegen.rewriting.approximation.python_function import check_continuous, check_values
from sparsegen.rewriting.approximation.tube import Array

_CELLS = 1 << 16
_TOWARDS_ZERO, _CLOSEST = 2048, 1e-12
SURPRISE = 1e-6
"""Of the function's range: less may be the rounding of float32."""
_SHARE = 1 / 2000
"""Of all bending, that one point may stand for."""
_HALVINGS = 40
_NARROWEST = 1e-14


def random_places(interval: tuple[float, float], seed: int) -> Array:
    """One place in each cell of a finite interval, and some ever closer to 0; the same for the same seed."""
    (low, high), random = interval, np.random.default_rng(seed)
    even = low + (high - low) * (np.arange(_CELLS) + random.random(_CELLS)) / _CELLS
    sizes = max(abs(low), abs(high)) * _CLOSEST ** random.random(_TOWARDS_ZERO)
    places = np.concatenate((even, sizes, -sizes))
    return np.unique(places[(places >= low) & (places <= high)])


def probed(function: Function, interval: tuple[float, float], x: Array) -> tuple[Array, Array]:
    """Points at which a function is known well, and its values: the given points, and more where it bends.

    Raises RewritingError where it is not finite, or jumps.
    """
    places = random_places(interval, 0)
    y, found = check_values(function, x), check_values(function, places)
    every = np.unique(np.concatenate((x, places)), return_index=True)
    check_continuous(function, every[0], np.concatenate((y, found))[every[1]])
    return closer(function, x, y, places, found)


def closer(function: Function, x: Array, y: Array, places: Array, found: Array) -> tuple[Array, Array]:
    """Points and values, with those places whose values surprise, and halved intervals around them."""
    scale = max(float(np.ptp(y)), float(np.ptp(found)))
    surprising = np.abs(found - np.interp(places, x, y)) > SURPRISE * scale
    x, y = _merged(x, y, places[surprising], found[surprising])
    for _ in range(_HALVINGS):
        turns = np.abs(np.diff(np.diff(y) / np.diff(x))) * (x[2:] - x[:-2])
        bending = np.sqrt(turns)
        heavy = np.flatnonzero(bending > _SHARE * bending.sum())
        cells = np.union1d(heavy, heavy + 1)
        cells = cells[np.diff(x)[cells] > _NARROWEST * np.abs(x).max()]
        if not len(cells):
            break
        middle = (x[cells] + x[cells + 1]) / 2
        x, y = _merged(x, y, middle, check_values(function, middle))
    return x, y


def widest_gap(*points: Array) -> float:
    """The greatest distance between neighbours among all these points."""
    return float(np.diff(np.unique(np.concatenate(points))).max())


def _merged(x: Array, y: Array, more: Array, values: Array) -> tuple[Array, Array]:
    places, first = np.unique(np.concatenate((x, more)), return_index=True)
    return places, np.concatenate((y, values))[first]
