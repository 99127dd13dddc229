"""Approximations as a picture: each function with its knots, and the error below, several on one sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from sparsegen.rewriting.approximation.piecewise import PiecewiseLinear

# Okabe and Ito's palette, told apart by every kind of colour vision.
_FUNCTION, _FIT, _ERROR = "#999999", "#D55E00", "#0072B2"
_PANEL = (3.4, 3.6)
"""Width and height of a function's two panels in inches."""
_COLUMNS = 4
_POINTS = 2001
_MARGIN = 0.35
"""How far the picture goes beyond the outermost knots of an infinite interval, of their distance."""


@dataclass(frozen=True)
class Curve:
    """A function between two places, what stands in for it, and by how much that errs at most."""

    name: str
    function: Callable[[Tensor], Tensor]
    approximation: Callable[[Tensor], Tensor]
    error: float
    form: str
    low: float
    high: float
    knots: tuple[float, ...] = ()


def curve_of(fit: PiecewiseLinear) -> Curve:
    """A piecewise linear approximation on all of its interval; of an infinite one, with some of the tails."""
    count = len(fit.knots)
    form = f"{count} knot{'s' if count > 1 else ''}"
    return Curve(fit.name, fit.function.evaluate, fit, fit.error, form, *_range(fit), fit.knots)


def draw(curves: Sequence[Curve | PiecewiseLinear]) -> Figure:
    """Draw at least one approximation, each over its function, and the error between its bounds below."""
    fits = [each if isinstance(each, Curve) else curve_of(each) for each in curves]
    columns = min(_COLUMNS, len(fits))
    rows = -(-len(fits) // columns)
    figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[2, 1] * rows)
    for place, fit in enumerate(fits):
        row, column = divmod(place, columns)
        above = figure.add_subplot(grid[2 * row, column])
        below = figure.add_subplot(grid[2 * row + 1, column], sharex=above)
        _draw_one(above, below, fit)
    return figure


def _draw_one(above: Axes, below: Axes, fit: Curve) -> None:
    places = torch.linspace(fit.low, fit.high, _POINTS, dtype=torch.float64)
    x, y, approximation = places.numpy(), fit.function(places).numpy(), fit.approximation(places).numpy()
    above.plot(x, y, color=_FUNCTION, linewidth=3.0, label=fit.name)
    above.plot(x, approximation, color=_FIT, linewidth=1.0, label="approximation")
    if fit.knots:
        values = fit.approximation(torch.tensor(fit.knots, dtype=torch.float64)).numpy()
        above.plot(fit.knots, values, "o", color=_FIT, markersize=3.0, label="knots")
    above.set_title(f"{fit.name}: {fit.form}, error {fit.error:.2g}", fontsize=9)
    above.legend(fontsize=7, frameon=False)
    below.plot(x, approximation - y, color=_ERROR, linewidth=0.9)
    for bound in (-fit.error, fit.error):
        below.axhline(bound, color=_FUNCTION, linewidth=0.7, linestyle="--")
    below.set_ylabel("error", fontsize=8)
    below.set_xlabel("x", fontsize=8)
    above.tick_params(labelsize=7, labelbottom=False)
    below.tick_params(labelsize=7)
    below.ticklabel_format(axis="y", scilimits=(-2, 2))
    below.yaxis.get_offset_text().set_fontsize(7)


def _range(fit: PiecewiseLinear) -> tuple[float, float]:
    """What is shown of the interval: all of it, or where it is infinite the knots and some of the tails."""
    margin = max(1.0, _MARGIN * (fit.knots[-1] - fit.knots[0]))
    low, high = fit.interval
    return (
        fit.knots[0] - margin if math.isinf(low) else low,
        fit.knots[-1] + margin if math.isinf(high) else high,
    )
