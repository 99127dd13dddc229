"""Approximations as a picture: each function with its knots, and the error below, several on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsegen.rewriting.approximation.gates import evaluate
from sparsegen.rewriting.approximation.piecewise import PiecewiseLinear

# Okabe and Ito's palette, told apart by every kind of colour vision.
_FUNCTION, _FIT, _ERROR = "#999999", "#D55E00", "#0072B2"
_PANEL = (3.4, 3.6)
"""Width and height of a function's two panels in inches."""
_COLUMNS = 4
_POINTS = 2001
_MARGIN = 0.35
"""How far the picture goes beyond the outermost knots of an infinite interval, of their distance."""


def draw(fits: Sequence[PiecewiseLinear]) -> Figure:
    """Draw at least one approximation, each over its function, and the error between its bounds below."""
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


def _draw_one(above: Axes, below: Axes, fit: PiecewiseLinear) -> None:
    x = np.linspace(*_range(fit), _POINTS)
    y, approximation = evaluate(fit.function, x), fit(torch.from_numpy(x)).numpy()
    above.plot(x, y, color=_FUNCTION, linewidth=3.0, label=fit.name)
    above.plot(x, approximation, color=_FIT, linewidth=1.0, label="approximation")
    above.plot(fit.knots, fit.values, "o", color=_FIT, markersize=3.0, label="knots")
    count = len(fit.knots)
    above.set_title(f"{fit.name}: {count} knot{'s' if count > 1 else ''}, error {fit.error:.2g}", fontsize=9)
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
