"""Whether a plan is sound: a check of its own, which knows nothing of how the plan was made.

Every operator is there once, on a device of the plan, computed by what such a device has, and reads what runs
before it; a model's plan has a result, and all between that and the inputs has layers; no layer is in two;
each result goes once to each other device that needs it, and nothing else goes anywhere; times fit what they
wait for; a device does one thing at a time, or the groups of one stage, and so does a bus; and the plan's
makespan and period are those of its entries. Whether it is one of a certain model tells `check_model`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any

from sparsegen.errors import PlanError
from sparsegen.hetero.plans.check_devices import (
    core_faults,
    implementation_faults,
    layer_faults,
    thread_faults,
)
from sparsegen.hetero.plans.check_roles import role_faults
from sparsegen.hetero.plans.check_stages import stage_faults
from sparsegen.hetero.plans.check_turns import turn_faults
from sparsegen.hetero.plans.plan import Plan, PlannedOperator, PlannedTransfer

_TOLERANCE = 1e-6  # of the makespan: what sums of seconds may differ by
_LARGEST = 1e18  # sums of such numbers stay finite


def check_plan(plan: Plan, source: str = "the plan") -> None:
    """Raises PlanError, which names `source` and the first faults, for a plan that cannot be run."""
    found = faults(plan)
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise PlanError(f"{source} is unsound: {'; '.join(found[:3])}{more}; make the plan again")


def faults(plan: Plan) -> list[str]:
    """What is wrong with a plan, a sentence each."""
    found = [*_number_faults(plan), *_name_faults(plan)]
    if found:  # what follows takes names and numbers for good
        return found
    found = [*_order_faults(plan), *_transfer_faults(plan), *_replica_faults(plan)]
    found += [*core_faults(plan), *thread_faults(plan), *implementation_faults(plan), *layer_faults(plan)]
    found += stage_faults(plan)
    found += role_faults(plan) if plan.fingerprint and not found else ()
    return found or [*turn_faults(plan)] or [*_time_faults(plan), *_device_faults(plan), *_total_faults(plan)]


def _number_faults(plan: Plan) -> Iterator[str]:
    for place, number in _numbers(plan, ""):
        if isinstance(number, float) and not math.isfinite(number):
            yield f"{place} is {number}, where a finite number is expected"
        elif number < 0:
            yield f"{place} is {number}, which is negative"
        elif number > _LARGEST:
            yield f"{place} is too large, where {_LARGEST:g} at most is expected"
    counted = [("depth", plan.depth), ("queue", plan.queue), ("replicas", len(plan.replicas))]
    counted += [(f"the threads of operator {each.name}", each.threads) for each in plan.operators]
    for name, count in counted:
        if count < 1:
            yield f"{name} is {count}, where at least 1 is expected"
    for each in plan.operators:
        if each.utilisation > 1:
            yield f"operator {each.name} utilises {each.utilisation:g} of its device, which is more than all"
    if plan.goal == "latency" and plan.depth > 1:
        yield f"{plan.depth} inputs may be under way at once, where the goal is latency"


def _numbers(value: Any, place: str) -> Iterator[tuple[str, float]]:
    """All numbers of a plan but those of devices' settings, with their places."""
    if is_dataclass(value):
        for each in fields(value):
            if each.name != "settings":
                yield from _numbers(getattr(value, each.name), f"{place}.{each.name}".strip("."))
    elif isinstance(value, tuple):
        for number, each in enumerate(value):
            yield from _numbers(each, f"{place}[{number}]")
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _numbers(each, f"{place}.{name}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, value


def _name_faults(plan: Plan) -> Iterator[str]:
    """Names that are there twice, and those that name nothing."""
    devices, operators = {d.name for d in plan.devices}, {o.name for o in plan.operators}
    named = (("a device", devices), ("an operator", operators))
    if not plan.operators:
        yield "it has no operators"
    yield from (f"{kind} has an empty name" for kind, known in named if "" in known)
    yield from _twice("device", [d.name for d in plan.devices])
    yield from _twice("operator", [o.name for o in plan.operators])
    for each in plan.operators:
        if each.device not in devices:
            yield f"operator {each.name} runs on {each.device!r}, which is no device of the plan"
        for word, names in (("reads", each.reads), ("carries", each.carries)):
            yield from (
                f"operator {each.name} {word} {n!r}, which is no operator"
                for n in names
                if n not in operators
            )
            yield from _twice(f"operator {each.name} {word}: operator", names)
    for transfer in plan.transfers:
        if transfer.operator not in operators:
            yield f"{_way(transfer)} is of no operator of the plan"
        for name in (transfer.source, transfer.target, *transfer.buses):
            if name not in devices:
                yield f"{_way(transfer)} names {name!r}, which is no device of the plan"


def _twice(kind: str, names: Any) -> Iterator[str]:
    yield from (f"{kind} {name!r} is there {n} times" for name, n in Counter(names).items() if n > 1)


def _order_faults(plan: Plan) -> Iterator[str]:
    """Operators before what they read, and those that wait for each other in a circle."""
    seen: set[str] = set()
    waits = {each.name: set(each.reads) for each in plan.operators}
    last: dict[str, str] = {}  # on each device
    for each in plan.operators:
        for name in each.reads:
            if name not in seen:
                yield f"operator {each.name} comes before {name}, which it reads"
        seen.add(each.name)
        if not plan.stages and each.device in last:
            waits[each.name].add(last[each.device])
        last[each.device] = each.name
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        circle = " and ".join(reversed(error.args[1]))
        yield f"operators wait for each other in a circle, in the order of their devices: {circle}"


def _transfer_faults(plan: Plan) -> Iterator[str]:
    """Results that do not get to a device that needs them, or that go where none does, or twice."""
    placed = {each.name: each for each in plan.operators}
    needed = {
        (name, placed[name].device, each.device)
        for each in plan.operators
        for name in (*each.reads, *each.carries)
        if placed[name].device != each.device
    }
    there = Counter((each.operator, each.source, each.target) for each in plan.transfers)
    for operator, source, target in sorted(needed - there.keys()):
        yield f"the result of {operator} is needed on {target}, and nothing brings it there from {source}"
    for transfer in plan.transfers:
        key = transfer.operator, transfer.source, transfer.target
        if key not in needed:
            yield f"{_way(transfer)} is of no use"
        elif there[key] > 1:
            yield f"{_way(transfer)} is there {there[key]} times"
        if transfer.bytes != placed[transfer.operator].bytes:
            size = placed[transfer.operator].bytes
            yield f"{_way(transfer)} is of {transfer.bytes:,} bytes, and the result has {size:,}"


def _replica_faults(plan: Plan) -> Iterator[str]:
    """Copies on devices that cannot stand in, or that break a recurrence."""
    kinds = {each.name: each.kind for each in plan.devices}
    used = list(dict.fromkeys(each.device for each in plan.operators))
    for number, replica in enumerate(plan.replicas):
        for device, other in replica.items():
            if device not in used or other not in kinds:
                yield f"copy {number} has {other!r} stand in for {device!r}; one of them is no device in use"
            elif kinds[device] != kinds[other]:
                yield f"copy {number} has {other}, a {kinds[other]}, stand in for {device}, a {kinds[device]}"
        yield from _twice(f"copy {number}: device", [replica.get(device, device) for device in used])
    places = [tuple(replica.get(device, device) for device in used) for replica in plan.replicas]
    if len(set(places)) < len(places):
        yield "two copies are on the same devices"
    if len(plan.replicas) > 1 and plan.form not in ("copies", "pipelined"):
        yield f"it has {len(plan.replicas)} copies, and its form is {plan.form}"
    if plan.form == "copies" and len(plan.replicas) < 2:
        yield "it is of copies, and has one"
    moved = {d for d, *others in zip(used, *places, strict=True) if len(set(others)) > 1}
    placed = {each.name: each.device for each in plan.operators}
    for each in plan.operators:
        for name in each.carries:
            if moved & {each.device, placed[name]}:
                yield f"operator {each.name} carries {name} over from one copy to the next: they cannot"
    if plan.form == "sequential" and len(used) > 1:
        yield f"it is sequential, and runs on {', '.join(used)}"


def _time_faults(plan: Plan) -> Iterator[str]:
    """Operators and transfers that begin before what they wait for has ended, or last longer or shorter."""
    slack = _slack(plan)
    placed = {each.name: each for each in plan.operators}
    arrives = {(each.operator, each.target): each.end for each in plan.transfers}
    for each in plan.operators:
        if not plan.stages and abs(each.end - each.start - each.seconds) > slack:
            yield f"operator {each.name} takes {each.seconds:g} s, and runs for {each.end - each.start:g} s"
        for name in each.reads:
            there = arrives.get((name, each.device), placed[name].end)
            if each.start < there - slack:
                yield f"operator {each.name} begins at {each.start:g} s; {name} is there at {there:g} s"
    for transfer in plan.transfers:
        if abs(transfer.end - transfer.start - transfer.seconds) > slack:
            taken = transfer.end - transfer.start
            yield f"{_way(transfer)} takes {transfer.seconds:g} s, and lasts {taken:g} s"
        if transfer.start < placed[transfer.operator].end - slack:
            yield f"{_way(transfer)} begins before {transfer.operator} has ended"


def _device_faults(plan: Plan) -> Iterator[str]:
    """Devices, buses, and links that take one transfer at a time, that do two things at once."""
    slack = _slack(plan)
    on_device: defaultdict[str, list[PlannedOperator]] = defaultdict(list)
    for operator in plan.operators if not plan.stages else ():
        on_device[operator.device].append(operator)
    for device, operators in on_device.items():
        for before, after in pairwise(operators):
            if after.start < before.end - slack:
                yield f"device {device} begins {after.name} before {before.name} has ended"
    on_bus: defaultdict[str, list[PlannedTransfer]] = defaultdict(list)
    for transfer in plan.transfers:
        for bus in _buses(transfer):
            on_bus[bus].append(transfer)
    for bus, transfers in on_bus.items():
        for first, second in pairwise(sorted(transfers, key=lambda each: (each.start, each.end))):
            if second.start < first.end - slack:
                yield f"{_way(second)} begins before that of {first.operator} has ended, on {bus}"


def _total_faults(plan: Plan) -> Iterator[str]:
    """A makespan or a period that is not that of the entries."""
    slack = _slack(plan)
    last = max(each.end for each in plan.operators)
    if abs(plan.makespan - last) > slack:
        yield f"its makespan is {plan.makespan:g} s, and the last operator ends at {last:g} s"
    latest = max([last, *(each.end for each in plan.transfers)])
    if plan.period > latest + slack:
        yield f"its period is {plan.period:g} s, and one input takes {latest:g} s"
    for what, seconds in [*_loads(plan), *_recurrences(plan)]:
        if plan.period < seconds - slack:
            yield f"its period is {plan.period:g} s, and {what} takes {seconds:g} s for each input"
    value, word = (plan.makespan, "makespan") if plan.goal == "latency" else (plan.period, "period")
    if plan.bound > value + slack:
        yield f"its {word} is {value:g} s, and no plan's can be below {plan.bound:g} s"
    if plan.optimal and plan.bound < value - slack:
        yield f"it is to be optimal, and its {word} is {value:g} s, above the bound of {plan.bound:g} s"


def _loads(plan: Plan) -> Iterator[tuple[str, float]]:
    """Seconds an input, on average, that each device and each bus works."""
    planned: defaultdict[str, float] = defaultdict(float)
    if plan.stages:
        seconds = {each.name: each.seconds for each in plan.operators}
        longest = (max(sum(seconds[n] for n in g.operators) for g in s.groups) for s in plan.stages)
        first = plan.stages[0].groups[0].operators[0]
        planned[next(each.device for each in plan.operators if each.name == first)] = sum(longest)
    staged = plan.staged
    for each in plan.operators:
        if each.name not in staged:
            planned[each.device] += each.seconds
    loads: defaultdict[str, float] = defaultdict(float)
    for replica in plan.replicas:
        for device, load in planned.items():
            loads[replica.get(device, device)] += load / len(plan.replicas)
    yield from ((f"device {device}", load) for device, load in loads.items())
    on_bus: defaultdict[str, float] = defaultdict(float)
    for transfer in plan.transfers:
        for bus in _buses(transfer):
            on_bus[bus] += transfer.seconds / len(plan.replicas)
    yield from on_bus.items()


def _recurrences(plan: Plan) -> Iterator[tuple[str, float]]:
    """Seconds from each operator that carries a result, to that result's being there for the next input."""
    crossing = {(each.operator, each.target): each.seconds for each in plan.transfers}
    for first in plan.operators:
        if not first.carries:
            continue
        takes = {first.name: first.seconds}
        for each in plan.operators:
            ways = (takes[n] + crossing.get((n, each.device), 0.0) for n in each.reads if n in takes)
            longest = max(ways, default=-1.0)
            if longest >= 0 and each.name != first.name:
                takes[each.name] = longest + each.seconds
        for name in first.carries:
            if name in takes:
                way = takes[name] + crossing.get((name, first.device), 0.0)
                yield f"the recurrence of {first.name} and {name}", way


def _buses(transfer: PlannedTransfer) -> list[str]:
    """What a transfer has for itself."""
    own = [f"the link from {transfer.source} to {transfer.target}"] if transfer.exclusive else []
    return [*own, *(f"the bus of {device}" for device in transfer.buses)]


def _slack(plan: Plan) -> float:
    return 1e-9 + _TOLERANCE * plan.makespan


def _way(transfer: PlannedTransfer) -> str:
    return f"the transfer of {transfer.operator} from {transfer.source} to {transfer.target}"
