"""Plans: a model's operators placed on a machine, for the goal that is asked for, by the solver's answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sparsegen.devices import Machine, make_device
from sparsegen.devices.machine import connect
from sparsegen.hetero.costs import Costs
from sparsegen.hetero.operators import Operator
from sparsegen.hetero.plan import PASSED_ON, Form, Plan, PlanDevice, PlannedOperator, PlannedTransfer
from sparsegen.hetero.posing import Posed
from sparsegen.hetero.problem import Pipelining, Problem, Schedule, Task
from sparsegen.hetero.segments import Segment, segments_of
from sparsegen.hetero.solver.heft import heft
from sparsegen.hetero.solver.instance import Instance
from sparsegen.hetero.solver.retime import retime
from sparsegen.hetero.solver.solve import best_alone
from sparsegen.hetero.solver.steady import steady


@dataclass(frozen=True)
class Subject:
    """What a plan is of: the user's name of the model, a digest of its graph, the CPU that was measured."""

    model: str
    fingerprint: str
    machine: str


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
    carrying = (name for task in problem.tasks if task.carries for name in (task.name, *task.carries))
    alone = [*posed.inputs, posed.result, *carrying]
    segments = segments_of(order, {name: tasks[name].reads for name in order}, places, alone)
    names = _names(segments)
    whole = _as_problem(problem, segments, names, tasks)
    timeline = _timed(whole, segments)
    planned = _planned(whole, segments, timeline, {each.name: each for each in operators}, costs, machine)
    exclusive = {(link.source, link.target) for link in problem.links if link.exclusive}
    sizes = {task.name: task.bytes for task in whole.tasks}
    transfers = tuple(
        PlannedTransfer(
            operator=each.task,
            source=each.source,
            target=each.target,
            bytes=sizes[each.task],
            seconds=each.end - each.start,
            start=each.start,
            end=each.end,
            exclusive=(each.source, each.target) in exclusive,
        )
        for each in timeline.transfers
    )
    transfers += tuple(_carried(whole, planned, transfers))
    found = _whole(answer, planned, transfers, machine, subject, alternatives(problem))
    return replace(found, period=_period(found, whole))


def _carried(
    segments: Problem, planned: Sequence[PlannedOperator], transfers: Sequence[PlannedTransfer]
) -> Iterator[PlannedTransfer]:
    """The ways of results that the next input alone needs on another device, after all else on their links."""
    placed = {each.name: each for each in planned}
    links = {(link.source, link.target): link for link in segments.links}
    sent = {(each.operator, each.target) for each in transfers}
    free = defaultdict[tuple[str, str], float](float)
    for each in transfers:
        free[each.source, each.target] = max(free[each.source, each.target], each.end)
    for task in segments.tasks:
        target = placed[task.name].device
        for source in (placed[name] for name in task.carries):
            if source.device == target or (source.name, target) in sent:
                continue
            sent.add((source.name, target))
            way = source.device, target
            start = max(source.end, free[way]) if links[way].exclusive else source.end
            seconds = links[way].seconds(source.bytes)
            free[way] = start + seconds
            yield PlannedTransfer(
                source.name, *way, source.bytes, seconds, start, start + seconds, links[way].exclusive
            )


def _period(plan: Plan, segments: Problem) -> float:
    """Of a stream of segments: each hands its results on, states too, when all of it has ended."""
    placement = [segments.devices.index(next(iter(task.times))) for task in segments.tasks]
    state = steady(Instance(segments), placement)
    latest = max([*(each.end for each in plan.operators), *(each.end for each in plan.transfers)])
    return min(latest, max(plan.period, state.period / len(plan.replicas)))


def _timed(problem: Problem, segments: Sequence[Segment]) -> Schedule:
    """When segments run, each on its device, in their order."""
    number = {name: at for at, name in enumerate(problem.devices)}
    placement = [number[each.device] for each in segments]
    timeline = retime(Instance(problem), placement, range(len(segments)))
    return timeline.schedule(0.0, optimal=False, method="")


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
    return tuple(
        PlannedOperator(
            name=task.name,
            reads=task.reads,
            carries=task.carries,
            layers=tuple(
                layer for each in segment.operators if each in operators for layer in operators[each].layers
            ),
            bytes=task.bytes,
            device=segment.device,
            implementation=segment.implementation,
            threads=threads[segment.device],
            seconds=runs[task.name].end - runs[task.name].start,
            origin=origins.get((segment.operators[0], segment.device), "table"),
            start=runs[task.name].start,
            end=runs[task.name].end,
        )
        for task, segment in zip(problem.tasks, segments, strict=True)
    )


def _whole(
    answer: Schedule | Pipelining,
    planned: tuple[PlannedOperator, ...],
    transfers: tuple[PlannedTransfer, ...],
    machine: Machine,
    subject: Subject,
    others: Mapping[str, float],
) -> Plan:
    loads: defaultdict[str, float] = defaultdict(float)
    for each in planned:
        loads[each.device] += each.seconds
    stream = isinstance(answer, Pipelining)
    replicas = answer.replicas if isinstance(answer, Pipelining) else ({},)
    used = {*loads, *(name for replica in replicas for name in replica.values())}
    makespan = max(each.end for each in planned)
    latest = max([makespan, *(each.end for each in transfers)])
    found = answer.period if isinstance(answer, Pipelining) else makespan
    period = min(latest, max(found, max(loads.values()) / len(replicas)))
    several: Form = "pipelined" if stream else "placed"
    form: Form = "copies" if len(replicas) > 1 else "sequential" if len(loads) == 1 else several
    return Plan(
        goal="throughput" if stream else "latency",
        form=form,
        model=subject.model,
        fingerprint=subject.fingerprint,
        machine=subject.machine if any(d.kind in ("cpu", "cuda") for d in machine.devices) else "",
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
    """Seconds of one input by plans that are quickly had: the best single device alone, HEFT."""
    found: dict[str, float] = {}
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
    for task in problem.tasks:
        for source in (*task.reads, *task.carries):
            readers[source].add(task.name)
    made = []
    for segment, name in zip(segments, names, strict=True):
        inside = set(segment.operators)
        given = [each for each in segment.operators if readers[each] - inside]
        device = segment.device
        made.append(
            Task(
                name,
                reads=tuple(names[at] for at in segment.reads),
                bytes=sum(tasks[each].bytes for each in given),
                carries=tasks[segment.operators[0]].carries,
                times={device: sum(tasks[each].times[device] for each in segment.operators)},
                invocation={device: tasks[segment.operators[0]].invocation.get(device, 0.0)},
                weights=sum(tasks[each].weights for each in segment.operators),
            )
        )
    return replace(problem, tasks=tuple(made))
