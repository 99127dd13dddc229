"""Rooflines fitted to what was measured: by kind of call, what a second of each of its parts takes in truth.

A call's parts are seconds at the machine's rates: of calling, of multiply-adds, of bytes moved, of steps.
Code of one kind reaches its own share of each rate: the factors are those of least squares of relative
errors, none negative (Lawson and Hanson, "Solving Least Squares Problems", 1974). A prior holds them together
where samples are few: all alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from sparsegen.hetero.costs.calls import Call

Floats = NDArray[np.float64]
_PRIOR = 0.03  # weight of the prior, in samples
_ANY = ""  # stands for kinds without samples: the median ratio to their rough seconds
_SHORTEST_S = 1e-7  # what a clock tells apart


class FittedRoofline:
    """Seconds of calls by the factors of their kinds, and for kinds without, by those of all together."""

    def __init__(self, factors: Mapping[str, Floats]) -> None:
        self._factors = factors

    def knows(self, kind: str) -> bool:
        """Whether there are factors of the kind's own."""
        return kind in self._factors

    def seconds(self, call: Call) -> float:
        """Of a call, above 0."""
        factors = self._factors.get(call.kind, self._factors[_ANY])
        return max(_SHORTEST_S, float(np.dot(call.parts, factors)))


def fit_roofline(calls: Sequence[Call], seconds: Sequence[float], *, least: int) -> FittedRoofline:
    """The factors of calls with measured seconds, of kinds with at least so many calls."""
    parts = np.array([call.parts for call in calls])
    measured = np.maximum(np.array(seconds), _SHORTEST_S)
    kinds = np.array([call.kind for call in calls])
    masks = {kind: kinds == kind for kind in sorted(set(kinds))}
    chosen = {kind: mask for kind, mask in masks.items() if mask.sum() >= least}
    factors = {kind: _factors(parts[mask], measured[mask]) for kind, mask in chosen.items()}
    # Where nothing was measured, rough seconds as they are tell more than parts of other kinds do.
    return FittedRoofline(factors | {_ANY: np.full(parts.shape[1], _ratio(parts, measured))})


def _ratio(parts: Floats, seconds: Floats) -> float:
    return float(np.median(seconds / parts.sum(1)))


def _factors(parts: Floats, seconds: Floats) -> Floats:
    """The factors of the parts, long calls weighing more than short ones."""
    alike = _ratio(parts, seconds)
    weights = (seconds / seconds.mean()) ** 0.25
    prior = _PRIOR**0.5 * np.eye(parts.shape[1])
    rows = np.vstack([alike * parts / seconds[:, None] * weights[:, None], prior])
    found, _ = nnls(rows, np.concatenate([weights, prior.sum(1)]))
    return np.asarray(found * alike, np.float64)
