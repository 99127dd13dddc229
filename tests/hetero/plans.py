"""Plans of tests: made by hand, and at random with times that are whole numbers of seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from sparsegen.devices import Device, DeviceKind, Section, kinds, register
from sparsegen.hetero.plans.plan import (
    Goal,
    Group,
    Plan,
    PlanDevice,
    PlannedOperator,
    PlannedTransfer,
    Stage,
    Turn,
    implementations_on,
)
from sparsegen.hetero.running.simulator import simulate
from tests.hetero.ticks import ticks


class Toy(DeviceKind):
    """Of the devices of plans that tests make: it has no settings."""

    name = "toy"

    def make(self, name: str, settings: Section) -> Device:
        return Device(name, self.name)


if Toy.name not in kinds():
    register(Toy())


def operator(
    name: str, device: str, seconds: float, reads: str | Sequence[str] = (), **other: Any
) -> PlannedOperator:
    """An operator that begins at once; `timed` tells when it does in a plan."""
    others: dict[str, Any] = {"carries": (), "layers": (), "bytes": 8, "implementation": "toy", "threads": 1}
    return PlannedOperator(
        name=name,
        reads=tuple(reads),
        device=device,
        seconds=seconds,
        origin="table",
        start=0.0,
        end=seconds,
        **{**others, **other},
    )


def plan_of(
    operators: Iterable[PlannedOperator],
    crossing: float | Mapping[tuple[str, str], float] = 0.0,
    *,
    exclusive: bool = False,
    buses: str = "",
    turns: tuple[Mapping[str, int], int] | None = None,
    goal: Goal = "throughput",
    kind: str = "toy",
    **other: Any,
) -> Plan:
    """A plan of these operators, as early as they can be; transfers take `crossing`, or that of an edge.

    buses: devices that have one. turns: starts of the operators for the first input, and a period, by which
    devices and transfers take turns.
    """
    starts, period = turns or ({}, 1)
    operators = tuple(sorted(operators, key=lambda each: starts.get(each.name, 0)))
    behind = {name: divmod(start, period) for name, start in starts.items()}
    taken = sorted(starts, key=lambda name: behind[name][1])
    operators = tuple(
        replace(each, implementation=implementations_on(kind)[0]) if each.implementation == "toy" else each
        for each in operators
    )
    placed = {each.name: each.device for each in operators}
    crossings = {
        (name, placed[name], each.device): None
        for each in operators
        for name in (*each.reads, *each.carries)
        if placed[name] != each.device
    }
    transfers = []
    for name, source, target in sorted(crossings, key=lambda way: _turn(way[0], list(placed), behind)):
        seconds = crossing[name, target] if isinstance(crossing, Mapping) else crossing
        taking = tuple(each for each in buses if each in (source, target))
        sent = PlannedTransfer(name, source, target, 8, seconds, 0.0, seconds, exclusive, taking)
        transfers.append(replace(sent, behind=behind[name][0] if behind else 0))
    replicas: Sequence[Mapping[str, str]] = other.get("replicas", ({},))
    used = {*placed.values(), *(name for each in replicas for name in each.values())}
    plan = Plan(
        goal=goal,
        form="stages" if other.get("stages") else "copies" if len(replicas) > 1 else "pipelined",
        model="toy",
        fingerprint="",
        machine="",
        devices=tuple(PlanDevice(name, kind, {}) for name in sorted(used)),
        operators=operators,
        transfers=tuple(transfers),
        makespan=0.0,
        period=0.0,
        bound=0.0,
        optimal=False,
        method="toy",
        turns=tuple(Turn(name, behind[name][0]) for name in taken),
        **other,
    )
    return timed(plan)


def _turn(name: str, order: Sequence[str], behind: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    return behind.get(name, (0, 0))[1], order.index(name)


def timed(plan: Plan, inputs: int = 24) -> Plan:
    """A plan with the times that its stream has, if those are whole numbers of seconds."""
    first = ticks(replace(plan, depth=1), 1)
    operators = [
        replace(each, start=float(first.started[each.name, 0]), end=float(first.ended[each.name, 0]))
        for each in plan.operators
    ]
    transfers = []
    for each in plan.transfers:
        start = float(first.sent[each.operator, each.target, 0])
        transfers.append(replace(each, start=start, end=start + each.seconds))
    return replace(
        plan,
        operators=tuple(operators),
        transfers=tuple(transfers),
        makespan=max(each.end for each in operators),
        period=simulate(plan, inputs + 4 * plan.depth if plan.turns else inputs).period,
    )


@st.composite
def random_plans(draw: st.DrawFn, *, most: int = 6, copies: bool = True) -> Plan:
    """A sound plan for a stream: any graph, on up to three devices, with state, queues and copies."""
    count = draw(st.integers(1, most))
    names = [f"o{number}" for number in range(count)]
    devices = draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=count, max_size=count))
    with_copies = copies and draw(st.booleans())
    operators = []
    for number, name in enumerate(names):
        reads = draw(st.sets(st.sampled_from(names[:number]), max_size=3)) if number else set()
        carries = set() if with_copies else draw(st.sets(st.sampled_from(names), max_size=1))
        seconds = float(draw(st.integers(1, 5)))
        operators.append(operator(name, devices[number], seconds, sorted(reads), carries=tuple(carries)))
    crossing = {(name, device): float(draw(st.integers(0, 3))) for name in names for device in "abc"}
    others = [{each: f"{each}{number}" for each in set(devices)} for number in range(draw(st.integers(1, 2)))]
    replicas = ({}, *others) if with_copies else ({},)
    depth, queue, turns = draw(st.integers(1, 5)), draw(st.integers(1, 3)), None
    if draw(st.booleans()):
        turns, periods = _turns(draw, operators)
        depth, queue = len(replicas) * (periods + depth), periods + queue
    return plan_of(
        operators,
        crossing,
        exclusive=draw(st.booleans()),
        buses=draw(st.sampled_from(["", "", "a", "bc", "abc"])),
        depth=depth,
        queue=queue,
        turns=turns,
        replicas=replicas,
    )


def _turns(draw: st.DrawFn, operators: Sequence[PlannedOperator]) -> tuple[tuple[dict[str, int], int], int]:
    """Starts after those of what operators read, and before what carries them; and periods until the last."""
    starts: dict[str, int] = {}
    for each in operators:
        ready = max((starts[name] + 1 for name in each.reads), default=0)
        starts[each.name] = ready + draw(st.integers(0, 4))
    back = [starts[name] + 1 - starts[each.name] for each in operators for name in each.carries]
    period = max([draw(st.integers(2, 8)), *back])
    return (starts, period), max(starts.values()) // period + 1


@st.composite
def random_stages(draw: st.DrawFn) -> Plan:
    """A sound plan of stages: each of its groups is a chain, which reads of the stages before."""
    before: list[str] = []
    operators: list[PlannedOperator] = []
    stages = []
    for stage in range(draw(st.integers(1, 3))):
        groups = []
        for group in range(draw(st.integers(1, 3))):
            chain = [f"o{stage}{group}{place}" for place in range(draw(st.integers(1, 3)))]
            for place, name in enumerate(chain):
                reads = draw(st.sets(st.sampled_from(before), max_size=2)) if before else set()
                reads |= set(chain[place - 1 : place])
                seconds = float(draw(st.integers(1, 5)))
                operators.append(operator(name, "a", seconds, sorted(reads), utilisation=0.25))
            groups.append(Group(tuple(chain), 1))
        seconds_of = {each.name: each.seconds for each in operators}
        longest = max(sum(seconds_of[name] for name in group.operators) for group in groups)
        stages.append(Stage(tuple(groups), longest))
        before += [name for group in groups for name in group.operators]
    return plan_of(operators, stages=tuple(stages), depth=draw(st.integers(1, 3)))
