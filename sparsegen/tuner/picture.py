"""Searches as a picture for a paper: the best time so far against trials, one panel a workload."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from math import isfinite
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from sparsegen.tuner.report import WorkloadCurves, describe, searches_of

# Okabe and Ito's palette, told apart by every kind of colour vision and by lightness in print.
_Style = tuple[str, Literal["-", "--", "-.", ":"]]
_STYLES: dict[str, _Style] = {"evolution": ("#D55E00", "-"), "random": ("#56B4E9", "--")}
_NAMES = {"evolution": "evolutionary search with a cost model", "random": "random search"}
_OTHER: _Style = ("#009E73", "-.")
_DEFAULT = "#666666"
_PANEL = (2.9, 2.4)
"""Width and height of a panel in inches."""
_COLUMNS = 4
_NARROWEST = 6.0
"""Width in inches that the title and the legend need."""
_TITLE = 40
"""Characters in a line of a panel's title."""
_HEADROOM = 1.3
"""The time axis ends at this often the default, or the slowest line's end: first trials may be far above."""
_LEAST_SPAN = 0.01
"""Of the times shown: less than that is noise."""
_AFTER = 1.2
"""The axis of trials is this often as long as the longest search's line: the ends of lines bear numbers."""


def draw(curves: Sequence[WorkloadCurves]) -> Figure:
    """Draw a panel a workload: medians over seeds, bands from the best to the worst seed, the default.

    Workloads without a trial that ended well are left out.
    """
    drawn = [each for each in curves if isfinite(each.best_ms)]
    titles, common = describe(drawn)
    rows = math.ceil(len(drawn) / _COLUMNS)
    columns = math.ceil(len(drawn) / rows)
    size = (max(_NARROWEST, columns * _PANEL[0]), rows * _PANEL[1] + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for index, (axes, each, title) in enumerate(zip(panels, drawn, titles, strict=False)):
        _draw_workload(axes, each)
        axes.set_title("\n".join(textwrap.fill(line, _TITLE) for line in title if line), fontsize=8)
        if index % columns == 0:
            axes.set_ylabel("best time so far (ms)", fontsize=8)
        if index + columns >= len(drawn):  # nothing below
            axes.set_xlabel("trials (log scale)", fontsize=8)
            axes.tick_params(labelbottom=True)
    longest = max(curve.trials for each in drawn for curve in each.searches)
    panels[0].set_xlim(0.9, max(2, longest) ** _AFTER)
    for axes in panels[len(drawn) :]:
        axes.remove()
    series = _legend(drawn)
    figure.legend(handles=series, loc="outside lower center", ncols=len(series), fontsize=8, frameon=False)
    lines = ("Best time against the number of trials", ", ".join(common), _reading(drawn))
    figure.suptitle("\n".join(filter(None, lines)), fontsize=10)
    return figure


def _draw_workload(axes: Axes, curves: WorkloadCurves) -> None:
    """The searches as steps, each with its gain over the default at its end."""
    if curves.default_ms is not None:
        axes.axhline(curves.default_ms, color=_DEFAULT, linestyle=":", linewidth=1.2)
    ends = [curve.best_ms for curve in curves.searches if isfinite(curve.best_ms)]
    for curve in curves.searches:
        colour, line = _style(curve.search)
        trials = range(1, curve.trials + 1)
        if curve.seeds > 1:
            axes.fill_between(
                trials, curve.least_ms, curve.most_ms, step="post", color=colour, alpha=0.2, linewidth=0
            )
        axes.step(trials, curve.median_ms, where="post", color=colour, linestyle=line, linewidth=1.6)
        gain = curves.gain(curve.search)
        if gain is not None:
            # The lower text hangs from its line's end and the others stand on theirs, lest they meet.
            lowest = curve.best_ms == min(ends)
            axes.annotate(
                f"{gain:.2f}x",
                (curve.trials, curve.best_ms),
                (3, 0),
                textcoords="offset points",
                va="top" if lowest else "bottom",
                fontsize=8,
                fontweight="bold",
                color=colour,
            )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    levels = [*ends, curves.best_ms, curves.default_ms or 0.0]
    times = (time for curve in curves.searches for time in curve.most_ms if isfinite(time))
    slowest = max(times, default=curves.best_ms)
    top = max(*levels, min(slowest, _HEADROOM * max(levels)))
    span = max(top - curves.best_ms, _LEAST_SPAN * top)
    axes.set_ylim(curves.best_ms - 0.2 * span, curves.best_ms + 1.1 * span)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", linewidth=0.5, alpha=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(curves: Sequence[WorkloadCurves]) -> list[Line2D]:
    """A line a search, and the default's where it was measured."""
    lines = []
    for search in searches_of(curves):
        colour, line = _style(search)
        label = _NAMES.get(search, search)
        lines.append(Line2D([], [], color=colour, linestyle=line, linewidth=1.6, label=label))
    if any(each.default_ms is not None for each in curves):
        lines.append(Line2D([], [], color=_DEFAULT, linestyle=":", linewidth=1.2, label="without tuning"))
    return lines


def _reading(curves: Sequence[WorkloadCurves]) -> str:
    """How to read what is neither in the legend nor at an axis."""
    notes = []
    seeds = {curve.seeds for each in curves for curve in each.searches}
    if seeds != {1}:
        count = f"{max(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
        notes.append(f"medians of {count} seeds, bands from the best to the worst")
    if any(each.default_ms is not None for each in curves):
        notes.append("numbers: speed-up by tuning")
    return "; ".join(notes)


def _style(search: str) -> _Style:
    return _STYLES.get(search, _OTHER)
