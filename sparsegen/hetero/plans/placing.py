"""Plans: a model's operators placed on a machine, for the goal that is asked for, by the solver's answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sparsegen.devices import Machine, make_device
from sparsegen.devices.machine import connect
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.plans.plan import (
    MIXED,
    PASSED_ON,
    Form,
    Plan,
    PlanDevice,
    PlannedOperator,
    PlannedTransfer,
)
from sparsegen.hetero.plans.posing import Posed
from sparsegen.hetero.plans.segments import Segment, segments_of
from sparsegen.hetero.problem.problem import Pipelining, Problem, Schedule, Task
from sparsegen.hetero.solver.heft import heft
from sparsegen.hetero.solver.instance import Instance
from sparsegen.hetero.solver.retime import retime
from sparsegen.hetero.solver.solve import best_alone
from sparsegen.hetero.solver.steady import steady
from sparsegen.target import parse_target


@dataclass(frozen=True)
class Subject:
    """What a plan is of: the user's name of the model, a digest of its graph, the CPU that was measured."""

    model: str
    fingerprint: str
    machine: str


def machine_name(machine: Machine) -> str:
    """The CPU, as LLVM calls it, where a real device takes part; else nothing."""
    return parse_target().name if any(each.kind in ("cpu", "cuda") for each in machine.devices) else ""


def plan_of(
    posed: Posed,
    answer: Schedule | Pipelining,
    operators: Sequence[Operator],
    costs: Costs,
    machine: Machine,
    subject: Subject,
) -> Plan:
    """The plan of an answer: segments in its order, retimed, and the plans that were not taken."""
    problem = posed.problem
    tasks = {task.name: task for task in problem.tasks}
    if isinstance(answer, Pipelining):
        placement, order = dict(answer.placement), list(tasks)
    else:
        placement, order = ({r.task: r.device for r in answer.runs}, [r.task for r in answer.runs])
    places = {name: (device, _implementation(name, device, costs)) for name, device in placement.items()}
    alone = [*posed.inputs, posed.result]
    reads, carries = ({name: getattr(tasks[name], ways) for name in order} for ways in ("reads", "carries"))
    segments = segments_of(order, reads, places, alone, carries)
    names = _names(segments)
    whole = _as_problem(problem, segments, names, tasks)
    instance = Instance(whole)
    number = {name: at for at, name in enumerate(problem.devices)}
    placed = [number[each.device] for each in segments]
    timeline = retime(instance, placed, range(len(segments))).schedule(0.0, optimal=False, method="")
    planned = _planned(whole, segments, timeline, {each.name: each for each in operators}, costs, machine)
    transfers = _transfers(whole, timeline, planned)
    period = steady(instance, placed).period if isinstance(answer, Pipelining) else 0.0
    return _whole(answer, planned, transfers, period, machine, subject, alternatives(problem))


def _transfers(
    problem: Problem, timeline: Schedule, planned: Sequence[PlannedOperator]
) -> tuple[PlannedTransfer, ...]:
    """The ways of results to other devices, and then of those that are carried to one for the next input."""
    links = {(link.source, link.target): link for link in problem.links}
    sizes = {task.name: task.bytes for task in problem.tasks}

    def transfer(name: str, source: str, target: str, start: float, end: float) -> PlannedTransfer:
        exclusive = links[source, target].exclusive
        return PlannedTransfer(name, source, target, sizes[name], end - start, start, end, exclusive)

    found = {
        (each.task, each.target): transfer(each.task, each.source, each.target, each.start, each.end)
        for each in timeline.transfers
    }
    placed = {each.name: each for each in planned}
    for reader in planned:
        for name in reader.carries:
            source, target = placed[name], reader.device
            if source.device == target or (name, target) in found:
                continue
            link, start = links[source.device, target], source.end
            if link.exclusive:
                way = (source.device, target)
                start = max([start, *(e.end for e in found.values() if (e.source, e.target) == way)])
            end = start + link.seconds(sizes[name])
            found[name, target] = transfer(name, source.device, target, start, end)
    return tuple(found.values())


def _planned(
    problem: Problem,
    segments: Sequence[Segment],
    timeline: Schedule,
    operators: Mapping[str, Operator],
    costs: Costs,
    machine: Machine,
) -> tuple[PlannedOperator, ...]:
    runs = {run.task: run for run in timeline.runs}
    origins = {(name, cost.device): cost.origin for name, found in costs.costs.items() for cost in found}
    threads = {device.name: max(1, len(device.cores)) for device in machine.devices}

    def placed(task: Task, segment: Segment) -> PlannedOperator:
        inside = [operators[each] for each in segment.operators if each in operators]
        layers = tuple(layer for each in inside for layer in each.layers)
        by_torch = costs.by_torch.get(segment.device, ()) if segment.implementation == MIXED else ()
        return PlannedOperator(
            name=task.name,
            reads=task.reads,
            carries=task.carries,
            layers=layers,
            bytes=task.bytes,
            device=segment.device,
            implementation=segment.implementation,
            threads=threads[segment.device],
            seconds=runs[task.name].end - runs[task.name].start,
            origin=origins.get((segment.operators[0], segment.device), "table"),
            start=runs[task.name].start,
            end=runs[task.name].end,
            by_torch=tuple(each for each in layers if each in by_torch),
        )

    return tuple(placed(*each) for each in zip(problem.tasks, segments, strict=True))


def _whole(
    answer: Schedule | Pipelining,
    planned: tuple[PlannedOperator, ...],
    transfers: tuple[PlannedTransfer, ...],
    period: float,
    machine: Machine,
    subject: Subject,
    others: Mapping[str, float],
) -> Plan:
    """The plan; `period` is that of a stream through one copy."""
    loads: defaultdict[str, float] = defaultdict(float)
    for each in planned:
        loads[each.device] += each.seconds
    stream = isinstance(answer, Pipelining)
    replicas = answer.replicas if isinstance(answer, Pipelining) else ({},)
    used = {*loads, *(name for replica in replicas for name in replica.values())}
    makespan = max(each.end for each in planned)
    latest = max([makespan, *(each.end for each in transfers)])
    period = min(latest, period / len(replicas)) if stream else latest
    several: Form = "pipelined" if stream else "placed"
    form: Form = "copies" if len(replicas) > 1 else "sequential" if len(loads) == 1 else several
    return Plan(
        goal="throughput" if stream else "latency",
        form=form,
        model=subject.model,
        fingerprint=subject.fingerprint,
        machine=subject.machine,
        devices=tuple(PlanDevice(d.name, d.kind, d.settings) for d in machine.devices if d.name in used),
        operators=planned,
        transfers=transfers,
        makespan=makespan,
        period=period,
        bound=min(answer.bound, period if stream else makespan),
        optimal=answer.optimal if isinstance(answer, Schedule) else False,
        method=answer.method,
        depth=max(2, 2 * len(replicas), len(planned)) if stream else 1,
        replicas=replicas,
        alternatives=others,
    )


def alternatives(problem: Problem) -> dict[str, float]:
    """Seconds of one input by plans that are quickly had: the best single device alone, HEFT.

    Nothing where there is but one device.
    """
    found: dict[str, float] = {}
    if len(problem.devices) == 1:
        return found
    alone = best_alone(problem)
    if alone is not None:
        found[f"{alone[0]} alone"] = alone[1]
    instance = Instance(problem)
    rival = heft(instance)
    if rival is not None:
        found["heft"] = rival.timeline(instance).makespan()
    return found


def by_core(machine: Machine) -> Machine | None:
    """The machine with each core set of several as devices of one core each; None where there is none."""
    if all(len(device.cores) < 2 for device in machine.devices):
        return None
    devices, hosts = [], {machine.host: machine.host}
    for device in machine.devices:
        if len(device.cores) < 2:
            devices.append(device)
            continue
        hosts[device.name] = f"{device.name}.{device.cores[0]}"
        devices += [make_device(f"{device.name}.{core}", "cpu", {"cores": [core]}) for core in device.cores]
    links = [
        replace(link, source=hosts.get(link.source, link.source), target=hosts.get(link.target, link.target))
        for link in machine.links
    ]
    return connect(devices, links, hosts[machine.host])


def _implementation(name: str, device: str, costs: Costs) -> str:
    if name not in costs.costs:
        return PASSED_ON
    best = costs.best(name, device)
    assert best is not None
    return best.implementation


def _names(segments: Sequence[Segment]) -> list[str]:
    """A name for each: that of its operator, or of the first and the last."""
    names: list[str] = []
    for segment in segments:
        first, last = segment.operators[0], segment.operators[-1]
        name = first if first == last else f"{first}..{last}"
        while name in names:
            name += "'"
        names.append(name)
    return names


def _as_problem(
    problem: Problem, segments: Sequence[Segment], names: Sequence[str], tasks: Mapping[str, Task]
) -> Problem:
    """The problem of running the segments where they are."""
    readers: defaultdict[str, set[str]] = defaultdict(set)
    carried_to: defaultdict[str, set[str]] = defaultdict(set)
    for task in problem.tasks:
        for source in task.reads:
            readers[source].add(task.name)
        for source in task.carries:
            carried_to[source].add(task.name)
    name_of = {each: name for s, name in zip(segments, names, strict=True) for each in s.operators}
    made = []
    for segment, name in zip(segments, names, strict=True):
        inside = set(segment.operators)
        given = [each for each in segment.operators if readers[each] - inside or carried_to[each]]
        carries = dict.fromkeys(name_of[each] for o in segment.operators for each in tasks[o].carries)
        device = segment.device
        made.append(
            Task(
                name,
                reads=tuple(names[at] for at in segment.reads),
                bytes=sum(tasks[each].bytes for each in given),
                carries=tuple(carries),
                times={device: sum(tasks[each].times[device] for each in segment.operators)},
                invocation={device: tasks[segment.operators[0]].invocation.get(device, 0.0)},
                weights=sum(tasks[each].weights for each in segment.operators),
            )
        )
    return replace(problem, tasks=tuple(made))
