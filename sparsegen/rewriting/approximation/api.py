"""The door: what is asked for is checked, searched, and its error shown."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

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
from sparsegen.rewriting.approximation.gates import Survey, evaluate, points, settled, survey
from sparsegen.rewriting.approximation.graph import Graph
from sparsegen.rewriting.approximation.piecewise import PiecewiseLinear
from sparsegen.rewriting.approximation.probing import SURPRISE, closer, probed, random_places, widest_gap
from sparsegen.rewriting.approximation.proof import DENSE_POINTS, dense_error, proved_error
from sparsegen.rewriting.approximation.python_function import check_scale, check_values
from sparsegen.rewriting.approximation.search import MOST_KNOTS, best_of, extremes, fewest_knots
from sparsegen.rewriting.approximation.tube import Array

_MORE_KNOTS = 2
_LOOKS, _AGREES = 5, 1.01
"""How often a function is looked at in new places at most, and how much greater an error there may be."""
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
            By default the whole line for a function with two asymptotes, and x <= 0 for "exp" and "expm1". An
            end that is very far along an asymptote is taken as infinite: what is proved there holds within.
        samples: calibration values, of one dimension. The interval is theirs with a margin, unless one is
            given; with `knots`, errors count the more, the more often a value occurs (calibration.py).

    Returns:
        The approximation, whose first and last slopes are the asymptotes' where the interval is infinite.
        The error is proved for a named function. For a Python function it is the greatest at some 80,000
        points and more: `shown` tells how many, and how far apart, and a peak between two of them may have
        been missed. Points are even and random; where values surprise, intervals are halved.

    Raises:
        RewritingError: for anything else, and for a function that jumps or is not finite on the interval.

    The least error is found as the width of the narrowest tube around f that a path of knots + 1 links
    passes; see tube.py for the method and its sources.
    """
    most_error, most_knots = check_goal(max_error, knots)
    function = resolve(f)
    values = None if samples is None else check_samples(samples)
    chosen = choose_interval(function, interval, values)
    within = settled(function, chosen)
    x = points(function, within)
    y = check_values(function, x)
    check_scale(function, x, y)
    if function.bends is None:
        x, y = probed(function, within, x)
    weights = weigh(values, function, chosen) if values is not None and most_knots is not None else None
    view = survey(function, within, x, y, weights)
    fit = _best(view, most_error, most_knots)
    if function.bends is None:
        fit = _looked_at_again(view, fit, most_error, most_knots)
    return replace(fit, interval=chosen)


def least_knots(f: FunctionLike, *, max_error: float, interval: tuple[float, float] | None = None) -> int:
    """How many knots `approximate` takes for an error at the least, in a small part of its time.

    Raises RewritingError as `approximate` does, but for jumps of a Python function, which are not looked for.
    """
    check_goal(max_error, None)
    function = resolve(f)
    within = settled(function, choose_interval(function, interval, None))
    x = points(function, within)
    y = check_values(function, x)
    check_scale(function, x, y)
    view = survey(function, within, x, y)
    exact = _exact(view, MOST_KNOTS)
    fewest = fewest_knots(view, max_error)
    return fewest if exact is None else min(fewest, len(exact.knots))


def _best(view: Survey, max_error: float | None, knots: int | None) -> PiecewiseLinear:
    """By the points of a survey."""
    if knots is not None:
        return _fit(view, knots)
    assert max_error is not None
    return _within(view, max_error)


def _looked_at_again(
    view: Survey, fit: PiecewiseLinear, max_error: float | None, knots: int | None
) -> PiecewiseLinear:
    """The fit of a function of which nothing is known, or a better one, once new random places agree with it.

    Raises RewritingError where they never do, and an error was asked for.
    """
    function, places = view.function, list[Array]()
    for look in range(1, _LOOKS + 1):
        places.append(random_places(view.interval, look))
        found = check_values(function, places[-1])
        worst = float(np.abs(found - fit(torch.from_numpy(places[-1])).numpy()).max())
        agrees = (
            max(_AGREES * fit.error, fit.error + SURPRISE * view.scale) if max_error is None else max_error
        )
        if worst <= agrees or (max_error is None and look == _LOOKS):
            shown = _shown_densely(view, len(fit.knots), places) + (
                "" if worst <= agrees else f"; after {look} looks at new ones, values were still a surprise"
            )
            return replace(fit, error=max(fit.error, worst), shown=shown)
        x, y = closer(function, view.x, view.y, places[-1], found)
        view = survey(function, view.interval, x, y, view.weights)
        fit = _best(view, max_error, knots)
    raise RewritingError(
        f"{function.name} has peaks too narrow to be found: looked at {_LOOKS} times, each time at other "
        f"places, it was off by {worst:.3g} at one of them; give a narrower interval"
    )


def _shown_densely(view: Survey, knots: int, places: list[Array]) -> str:
    points = len(view.x) + (knots + 1) * DENSE_POINTS + sum(map(len, places))
    return (
        f"verified densely: the greatest error at {points:,} points, neighbours at most "
        f"{widest_gap(view.x, *places):.2g} apart; what a peak between two of them does is not known"
    )


def _within(view: Survey, max_error: float) -> PiecewiseLinear:
    """The fewest knots: gates show how many are needed, and the proof may ask for one or two more."""
    fewest = fewest_knots(view, max_error)
    for knots in range(fewest, min(fewest + _MORE_KNOTS, MOST_KNOTS) + 1):
        fit = _fit(view, knots)
        if fit.error <= max_error:
            return fit
    raise RewritingError(
        f"{view.function.name}: {fewest} knots should be enough for an error of {max_error:g}, and with "
        f"{len(fit.knots)} no more than {fit.error:.3g} can be shown, as float64 rounds numbers of this "
        "size: allow that much, or give a narrower interval"
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
        error, shown = dense_error(function, graph, view.x), ""  # told once it was looked at again
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
