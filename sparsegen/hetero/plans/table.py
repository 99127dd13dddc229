"""A plan as a table for a terminal: where each operator runs, what is predicted, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sparsegen.hetero.cells import Cell, longest_part
from sparsegen.hetero.plans.events import Timeline
from sparsegen.hetero.plans.plan import PASSED_ON, Plan, PlannedOperator
from sparsegen.wording import milliseconds, short_names

_LINE = 28
"""Characters that a run of operators has in one line."""
_PART = 24
"""Characters of a part of a name that are in one line at any width."""
_MOST = 40
"""Operators that are shown; of longer plans those that take longest, and a line for the others."""


def plan_table(plan: Plan, measured: Timeline | None = None, *, most: int = _MOST) -> Table:
    """A row for each operator, in the plan's order, and totals; times in milliseconds.

    An operator of the plan is a run of layers, which a device computes together: their number, the first and
    the last one are told. measured: a timeline of the executor, whose medians are shown beside the
    predictions.
    """
    took = measured.operator_seconds() if measured is not None else {}
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    # Names go on in the next line where the table has not the room: the other columns keep theirs.
    names = [each.name for each in plan.operators]
    shown.add_column("operator", min_width=_least_width("operator", names))
    shown.add_column("layers", justify="right", no_wrap=True, min_width=6)
    shown.add_column("device", min_width=_least_width("device", [each.device for each in plan.operators]))
    shown.add_column("by", no_wrap=True, min_width=max(map(len, map(_implementation, plan.operators))))
    for heading in ("predicted", *(["measured"] if measured is not None else [])):
        shown.add_column(f"{heading}\nms", justify="right", no_wrap=True, min_width=len(heading))
    short = dict(zip(names, short_names(names), strict=True))
    largest = sorted(plan.operators, key=lambda each: -took.get(each.name, each.seconds))[:most]
    chosen = {each.name for each in largest} if len(plan.operators) > most + 1 else set(short)
    rest = []
    for each in plan.operators:
        if each.name not in chosen:
            rest.append(each)
            continue
        row = [_in_lines(short[each.name]), _layers([each]), each.device, _implementation(each)]
        shown.add_row(*_cells(*row, *_times([each], took, measured)))
    if rest:
        devices = ", ".join(dict.fromkeys(each.device for each in rest))
        row = [f"{len(rest)} shorter ones", _layers(rest), devices, "", *_times(rest, took, measured)]
        shown.add_row(*_cells(*row))
    _add_totals(shown, plan, took, measured)
    return shown


def _add_totals(table: Table, plan: Plan, took: Mapping[str, float], measured: Timeline | None) -> None:
    table.add_section()
    devices = dict.fromkeys(o.device for o in plan.operators if o.implementation != PASSED_ON)
    for device in devices if len(devices) > 1 else ():
        there = [each for each in plan.operators if each.device == device]
        table.add_row(*_cells("all operators", _layers(there), device, "", *_times(there, took, measured)))
    if plan.transfers:
        sent = measured.transfer_seconds().values() if measured is not None else ()
        times = [_ms(sum(each.seconds for each in plan.transfers))]
        times += [] if measured is None else [_ms(sum(sent))]
        table.add_row(*map(Text, [f"{len(plan.transfers)} transfers", "", "", "", *times]))
    lines = [("one input", plan.makespan, None if measured is None else measured.makespan)]
    if plan.goal == "throughput":
        lines.append(("a result every", plan.period, None if measured is None else measured.period))
    for name, predicted, found in lines:
        times = [_ms(predicted), *([] if found is None else [_ms(found)])]
        table.add_row(*(Text(cell, style="bold") for cell in [name, "", "", "", *times]))


def _implementation(operator: PlannedOperator) -> str:
    """The implementation, and how its time is known where that was not measured."""
    if operator.implementation == PASSED_ON or operator.origin == "measured":
        return operator.implementation
    return f"{operator.implementation} ({operator.origin})"


def _in_lines(name: str) -> str:
    """A run's first and last operator in lines of their own, where one line would be long."""
    first, joined, last = name.partition("..")
    return f"{first}\n{joined}{last}" if joined and len(name) > _LINE else name


def _layers(operators: Sequence[PlannedOperator]) -> str:
    return str(sum(len(each.layers) for each in operators) or "")


def _least_width(heading: str, names: Sequence[str]) -> int:
    """Columns in which the parts of names stay whole, unless they are too long."""
    return max(len(heading), min(_PART, max(map(longest_part, names), default=0)))


def _cells(operator: str, layers: str, device: str, *others: str) -> list[RenderableType]:
    """A row: names go on in the next line between their parts."""
    return [Cell(operator), Text(layers), Cell(device), *map(Text, others)]


def _times(
    operators: Sequence[PlannedOperator], took: Mapping[str, float], measured: Timeline | None
) -> list[str]:
    """Cells of the times of some operators together."""
    predicted = _ms(sum(each.seconds for each in operators))
    if measured is None:
        return [predicted]
    missing = any(each.name not in took for each in operators)
    return [predicted, "" if missing else _ms(sum(took[each.name] for each in operators))]


def _ms(seconds: float) -> str:
    return milliseconds(1e3 * seconds)
