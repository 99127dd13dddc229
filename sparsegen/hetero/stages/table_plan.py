"""The plan of a model in stages on one device whose table says what part of it each operator fills.

All is the table's: nothing is compiled or measured. Inputs and the result are on the host, and have their
ways; without a host they are stages of their own, which take no time. All groups of the first stage wait
until the program has started: their operators' seconds hold that, and how groups at once slow down there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sparsegen.devices import Device, describe_graph, estimate
from sparsegen.graph import LayerGraph
from sparsegen.hetero.operators.application_graph import CarriedGraph
from sparsegen.hetero.operators.cut import operators
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.plans.plan import (
    EMULATED,
    PASSED_ON,
    Group,
    Plan,
    PlannedOperator,
    PlannedTransfer,
    Stage,
)
from sparsegen.hetero.plans.posing import links_of
from sparsegen.hetero.plans.streams import Planned
from sparsegen.hetero.problem.problem import Link
from sparsegen.hetero.running.simulator import simulate
from sparsegen.hetero.solver.bounds import ROUNDING
from sparsegen.hetero.stages.search import apart
from sparsegen.hetero.stages.shared_search import chosen_stages
from sparsegen.hetero.stages.sharing import SharedStages, SharedUnit, ends_at_once, greedy, least_possible

_Span = tuple[float, float]
_Step = tuple[float, float]
"""Seconds that an operator takes, and the share of the capacity that it fills."""


def leaves_room(device: Device) -> bool:
    """Whether a device's table says what part of it an operator fills, so that others may run beside it."""
    profile = device.profile
    return profile is not None and bool(profile.elements or profile.share)


def in_table_stages(alone: Planned, whole: CarriedGraph) -> Planned:
    """The quickest of a model's sequential plan on its only device, which leaves room, and its stages there.

    The stages are found, or the greedy ones; what was not taken is among the plan's alternatives. The bound
    is one of any stages.
    """
    staging = _Staging.of(alone, whole)
    plan, device = alone.plan, staging.device.name
    best = staging.plan(*chosen_stages(staging.units))
    others = {f"greedy stages, {device}": staging.plan(staging.units, greedy(staging.units)).makespan}
    if best.makespan < plan.makespan * (1 - ROUNDING):
        others[f"sequential, {device}"] = plan.makespan
        plan = best
    bound = staging.bound()
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
    """A sequential plan on a device, and its operators, from which stages are made.

    units: of the operators, in their order. read: what the result reads. start: seconds that a program takes
    to start. back: from the device to the host; None where inputs and results lie on the device.
    """

    alone: Plan
    device: Device
    pieces: Sequence[Operator]
    units: Sequence[SharedUnit]
    read: tuple[str, ...]
    start: float
    back: Link | None

    @classmethod
    def of(cls, alone: Planned, whole: CarriedGraph) -> _Staging:
        """What the only device that computes has to run."""
        machine, pieces = alone.machine, operators(whole.graph, "layer")
        (device,) = machine.computing
        assert device.profile is not None
        owner = {value.name: each.name for each in pieces for value in each.outputs}
        read = tuple(dict.fromkeys(owner.get(name, name) for name in whole.results_read))
        ways = {(each.source, each.target): each for each in links_of(machine)}
        back = ways.get((device.name, machine.host))
        start = 0.0 if back is None else device.profile.invocation_overhead.value
        units = _units(whole.graph, device, pieces)
        return cls(alone.plan, device, pieces, units, read, start, back)

    def bound(self) -> float:
        """Seconds that no stages are below: an input comes, all runs, a result goes."""
        work, longest = least_possible(self.units)
        came = [each.seconds for each in self._there()]
        gone = [] if self.back is None else [self.back.seconds(each.bytes) for each in self._given()]
        return min(came, default=0.0) + max(work, longest + self.start) + min(gone, default=0.0)

    def plan(self, chains: Sequence[SharedUnit], found: SharedStages) -> Plan:
        """The plan of stages, each of chains of operators; its bound is still the sequential one's."""
        groups = [_groups(chains, members) for members in found.stages]
        inputs = [each for each in self.alone.operators[:-1] if each.implementation == PASSED_ON]
        result = replace(self.alone.operators[-1], reads=self.read)
        stages = [Stage(each, 0.0) for each in groups]
        if self.back is None:
            edges = (Group(tuple(each.name for each in inputs), 1),), (Group((result.name,), 1),)
            first, last = (Stage(each, 0.0) for each in edges)
            stages = [first, *stages, last]
        return _at_its_times(
            replace(
                self.alone,
                form="stages",
                operators=(*inputs, *self._operators(self._starting(groups[0])), result),
                transfers=(*self._there(), *self._back(groups)),
                method="stages",
                stages=tuple(stages),
            )
        )

    def _starting(self, stage: Sequence[Group]) -> dict[str, _Step]:
        """The first stage's operators, with the program's start: nothing in it is slowed down beyond this."""
        if not self.start:
            return {}
        steps = {unit.layers[0]: unit.steps[0] for unit in self.units}
        told = [((self.start, 0.0), *(steps[name] for name in group.operators)) for group in stage]
        found: dict[str, _Step] = {}
        for group, (started, *ends) in zip(stage, ends_at_once(told), strict=True):
            begin = started - self.start
            for name, end in zip(group.operators, ends, strict=True):
                found[name], begin = (end - begin, min(steps[name][1], 1 / len(stage))), end
        return found

    def _operators(self, others: Mapping[str, _Step]) -> list[PlannedOperator]:
        """The operators, by what their units say, or, of some, what `others` say."""
        steps = {unit.layers[0]: unit.steps[0] for unit in self.units} | dict(others)
        return [
            PlannedOperator(
                name=each.name,
                reads=each.reads,
                carries=(),
                layers=each.layers,
                bytes=each.bytes,
                device=self.device.name,
                implementation=EMULATED,
                threads=1,
                seconds=steps[each.name][0],
                origin="table",
                start=0.0,
                end=steps[each.name][0],
                utilisation=steps[each.name][1],
            )
            for each in self.pieces
        ]

    def _given(self) -> list[Operator]:
        """The operators that give results."""
        return [each for each in self.pieces if each.name in self.read]

    def _there(self) -> list[PlannedTransfer]:
        """The inputs' ways to the device."""
        return [each for each in self.alone.transfers if each.target == self.device.name]

    def _back(self, stages: Sequence[Sequence[Group]]) -> Iterator[PlannedTransfer]:
        """The results' ways to the host, in the order of their stages."""
        if self.back is None:
            return
        turn = {n: at for at, groups in enumerate(stages) for group in groups for n in group.operators}
        for each in sorted(self._given(), key=lambda each: turn[each.name]):
            seconds, way = self.back.seconds(each.bytes), (self.back.source, self.back.target)
            yield PlannedTransfer(
                *(each.name, *way, each.bytes, seconds, 0.0, seconds),
                exclusive=self.back.exclusive,
                buses=self.back.buses,
            )


def _groups(chains: Sequence[SharedUnit], members: Sequence[int]) -> tuple[Group, ...]:
    """The groups of a stage: chains that depend on each other are in one."""
    reads = [sum(1 << read for read in unit.reads) for unit in chains]
    parts = apart(sum(1 << each for each in members), reads)
    return tuple(Group(tuple(name for each in part for name in chains[each].layers), 1) for part in parts)


def _at_its_times(plan: Plan) -> Plan:
    """The plan with the times that its simulation has; operators by their starts."""
    timeline = simulate(plan)
    ran = {each.operator: (each.start, each.end) for each in timeline.events if each.kind == "operator"}
    sent = {each.operator: (each.start, each.end) for each in timeline.events if each.kind == "transfer"}
    timed = [replace(each, start=ran[each.name][0], end=ran[each.name][1]) for each in plan.operators]
    return replace(
        plan,
        operators=tuple(sorted(timed, key=lambda each: each.start)),
        transfers=tuple(
            replace(t, start=sent[t.operator][0], end=sent[t.operator][1]) for t in plan.transfers
        ),
        stages=tuple(replace(each, seconds=_seconds(each, ran)) for each in plan.stages),
        makespan=timeline.makespan,
        period=timeline.makespan,
    )


def _seconds(stage: Stage, ran: Mapping[str, _Span]) -> float:
    """From a stage's first start to its last end."""
    spans = [ran[name] for group in stage.groups for name in group.operators]
    return max(end for _, end in spans) - min(start for start, _ in spans)
