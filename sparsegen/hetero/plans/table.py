"""A plan as a table for a terminal: where each operator runs, what is predicted, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from sparsegen.hetero.plans.events import Timeline
from sparsegen.hetero.plans.plan import Plan, PlannedOperator
from sparsegen.wording import milliseconds, short_names

_MOST = 40
"""Operators that are shown; of longer plans those that take longest, and a line for the others."""


def plan_table(plan: Plan, measured: Timeline | None = None, *, most: int = _MOST) -> Table:
    """A row for each operator, in the plan's order, and totals; times in milliseconds.

    measured: a timeline of the executor, whose medians are shown beside the predictions.
    """
    took = measured.operator_seconds() if measured is not None else {}
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column("operator", no_wrap=True, overflow="ellipsis", min_width=8)
    for heading in ("device", "implementation"):
        shown.add_column(heading, no_wrap=True, overflow="ellipsis")
    shown.add_column("predicted\nms", justify="right", no_wrap=True)
    if measured is not None:
        shown.add_column("measured\nms", justify="right", no_wrap=True)
    names = dict(
        zip((o.name for o in plan.operators), short_names([o.name for o in plan.operators]), strict=True)
    )
    largest = sorted(plan.operators, key=lambda each: -took.get(each.name, each.seconds))[:most]
    chosen = {each.name for each in largest} if len(plan.operators) > most + 1 else set(names)
    rest = []
    for each in plan.operators:
        if each.name not in chosen:
            rest.append(each)
            continue
        implementation = each.implementation + ("" if each.origin == "measured" else f" ({each.origin})")
        row = [names[each.name], each.device, implementation]
        shown.add_row(*map(Text, [*row, *_times([each], took, measured)]))
    if rest:
        devices = ", ".join(dict.fromkeys(each.device for each in rest))
        shown.add_row(*map(Text, [f"{len(rest)} shorter ones", devices, "", *_times(rest, took, measured)]))
    _add_totals(shown, plan, took, measured)
    return shown


def _add_totals(table: Table, plan: Plan, took: Mapping[str, float], measured: Timeline | None) -> None:
    table.add_section()
    devices = dict.fromkeys(each.device for each in plan.operators)
    for device in devices if len(devices) > 1 else ():
        there = [each for each in plan.operators if each.device == device]
        table.add_row(*map(Text, ["all operators", device, "", *_times(there, took, measured)]))
    if plan.transfers:
        sent = measured.transfer_seconds().values() if measured is not None else ()
        times = [_ms(sum(each.seconds for each in plan.transfers))]
        times += [] if measured is None else [_ms(sum(sent))]
        table.add_row(*map(Text, [f"{len(plan.transfers)} transfers", "", "", *times]))
    lines = [("one input", plan.makespan, None if measured is None else measured.makespan)]
    if plan.goal == "throughput":
        lines.append(("a result every", plan.period, None if measured is None else measured.period))
    for name, predicted, found in lines:
        times = [_ms(predicted), *([] if found is None else [_ms(found)])]
        table.add_row(*(Text(cell, style="bold") for cell in [name, "", "", *times]))


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
