"""What an operator costs wherever it runs, or why it does not run there, and where the plan has it."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from rich.table import Table

from sparsegen.cost import least_sure
from sparsegen.devices import Machine
from sparsegen.errors import OptionError
from sparsegen.graph import LayerGraph
from sparsegen.hetero.cells import Cell, longest_part
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.operators.cut import Granularity, operators
from sparsegen.hetero.operators.export import OperatorCost
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.plans.plan import Plan, PlannedOperator
from sparsegen.hetero.plans.posing import RESULT
from sparsegen.wording import milliseconds, threads_phrase

_JOINED = ".."
"""Between the first and the last of the operators that a device runs in a row."""

_ALONE = "alone: starts, streamed weights and transfers are the plan's"


def check_operator(graphs: Sequence[LayerGraph], granularity: Granularity, name: str) -> None:
    """Raise OptionError, which lists names that are close, for what cannot be explained of any graph's plan.

    Known are its operators, its layers, and runs of operators, as plans name them.
    """
    names = []
    for graph in graphs:
        names += [*graph.inputs, *_names(operators(graph, granularity)), *(e.name for e in graph.layers)]
    known = {*names, RESULT, *(part for each in names for part in each.split(_JOINED))}
    if name not in known and not known.issuperset(name.rstrip("'").split(_JOINED)):
        raise _unknown(name, names)


def explain(
    plan: Plan, costs: Costs, graph: LayerGraph, granularity: Granularity, machine: Machine, name: str
) -> tuple[str, Table]:
    """The costs of the operator of a name, or of that which holds the layer of that name: a line and a table.

    A run of operators, as the plan names it, costs what they do together. Raises OptionError, which lists
    names that are close, where the plan has nothing of that name.
    """
    pieces = operators(graph, granularity)
    placed = next((each for each in plan.operators if each.name == name), None)
    asked = [each for each in pieces if each.name == name] or [e for e in pieces if name in e.layers]
    if not asked and placed is not None:
        asked = [each for each in pieces if not {*each.layers}.isdisjoint(placed.layers)]
    holder = placed or next((h for h in plan.operators for e in asked if e.layers[0] in h.layers), None)
    if holder is None:
        raise _unknown(name, [each.name for each in plan.operators] + _names(pieces))
    shown = Table(caption=_ALONE, caption_justify="left")
    rows = _rows(costs, asked, machine) or [_planned(holder)]
    for at, heading in enumerate(("device", "implementation", "threads", "ms", "how known")):
        width = max(len(heading), *(longest_part(row[at]) for row in rows))
        shown.add_column(
            heading, justify="right" if heading in ("threads", "ms") else "left", min_width=width
        )
    for row in rows:
        shown.add_row(*map(Cell, row))
    known = [cost for each in asked for cost in costs.costs.get(each.name, ())]
    return _line(name, asked, holder, known), shown


def _line(
    name: str, asked: Sequence[Operator], holder: PlannedOperator, known: Sequence[OperatorCost]
) -> str:
    """Where the plan has what was asked for; its threads, where they are not those of the known costs."""
    told = name
    if len(asked) == 1 and asked[0].name != name:
        told += f" is one of {len(asked[0].layers)} layers of operator {asked[0].name}, whose costs these are"
    told += f": in the plan on {holder.device}, by {holder.implementation}"
    threads = {each.threads for each in known if each.device == holder.device}
    if threads and holder.threads not in threads:
        told += f" on {threads_phrase(holder.threads)}"
    inside = not asked or {*asked[0].layers} != {*holder.layers}
    if holder.name != name and inside:
        told += f", in {holder.name}, all of which takes {_ms(holder.seconds)} ms"
    return told


def _rows(costs: Costs, asked: Sequence[Operator], machine: Machine) -> list[tuple[str, ...]]:
    """A row for each implementation on each device, and one for each device that does not run them."""
    found: defaultdict[tuple[str, str, int], list[OperatorCost]] = defaultdict(list)
    for operator in asked:
        for cost in costs.costs.get(operator.name, ()):
            found[cost.device, cost.implementation, cost.threads].append(cost)
    rows: list[tuple[str, ...]] = []
    for device in machine.devices:
        for (name, implementation, threads), each in found.items():
            if name == device.name and len(each) == len(asked):
                seconds, origin = sum(cost.seconds for cost in each), least_sure(*(c.origin for c in each))
                rows.append((name, implementation, str(threads), _ms(seconds), origin))
        reasons = (costs.reasons.get((operator.name, device.name)) for operator in asked)
        refused = next((reason for reason in reasons if reason), None)
        if refused is not None:
            rows.append((device.name, "none", "", "-", refused))
    return rows


def _planned(holder: PlannedOperator) -> tuple[str, ...]:
    return (
        holder.device,
        holder.implementation,
        str(holder.threads),
        _ms(holder.seconds),
        holder.origin,
    )


def _names(pieces: Iterable[Operator]) -> list[str]:
    return [each.name for each in pieces]


def _unknown(name: str, names: Sequence[str]) -> OptionError:
    known = list(dict.fromkeys(names))
    close = difflib.get_close_matches(name, known, 5, 0.5) or [each for each in known if name in each][:5]
    told = f"close to it are {', '.join(close)}" if close else f"it has {', '.join(known[:5])}, ..."
    return OptionError(f"the plan has no operator {name!r}; {told}")


def _ms(seconds: float) -> str:
    return milliseconds(1e3 * seconds)
