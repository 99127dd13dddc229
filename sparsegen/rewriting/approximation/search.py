"""The least error of a number of knots, and the fewest knots of an error."""

from __future__ import annotations

import math

import numpy as np

from sparsegen.errors import RewritingError
from sparsegen.rewriting.approximation.gates import Gates, Survey, evaluate
from sparsegen.rewriting.approximation.graph import Graph
from sparsegen.rewriting.approximation.tube import Array, Path, shortest_path

MOST_KNOTS = 1000
_FEW_GATES = 16
"""For each link, in the first round."""
_ROUNDS = ((0.05, 4e-3), (1e-3, 1e-4), (1e-4, 5e-5), (2e-5, 1e-5), (2e-5, 1e-5))
"""In each round of gates, relative to the least error: about how far from the last round's it is, and how
near to each other its bounds come."""
_CLOSE = 5e-5
"""More than this beyond its tube, relative, a function errs by only until the last round."""
_NOTHING = 1e-12
"""An error that counts as none, relative to the function's range."""
_INSIDE = 129
"""Points between two knots at which the difference is looked at."""


def best_of(survey: Survey, knots: int) -> Graph:
    """The function with the least (weighted) error that has at most this many knots.

    It passes the gates in the narrowest tube that lets a path pass: few gates first, which tell about how
    narrow that is, then many. Where it errs by more between gates, gates are added there, until it no longer
    does.
    """
    x, many = survey.gates(knots, _FEW_GATES), survey.gates(knots)
    guess = survey.estimate(knots)
    for step, closeness in _ROUNDS:
        guess = max(guess, _NOTHING * survey.scale)
        low, high, path = _narrowest(Gates(survey, x), knots, guess, step, closeness, _NOTHING * survey.scale)
        graph = graph_of(path, survey)
        places, worst = extremes(survey, graph)
        if x is many and worst <= high * (1 + _CLOSE):
            break
        x = many = np.union1d(many, places)
        guess = low or high
    return graph


def _narrowest(
    gates: Gates, knots: int, guess: float, step: float, closeness: float, nothing: float
) -> tuple[float, float, Path]:
    """The narrowest tube that a path passes: too narrow, wide enough, and the path with the fewest lines.

    From a guess the width changes by a share `step`, then by twice as much, and so on, until both are known;
    then the bracket is halved.
    """
    low, high = 0.0, math.inf
    while high > nothing and low < high * (1 - closeness / 2):
        if shortest_path(gates.tube(guess), knots + 1) is None:
            low, wider = guess, guess * (1 + step)
        else:
            high, wider = guess, guess / (1 + step)
        both, step = low > 0 and math.isfinite(high), 2 * step
        guess = math.sqrt(low * high) if both else wider
    # A little wider: a knot that gains next to nothing is none.
    high *= 1 + closeness / 2
    path = shortest_path(gates.tube(high), knots + 1)
    assert path is not None
    return low, high, path


def fewest_knots(survey: Survey, error: float) -> int:
    """How many knots a path within `error` has at the least, as far as gates show.

    Raises RewritingError where that is more than 1,000.
    """
    estimate = math.sqrt(survey.bending[-1] ** 2 / (16 * error))
    knots = int(min(estimate, 2.0 * MOST_KNOTS)) + 1
    path = shortest_path(Gates(survey, survey.gates(min(knots, MOST_KNOTS))).tube(error), MOST_KNOTS + 2)
    if path is None or len(path.lines) > MOST_KNOTS + 1:
        raise RewritingError(
            f"{survey.function.name}: an error of at most {error:g} takes more than {MOST_KNOTS:,} knots "
            f"(about {estimate:,.0f}): allow a larger error, or give a narrower interval"
        )
    return max(1, len(path.lines) - 1)


def graph_of(path: Path, survey: Survey) -> Graph:
    """The function whose graph a path is; a path of one line gets a knot that bends nothing."""
    knots: list[float] = []
    values: list[float] = []
    for line, after, (start, end) in zip(path.lines, path.lines[1:], path.windows, strict=False):
        turn = line.slope - after.slope
        at = end if turn == 0 else line.x + (after.at(line.x) - line.y) / turn
        at = min(max(at, start), end)
        if not knots or at > knots[-1]:
            knots.append(at)
            values.append(line.at(at))
    if not knots:
        knots.append(float(survey.x[len(survey.x) // 2]))
        values.append(path.lines[0].at(knots[0]))
    first, last = path.lines[0].slope, path.lines[-1].slope
    return Graph(np.asarray(knots), np.asarray(values), first, last)


def extremes(survey: Survey, graph: Graph) -> tuple[Array, float]:
    """Where the (weighted) difference is greatest between knots, and how great it is, on many points."""
    low, high = survey.x[0], survey.x[-1]
    inner = [each for each in (*graph.knots, *survey.function.breaks) if low < each < high]
    edges = np.unique((low, *inner, high))
    steps = np.linspace(0.0, 1.0, _INSIDE)
    x = edges[:-1, None] + np.diff(edges)[:, None] * steps
    difference = (evaluate(survey.function, x.ravel()) - graph(x.ravel())).reshape(x.shape)
    if survey.weights is not None:
        difference *= survey.weights.at(x)
    rows = np.arange(len(x))
    places = [x[rows, difference.argmax(axis=1)], x[rows, difference.argmin(axis=1)], edges]
    return np.unique(np.concatenate(places)), float(np.abs(difference).max())
