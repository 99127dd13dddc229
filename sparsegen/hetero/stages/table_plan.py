"""The plan of a model in stages on one device whose table says what part of it each operator fills.

All is the table's: nothing is compiled or measured. The inputs and the result are stages of their own, which
take no time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sparsegen.devices import Device, describe_graph, estimate
from sparsegen.graph import LayerGraph
from sparsegen.hetero.operators.application_graph import CarriedGraph
from sparsegen.hetero.operators.cut import operators
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.plans.plan import EMULATED, Group, Plan, PlannedOperator, Stage
from sparsegen.hetero.plans.streams import Planned
from sparsegen.hetero.solver.bounds import ROUNDING
from sparsegen.hetero.stages.search import apart
from sparsegen.hetero.stages.shared_search import chosen_stages
from sparsegen.hetero.stages.sharing import (
    SharedStages,
    SharedUnit,
    ends_at_once,
    greedy,
    least_possible,
    sequential,
)

_Span = tuple[float, float]


def leaves_room(device: Device) -> bool:
    """Whether a device's table says what part of it an operator fills, so that others may run beside it."""
    profile = device.profile
    return profile is not None and bool(profile.elements or profile.share)


def in_table_stages(alone: Planned, whole: CarriedGraph) -> Planned:
    """The quickest of a model's sequential plan on its only device, which leaves room, and its stages there.

    The stages are found, or the greedy ones; what was not taken is among the plan's alternatives. The bound
    is one of any stages.
    """
    pieces, plan = operators(whole.graph, "layer"), alone.plan
    units = _units(whole.graph, alone.machine.devices[0], pieces)
    chains, best = chosen_stages(units)
    one_by_one, bound = sequential(units).seconds, max(least_possible(units))
    device = alone.machine.host
    others = {f"greedy stages, {device}": greedy(units).seconds}
    if best.seconds < one_by_one * (1 - ROUNDING):
        plan = _Staging(plan, whole, pieces, units, chains, best).plan()
        others[f"sequential, {device}"] = one_by_one
    optimal = plan.makespan <= bound * (1 + ROUNDING)
    plan = replace(plan, bound=min(bound, plan.makespan), optimal=optimal)
    return replace(alone, plan=plan).beside(others)


def _units(graph: LayerGraph, device: Device, pieces: Sequence[Operator]) -> list[SharedUnit]:
    """The operators as units, by the table."""
    assert device.profile is not None
    capacity = 1.0 if device.profile.capacity is None else device.profile.capacity.value
    described = describe_graph(graph)
    number = {each.name: at for at, each in enumerate(pieces)}
    units = []
    for each in pieces:
        costs = [estimate(device.profile, described[name]) for name in each.layers]
        seconds = sum(cost.seconds for cost in costs)
        work = sum(cost.seconds * min(1.0, cost.utilisation / capacity) for cost in costs)
        steps = ((seconds, work / seconds if seconds else 0.0),)
        units.append(SharedUnit.of([each.name], sorted(number[n] for n in each.reads if n in number), steps))
    return units


@dataclass(frozen=True, eq=False)
class _Staging:
    """A sequential plan and what takes its operators' place: stages of chains of operators, a unit each."""

    alone: Plan
    whole: CarriedGraph
    pieces: Sequence[Operator]
    units: Sequence[SharedUnit]
    chains: Sequence[SharedUnit]
    found: SharedStages

    def plan(self) -> Plan:
        """The plan of the stages; its bound is still the sequential one's."""
        stages, spans = self._timed()
        makespan = sum(stage.seconds for stage in stages)
        known = {each.name: each for each in self.alone.operators}
        inputs = [replace(known[name], start=0.0, end=0.0) for name in self.whole.inputs]
        owner = {value.name: each.name for each in self.pieces for value in each.outputs}
        read = tuple(dict.fromkeys(owner.get(name, name) for name in self.whole.results_read))
        result = replace(self.alone.operators[-1], reads=read, start=makespan, end=makespan)
        first, last = (_in_one_group(each) for each in (inputs, [result]))
        return replace(
            self.alone,
            form="stages",
            operators=(*inputs, *self._operators(spans), result),
            makespan=makespan,
            period=makespan,
            method="stages",
            stages=(first, *stages, last),
        )

    def _timed(self) -> tuple[list[Stage], dict[str, _Span]]:
        """The stages, and when each operator runs."""
        reads = [sum(1 << read for read in unit.reads) for unit in self.chains]
        stages: list[Stage] = []
        spans: dict[str, _Span] = {}
        begin = 0.0
        for members in self.found.stages:
            parts = apart(sum(1 << each for each in members), reads)
            named = [[name for each in part for name in self.chains[each].layers] for part in parts]
            ended = ends_at_once(
                [tuple(s for each in part for s in self.chains[each].steps) for part in parts]
            )
            for names, ends in zip(named, ended, strict=True):
                marks = [begin, *(begin + end for end in ends)]
                spans |= dict(zip(names, pairwise(marks), strict=True))
            seconds = max(ends[-1] for ends in ended)
            stages.append(Stage(tuple(Group(tuple(names), 1) for names in named), seconds))
            begin += seconds
        return stages, spans

    def _operators(self, spans: Mapping[str, _Span]) -> list[PlannedOperator]:
        """The operators by their starts; what takes no time comes before what reads it."""
        steps = {unit.layers[0]: unit.steps[0] for unit in self.units}
        made = [
            PlannedOperator(
                name=each.name,
                reads=each.reads,
                carries=(),
                layers=each.layers,
                bytes=each.bytes,
                device=self.alone.devices[0].name,
                implementation=EMULATED,
                threads=1,
                seconds=steps[each.name][0],
                origin="table",
                start=spans[each.name][0],
                end=spans[each.name][1],
                utilisation=steps[each.name][1],
            )
            for each in self.pieces
        ]
        return sorted(made, key=lambda each: each.start)


def _in_one_group(operators: Sequence[PlannedOperator]) -> Stage:
    """A stage of what takes no time."""
    return Stage((Group(tuple(each.name for each in operators), 1),), 0.0)
