"""The least error by another way: sequential linear programming over knots and values, from many starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from sparsegen.rewriting.approximation.functions import Function
from sparsegen.rewriting.approximation.gates import evaluate

Array = NDArray[np.float64]

_LEAST_STEP, _STEPS = 1e-6, 60


@dataclass(frozen=True)
class Problem:
    """A function at points where the error counts; `ends` are nodes besides knots, or slopes are given."""

    function: Function
    x: Array
    y: Array
    ends: tuple[float, ...]
    slopes: tuple[float | None, float | None]
    spread: tuple[float, float]


def problem_of(function: Function, interval: tuple[float, float], knots: int) -> Problem:
    """Points that lie densely where the function bends, and out to where it is its asymptotes."""
    low, high = interval
    inner_low = max(low, -8.0)
    inner_high = min(high, 8.0)
    parts = [np.linspace(inner_low, inner_high, 160 + 24 * knots)]
    parts += [-np.geomspace(8, 1e9, 60)] if math.isinf(low) else [low + (inner_high - low) * _CLOSE]
    parts += [np.geomspace(8, 1e9, 60)] if math.isinf(high) else []
    x = np.unique(np.concatenate(parts))
    ends = tuple(each for each in interval if math.isfinite(each))
    slopes = (
        function.left.slope if function.left and math.isinf(low) else None,
        function.right.slope if function.right and math.isinf(high) else None,
    )
    return Problem(function, x, evaluate(function, x), ends, slopes, (inner_low, inner_high))


_CLOSE = np.geomspace(1e-8, 0.1, 60)


def graph(problem: Problem, nodes: Array, values: Array, x: Array) -> tuple[Array, Array, Array]:
    """Values at places, the share of each node in them, and the slopes there."""
    shares = np.stack([np.interp(x, nodes, row) for row in np.eye(len(nodes))], axis=1)
    inner = np.diff(values) / np.diff(nodes)
    first, last = (slope or 0.0 for slope in problem.slopes)
    slopes = np.concatenate(((first,), inner, (last,)))[np.searchsorted(nodes, x)]
    beyond = first * np.minimum(x - nodes[0], 0) + last * np.maximum(x - nodes[-1], 0)
    return shares @ values + beyond, shares, slopes


def error_of(problem: Problem, nodes: Array, values: Array) -> float:
    """The greatest error at all points and nodes."""
    at_points = np.abs(graph(problem, nodes, values, problem.x)[0] - problem.y).max()
    return float(max(at_points, np.abs(evaluate(problem.function, nodes) - values).max()))


def step_within(problem: Problem, nodes: Array, values: Array, step: float) -> tuple[Array, Array] | None:
    """The best nodes and values within a step, where all is taken to be linear.

    Close to a knot it is not: there the error at the knot itself stands for that at the points.
    """
    moving = ~np.isin(nodes, problem.ends)
    gaps = np.diff(nodes)
    limits = np.minimum(step, 0.45 * np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf)))
    near = np.abs(problem.x[:, None] - nodes[moving]) <= limits[moving]
    x, y = problem.x[~near.any(axis=1)], problem.y[~near.any(axis=1)]
    at, shares, slopes = graph(problem, nodes, values, x)
    bends = (evaluate(problem.function, nodes + 1e-6) - evaluate(problem.function, nodes - 1e-6)) / 2e-6
    at_points = np.hstack((shares, -slopes[:, None] * shares[:, moving]))
    at_nodes = np.hstack((np.eye(len(nodes)), -np.diag(bends)[:, moving]))
    rows, ones = np.vstack((at_points, at_nodes[moving])), np.ones((len(x) + moving.sum(), 1))
    left = np.concatenate((y - at, (evaluate(problem.function, nodes) - values)[moving]))
    cost = np.zeros(rows.shape[1] + 1)
    cost[-1] = 1
    found = linprog(
        cost,
        A_ub=np.vstack((np.hstack((rows, -ones)), np.hstack((-rows, -ones)))),
        b_ub=np.concatenate((left, -left)),
        bounds=[(None, None)] * len(nodes) + [(-each, each) for each in limits[moving]] + [(0, None)],
        method="highs",
    )
    if found.x is None:
        return None
    moved = nodes.copy()
    moved[moving] += found.x[len(nodes) : -1]
    return moved, values + found.x[: len(nodes)]


def improve(problem: Problem, knots: Array, reach: float) -> float:
    """Move knots and values by linear programs within a step that shrinks; the error that is left."""
    nodes = np.sort(np.concatenate((knots, problem.ends)))
    values = evaluate(problem.function, nodes)
    error, step = error_of(problem, nodes, values), reach
    for _ in range(_STEPS):
        found = step_within(problem, nodes, values, step)
        new_error = math.inf if found is None else error_of(problem, *found)
        if found is None or new_error >= error * (1 - 1e-6):
            step /= 4
            if step < _LEAST_STEP * reach:
                break
            continue
        (nodes, values), error = found, new_error
        step = min(2 * step, reach)
    return error


def least_error(
    function: Function, interval: tuple[float, float], knots: int, *, starts: int, seed: int = 0
) -> float:
    """The least error found from knots where the function bends, even ones, and ones at random places."""
    problem = problem_of(function, interval, knots)
    random = np.random.default_rng(seed)
    low, high = problem.spread
    turns = np.abs(np.diff(np.diff(problem.y) / np.diff(problem.x))) * np.diff(problem.x)[1:]
    share = np.cumsum(np.sqrt(turns))
    places = np.linspace(0, 1, knots + 2)[1:-1]
    bent = np.interp(places, share / share[-1], problem.x[1:-1])
    drawn = [np.sort(random.uniform(low, high, knots)) for _ in range(starts)]
    candidates = [bent, low + (high - low) * (0.25 + places / 2), *drawn][:starts]
    apart = np.arange(knots) * 1e-4 * (high - low)  # starts may share a place: no knots may
    starting = [np.sort(np.clip(each, low, high - 2 * apart[-1])) + 1e-5 + apart for each in candidates]
    return min(improve(problem, each, (high - low) / 4) for each in starting)


def even_error(function: Function, interval: tuple[float, float], knots: int) -> float:
    """The error of even knots on [-8, 8], or the interval where it is finite, that lie on the function."""
    problem = problem_of(function, interval, knots)
    low, high = problem.spread
    nodes = np.linspace(low, high, knots + len(problem.ends))
    if len(problem.ends) == 2:
        nodes = np.linspace(low, high, knots + 2)
    values = evaluate(function, nodes)
    return error_of(problem, nodes, values)
