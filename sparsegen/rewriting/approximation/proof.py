"""A rigorous bound of |f - g| for a piecewise linear g, where f is convex or concave piece by piece.

On a cell between two neighbouring knots or breaks, r = f - g is convex, linear or concave. Turned so that it
is convex, it is greatest at an end, and its least value is enclosed by function values alone: a convex
function lies above every secant's extension. Three rounds of 33 points narrow the place of the least value
to the two intervals around the least point; between neighbouring points, the extensions of the secants next
to them bound r from below. On an infinite cell the slope of g is the asymptote's, so r is monotone there,
and its extremes are its value at the end and its limit.

Rounding: an evaluation errs by at most `_ULPS` units of the greatest number that occurs (a test compares
every named function with mpmath). If rounding makes the wrong point the least one, convexity bounds what is
missed outside of its neighbours by twice the error of an evaluation times the number of intervals.
"""

from __future__ import annotations

import math

import numpy as np

from sparsegen.rewriting.approximation.functions import CONCAVE, LINEAR, Function
from sparsegen.rewriting.approximation.gates import evaluate
from sparsegen.rewriting.approximation.graph import Graph
from sparsegen.rewriting.approximation.tube import Array

_POINTS, _ROUNDS = 33, 3
_DENSE = (257, 33, 33)
DENSE_POINTS = sum(_DENSE)
_ULPS = 16
_UNIT = 2.0**-53
_MISSED = 2 * (_POINTS + 3)
"""How many errors of an evaluation a bound may be off, a round's wrong choice and the secants' included."""


def proved_error(function: Function, graph: Graph, interval: tuple[float, float]) -> float:
    """An upper bound of |f - g| on the interval, rounding included; infinity for an unbounded difference."""
    inner = [each for each in (*graph.knots, *function.breaks) if interval[0] < each < interval[1]]
    edges = np.unique([*(each for each in interval if math.isfinite(each)), *inner])
    rounding = _rounding(function, graph, edges)
    at_edges = float(np.abs(evaluate(function, edges) - graph(edges)).max())
    worst = max(at_edges, _limit(function, graph, interval))
    low, high = edges[:-1], edges[1:]
    sign = _bends(function, (low + high) / 2)
    curved = sign != LINEAR
    if curved.any():
        least = _least(function, graph, low[curved], high[curved], sign[curved])
        worst = max(worst, float((-least).max()))
    return (worst + _MISSED * rounding) * (1 + 4 * _UNIT) + function.jump


def dense_error(function: Function, graph: Graph, x: Array) -> float:
    """The greatest |f - g| at these points, at `DENSE_POINTS` between knots, most of them where it is great.

    What lies between the points is not looked at: this proves nothing.
    """
    edges = np.unique((x[0], *graph.knots[(graph.knots > x[0]) & (graph.knots < x[-1])], x[-1]))
    low, high = edges[:-1], edges[1:]
    worst = float(np.abs(evaluate(function, x) - graph(x)).max())
    for points in _DENSE:
        rows = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, points)
        errors = np.abs(evaluate(function, rows.ravel()) - graph(rows.ravel())).reshape(rows.shape)
        worst = max(worst, float(errors.max()))
        row, most = np.arange(len(rows)), errors.argmax(axis=1)
        low, high = rows[row, np.maximum(most - 1, 0)], rows[row, np.minimum(most + 1, points - 1)]
    return worst


def _rounding(function: Function, graph: Graph, x: Array) -> float:
    """By how much the difference may be off where it is evaluated, from its values at all edges.

    Between two knots g is a value plus a product no greater than the two values' difference.
    """
    greatest = 1 + np.abs(evaluate(function, x)).max() + np.abs(graph(x)).max()
    return float(_ULPS * _UNIT * greatest)


def _limit(function: Function, graph: Graph, interval: tuple[float, float]) -> float:
    """The greatest distance of the asymptotes from the first and the last line, at infinity."""
    worst = 0.0
    tails = ((function.left, graph.first, 0), (function.right, graph.last, -1))
    for end, (asymptote, slope, knot) in zip(interval, tails, strict=True):
        if math.isinf(end):
            if asymptote is None or asymptote.slope != slope:
                return math.inf
            worst = max(worst, abs(graph.values[knot] - slope * graph.knots[knot] - asymptote.offset))
    return float(worst)


def _bends(function: Function, x: Array) -> Array:
    """1 where the function is convex, 0 where linear, -1 where concave."""
    assert function.bends is not None
    return np.asarray(function.bends, dtype=np.float64)[np.searchsorted(function.breaks, x)]


def _least(function: Function, graph: Graph, low: Array, high: Array, sign: Array) -> Array:
    """A lower bound of (f - g) * sign, which is convex, on each cell."""
    turned = np.where(sign == CONCAVE, -1.0, 1.0)[:, None]
    steps = np.linspace(0.0, 1.0, _POINTS)
    rows = np.arange(len(low))
    bound = np.full(len(low), math.inf)
    for _ in range(_ROUNDS):
        x = np.clip(low[:, None] + (high - low)[:, None] * steps, low[:, None], high[:, None])
        values = turned * (evaluate(function, x.ravel()) - graph(x.ravel())).reshape(x.shape)
        least = values.argmin(axis=1)
        bound = np.minimum(bound, values[rows, least])
        low, high = x[rows, np.maximum(least - 1, 0)], x[rows, np.minimum(least + 1, _POINTS - 1)]
    after = np.minimum(values[:, 1:-1], 2 * values[:, 1:-1] - values[:, 2:])
    before = np.minimum(values[:, 1:-1], 2 * values[:, 1:-1] - values[:, :-2])
    unbounded = np.full((len(rows), 1), -math.inf)
    between = np.maximum(np.hstack((after, unbounded)), np.hstack((unbounded, before)))
    return np.asarray(np.minimum(bound, between.min(axis=1)))
