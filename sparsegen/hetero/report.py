"""A plan told: its table, one line that sums it up, and why an operator is where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from sparsegen.errors import OptionError
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.plans.events import Timeline
from sparsegen.hetero.plans.plan import Plan, PlannedOperator
from sparsegen.hetero.plans.streams import Planned
from sparsegen.hetero.plans.table import plan_table
from sparsegen.wording import milliseconds

_FORMS = {
    "sequential": "all on one device, one operator after the other",
    "placed": "operators on several devices",
    "pipelined": "a pipeline over several devices",
    "copies": "a copy of the model on each of several devices",
    "stages": "groups of operators at once on shares of the cores",
}


def print_plan(plan: Plan, measured: Timeline | None, simulated: Timeline | None) -> None:
    """Print a plan's table, and what it comes to; `measured` is of a run, `simulated` of a simulated one."""
    console = Console()
    console.print(plan_table(plan, measured))
    console.print(summary(plan), highlight=False, soft_wrap=True)
    for what, timeline in (("measured", measured), ("simulated, not measured", simulated)):
        if timeline is not None:
            console.print(f"{what}: {_figures(timeline)}", highlight=False, soft_wrap=True)


def summary(plan: Plan) -> str:
    """One line: the goal's seconds, beside the best single device's, and how sure the plan is the best."""
    stream = plan.goal == "throughput"
    seconds, word = (plan.period, "period") if stream else (plan.makespan, "makespan")
    line = f"{word} {_ms(seconds)} ms predicted, {_FORMS[plan.form]}"
    others = plan.alternatives or {}
    single = {name: value for name, value in others.items() if name != "heft"}
    if single:
        best = min(single, key=lambda name: single[name])
        line += f"; {best}: {_ms(single[best])} ms, {single[best] / seconds:.2f}x as long"
    if plan.optimal:
        return f"{line}; no plan of these operators is faster"
    return f"{line}; no plan takes less than {_ms(plan.bound)} ms" if plan.bound > 0 else line


def explain(planned: Planned, name: str) -> Table:
    """What an operator or layer costs wherever it runs, or why it does not, and where the plan has it.

    Raises OptionError for a name that the plan has not.
    """
    found = _holder(planned.plan, name)
    shown = Table(title=f"{name}: in the plan on {found.device}, by {found.implementation}")
    for heading in ("device", "implementation", "threads", "ms", "how known"):
        shown.add_column(heading)
    costs = planned.costs
    rows = _rows(costs, name) if costs is not None else []
    if not rows:
        rows = [(found.device, found.implementation, str(found.threads), found.seconds, found.origin)]
    for device, implementation, threads, seconds, origin in rows:
        shown.add_row(device, implementation, threads, _ms(seconds), origin)
    return shown


def _rows(costs: Costs, name: str) -> list[tuple[str, str, str, float | None, str]]:
    made: list[tuple[str, str, str, float | None, str]] = [
        (each.device, each.implementation, str(each.threads), each.seconds, each.origin)
        for each in costs.costs.get(name, ())
    ]
    refused = [(d, reason) for (operator, d), reason in costs.reasons.items() if operator == name]
    return made + [(device, "none", "", None, reason) for device, reason in refused]


def _holder(plan: Plan, name: str) -> PlannedOperator:
    for operator in plan.operators:
        if operator.name == name or name in operator.layers:
            return operator
    names: Sequence[str] = [layer for each in plan.operators for layer in (each.layers or (each.name,))]
    close = [each for each in names if name in each][:5] or names[:5]
    raise OptionError(f"the plan has no operator {name!r}; it has {', '.join(close)}, ...")


def _figures(timeline: Timeline) -> str:
    figures: list[Any] = [f"first result after {_ms(timeline.makespan)} ms"]
    if len(timeline.finished) > 1:
        figures.append(f"then one each {_ms(timeline.period)} ms")
    return ", ".join(figures)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else milliseconds(1e3 * seconds)
