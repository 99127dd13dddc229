"""A timeline as a picture: devices as rows, their operators coloured by the input, transfers thin below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from sparsegen.hetero.plans.events import Event, Timeline
from sparsegen.hetero.plans.plan import PASSED_ON, Plan
from sparsegen.wording import short_names

# Okabe and Ito's palette, told apart by every kind of colour vision; inputs take it in turn.
_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#0072B2", "#D55E00")
_DARK = ("#0072B2", "#D55E00")
_TRANSFER = "#555555"
_BAR, _THIN = 0.62, 0.12
"""Heights of operators and transfers, of a row's 1."""
_WIDTH, _ROW = 11.0, 0.62
"""Of the picture and of a row, in inches."""
_PER_CHARACTER = 0.062
"""Inches that a name's character takes."""
_OUTLINED = 0.04
"""Inches from which a bar has an outline; narrower ones would be all outline."""


def draw(plan: Plan, timeline: Timeline, title: str) -> Figure:
    """Draw all events of a timeline; names stand in the bars that are wide enough for them."""
    rows = _rows(plan, timeline)
    figure = Figure(figsize=(_WIDTH, 1.5 + _ROW * max(1, len(rows))), layout="constrained")
    axes = figure.subplots()
    end = max((each.end for each in timeline.events), default=0.0) or 1.0
    scale, unit = _unit(end)
    operators = [each for each in timeline.events if each.kind == "operator"]
    transfers = [each for each in timeline.events if each.kind == "transfer"]
    places = {row: number for number, row in enumerate(rows)}
    _bars(axes, [(places[_row(plan, each)], each) for each in operators], end, scale, plan)
    lines = [_box(each, places[_row(plan, each)] + _BAR / 2 + 0.04, _THIN, scale) for each in transfers]
    axes.add_collection(PatchCollection(lines, facecolor=_TRANSFER, edgecolor=_TRANSFER, linewidth=0.4))
    axes.set_xlim(0, end * scale)
    axes.set_ylim(len(rows) - 0.4, -0.5)
    axes.set_yticks(range(len(rows)), _row_names(plan, rows), fontsize=9)
    axes.set_xlabel(f"time ({unit})", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", linewidth=0.5, alpha=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    legend = _legend({each.input for each in operators}, bool(transfers))
    figure.legend(
        handles=legend, loc="outside lower center", ncols=min(9, len(legend)), fontsize=8, frameon=False
    )
    figure.suptitle(f"{title}\n{_figures(timeline)}", fontsize=10)
    return figure


def _rows(plan: Plan, timeline: Timeline) -> list[tuple[str, int]]:
    """Devices that do anything, with their lanes, in the plan's order."""
    order = {each.name: number for number, each in enumerate(plan.devices)}
    found = {_row(plan, each) for each in timeline.events}
    return sorted(found, key=lambda row: (order.get(row[0], len(order)), row[1]))


def _row(plan: Plan, event: Event) -> tuple[str, int]:
    """An event's device and lane; inputs and results, which take no time, are in the device's first one."""
    passed_on = (each.name for each in plan.operators if each.implementation == PASSED_ON)
    return event.device, 0 if event.operator in passed_on else event.lane


def _row_names(plan: Plan, rows: Sequence[tuple[str, int]]) -> list[str]:
    """Names of devices; emulated ones say so, and lanes are counted where a device has several."""
    several = {device for device, lane in rows if lane}
    return [
        device
        + (" (emulated)" if device in plan.emulated else "")
        + (f", group {lane + 1}" if device in several else "")
        for device, lane in rows
    ]


def _bars(axes: Axes, bars: Sequence[tuple[int, Event]], end: float, scale: float, plan: Plan) -> None:
    """Operators, and their names where there is room."""
    inches = (_WIDTH - 1.6) / end
    wide = {each.operator for _, each in bars if each.seconds * inches >= _OUTLINED}
    for outlined in (False, True):
        chosen = [(row, each) for row, each in bars if (each.seconds * inches >= _OUTLINED) == outlined]
        boxes = [_box(each, row - _BAR / 2, _BAR, scale) for row, each in chosen]
        colours = [_colour(each.input) for _, each in chosen]
        edge, width = ("white", 0.5) if outlined else (colours, 0.0)
        axes.add_collection(PatchCollection(boxes, facecolor=colours, edgecolor=edge, linewidth=width))
    names = [each.name for each in plan.operators]
    short = dict(zip(names, short_names(names), strict=True))
    for row, each in bars:
        name = short[each.operator]
        if each.operator in wide and len(name) * _PER_CHARACTER <= each.seconds * inches:
            middle = (each.start + each.end) / 2 * scale
            ink = "white" if _colour(each.input) in _DARK else "black"
            axes.text(middle, row, name, ha="center", va="center", fontsize=7, color=ink, clip_on=True)


def _box(event: Event, top: float, height: float, scale: float) -> Rectangle:
    return Rectangle((event.start * scale, top), event.seconds * scale, height)


def _legend(inputs: Iterable[int], transfers: bool) -> list[Patch]:
    """The colours of inputs; where there are more, those of the first ones, which the others take again."""
    shown = sorted(inputs)
    few = shown[: len(_COLOURS)]
    more = len(shown) > len(few)
    handles = [
        Patch(color=_colour(each), label=f"input {each}{', ...' if more and each == few[-1] else ''}")
        for each in few
    ]
    return [*handles, Patch(color=_TRANSFER, label="transfer")] if transfers else handles


def _figures(timeline: Timeline) -> str:
    """What the timeline comes to."""
    count = len(timeline.finished)
    scale, unit = _unit(timeline.makespan or 1.0)
    told = f"one input: {timeline.makespan * scale:.3g} {unit}"
    if count < 2:
        return told
    scale, unit = _unit(timeline.period or 1.0)
    return f"{told}; {count} inputs: one every {timeline.period * scale:.3g} {unit}"


def _unit(seconds: float) -> tuple[float, str]:
    if seconds >= 1:
        return 1.0, "s"
    return (1e3, "ms") if seconds >= 1e-3 else (1e6, "us")


def _colour(input: int) -> str:
    return _COLOURS[input % len(_COLOURS)]
