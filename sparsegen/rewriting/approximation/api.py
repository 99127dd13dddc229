"""The door: what is asked for is checked, searched, and its error shown."""

from __future__ import annotations

import math

import numpy as np

from sparsegen.errors import RewritingError
from sparsegen.rewriting.approximation.arguments import (
    FunctionLike,
    Samples,
    check_goal,
    check_samples,
    choose_interval,
    resolve,
)
from sparsegen.rewriting.approximation.calibration import weigh
from sparsegen.rewriting.approximation.gates import Survey, evaluate, points, survey
from sparsegen.rewriting.approximation.graph import Graph
from sparsegen.rewriting.approximation.piecewise import PiecewiseLinear
from sparsegen.rewriting.approximation.proof import dense_error, proved_error
from sparsegen.rewriting.approximation.python_function import check_continuous, check_values
from sparsegen.rewriting.approximation.search import best_of, extremes, fewest_knots

_JUMP_COUNTS = 0.01
"""A leap of torch's formula is too large from this share of the error on."""


def approximate(
    f: FunctionLike,
    *,
    max_error: float | None = None,
    knots: int | None = None,
    interval: tuple[float, float] | None = None,
    samples: Samples | None = None,
) -> PiecewiseLinear:
    """The best continuous piecewise linear approximation of a function of one variable.

    Args:
        f: the name of a function, a name with its parameters such as `("softplus", 2.0)` or `("elu", 0.5)`
            as torch orders them, or a Python function on float64 tensors, element by element.
        max_error: the greatest error allowed: the result has the fewest knots, and among those the least
            error. Give this or `knots`.
        knots: how many knots the result has at most, up to 1,000; fewer where more do not help.
        interval: where the error is bounded; an end may be infinite where the function has an asymptote.
            By default the whole line for a function with two asymptotes, and x <= 0 for "exp".
        samples: calibration values, of one dimension. The interval is theirs with a margin, unless one is
            given; with `knots`, errors count the more, the more often a value occurs (calibration.py).

    Returns:
        The approximation, whose first and last slopes are the asymptotes' where the interval is infinite.
        The error is proved for a named function, and verified on many points for another one.

    Raises:
        RewritingError: for anything else, and for a function that jumps or is not finite on the interval.

    The least error is found as the width of the narrowest tube around f that a path of knots + 1 links
    passes; see tube.py for the method and its sources.
    """
    most_error, most_knots = check_goal(max_error, knots)
    function = resolve(f)
    values = None if samples is None else check_samples(samples)
    chosen = choose_interval(function, interval, values)
    x = points(function, chosen)
    y = check_values(function, x)
    if function.bends is None:
        check_continuous(function, x, y)
    weights = weigh(values, function, chosen) if values is not None and most_knots is not None else None
    view = survey(function, chosen, x, y, weights)
    if most_knots is not None:
        return _fit(view, most_knots)
    assert most_error is not None
    return _within(view, most_error)


def _within(view: Survey, max_error: float) -> PiecewiseLinear:
    """The fewest knots: gates show how many are needed, and the proof may ask for one more."""
    fewest = fewest_knots(view, max_error)
    for knots in (fewest, fewest + 1):
        fit = _fit(view, knots)
        if fit.error <= max_error:
            return fit
    raise RewritingError(
        f"{view.function.name}: the least error that float64 can show is {fit.error:.3g}: allow that much"
    )


def _fit(view: Survey, knots: int) -> PiecewiseLinear:
    """The least error of so many knots."""
    function, interval = view.function, view.interval
    graph = _exact(view, knots) or best_of(view, knots)
    if function.bends is not None:
        error, shown = proved_error(function, graph, interval), "proved: "
        shown += "the extremes between knots are enclosed by secants of the convex and the concave pieces"
        if math.inf in map(abs, interval):
            shown += ", and by the asymptotes"
    else:
        error, points = dense_error(function, graph, view.x)
        shown = f"verified densely: the greatest error at {points:,} points"
    if function.jump > _JUMP_COUNTS * error:
        raise RewritingError(
            f"{function.name} with this threshold jumps by {function.jump:.3g}, which is much beside "
            f"the error of {error:.3g}: raise the threshold (torch's default is 20), or allow more"
        )
    return PiecewiseLinear(
        name=function.name,
        knots=tuple(graph.knots.tolist()),
        values=tuple(graph.values.tolist()),
        slopes=tuple(graph.slopes.tolist()),
        interval=interval,
        error=error,
        shown=shown,
        function=function,
        weighted_error=None if view.weights is None else extremes(view, graph)[1],
        weights=view.weights,
    )


def _exact(view: Survey, most: int) -> Graph | None:
    """A piecewise linear function itself, where so many knots are enough for it and it has some."""
    function, (low, high) = view.function, view.interval
    knots = np.asarray([each for each in function.linear_between or () if low < each < high])
    if not 1 <= len(knots) <= most:
        return None
    values = evaluate(function, knots)
    slopes = []
    for asymptote, end, knot, value in (
        (function.left, low, knots[0], values[0]),
        (function.right, high, knots[-1], values[-1]),
    ):
        at_end = evaluate(function, np.asarray([end])) if math.isfinite(end) else None
        if at_end is not None:
            slopes.append(float((at_end[0] - value) / (end - knot)))
        else:
            assert asymptote is not None
            slopes.append(asymptote.slope)
    return Graph(knots, values, *slopes)
