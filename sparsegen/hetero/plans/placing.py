"""Plans: a model's operators placed on a machine, for the goal that is asked for, by the solver's answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import networkx

from sparsegen.devices import Machine, make_device
from sparsegen.devices.machine import connect
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.operators.operators import Operator
from sparsegen.hetero.plans.merging import bound_of_plans
from sparsegen.hetero.plans.plan import (
    MIXED,
    PASSED_ON,
    Form,
    Goal,
    Plan,
    PlanDevice,
    PlannedOperator,
    PlannedTransfer,
)
from sparsegen.hetero.plans.posing import Posed
from sparsegen.hetero.plans.segments import Segment, segments_of
from sparsegen.hetero.plans.streaming import LEAST_QUEUE, Rounds, rounds_of
from sparsegen.hetero.problem.problem import Link, Pipelining, Problem, Schedule, Task
from sparsegen.hetero.solver.bounds import ROUNDING
from sparsegen.hetero.solver.heft import heft
from sparsegen.hetero.solver.instance import NEVER, Instance, Step
from sparsegen.hetero.solver.retime import replay
from sparsegen.hetero.solver.solve import goal_seconds, seconds_alone
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
    """The plan of an answer: segments in its order, timed as it is, and the plans that were not taken."""
    problem = posed.problem
    alone = [*posed.inputs, posed.result]
    rounds: Rounds | None = None
    if isinstance(answer, Schedule):
        placement = {run.task: run.device for run in answer.runs}
        cut = _Cut.of(problem, placement, costs, alone, list(placement))
        order = list(range(len(cut.segments)))
        device = {name: number for number, name in enumerate(problem.devices)}
        sends = {(cut.of_task[each.task], device[each.target]): 0 for each in answer.transfers}
    else:
        cut, rounds = _stream(problem, answer, costs, alone)
        order, sends = rounds.order, rounds.sends
    timeline = replay(cut.instance, cut.placed, _steps(cut, order, sorted(sends, key=sends.__getitem__)))
    schedule = timeline.schedule(0.0, optimal=False, method="")
    found = _planned(cut, schedule, {each.name: each for each in operators}, costs, machine)
    planned = tuple(found[at] for at in order)
    transfers = _transfers(cut, schedule, planned, sends)
    bound = bound_of_plans(problem, answer, alone)
    others = alternatives(problem, "throughput" if rounds else "latency")
    return _whole(answer, bound, planned, transfers, rounds, machine, subject, others)


@dataclass(frozen=True, eq=False)
class _Cut:
    """The segments of an answer, and the problem of running them where they are.

    of_task: the number of each task's segment.
    """

    segments: list[Segment]
    problem: Problem
    instance: Instance
    placed: list[int]
    of_task: Mapping[str, int]

    @classmethod
    def of(
        cls,
        problem: Problem,
        placement: Mapping[str, str],
        costs: Costs,
        alone: Sequence[str],
        order: Sequence[str],
        apart: Mapping[str, int] | None = None,
    ) -> _Cut:
        """The segments of tasks in an order; those of other numbers in `apart` are never of one."""
        tasks = {task.name: task for task in problem.tasks}
        implementations = {name: _implementation(name, device, costs) for name, device in placement.items()}
        places = {
            name: (device, implementations[name], (apart or {}).get(name, 0))
            for name, device in placement.items()
        }
        reads = {name: tasks[name].reads for name in order}
        carries = {name: tasks[name].carries for name in order}
        segments = segments_of(order, reads, places, alone, carries)
        whole = _as_problem(problem, segments, _names(segments), tasks)
        number = {name: at for at, name in enumerate(problem.devices)}
        of_task = {name: at for at, segment in enumerate(segments) for name in segment.operators}
        return cls(segments, whole, Instance(whole), [number[each.device] for each in segments], of_task)


def _steps(cut: _Cut, order: Sequence[int], sends: Sequence[Step]) -> Iterator[Step]:
    """The segments in an order, and each result that others wait for as soon as it is its turn."""
    done: set[int] = set()
    sent = 0
    for segment in order:
        yield segment, -1
        done.add(segment)
        while sent < len(sends) and sends[sent][0] in done:
            yield sends[sent]
            sent += 1


def _stream(problem: Problem, answer: Pipelining, costs: Costs, alone: Sequence[str]) -> tuple[_Cut, Rounds]:
    """The segments of a stream and their rounds: apart where that shortens the period.

    Operators of one segment wait for all that the first of them waits for, which may make recurrences longer.
    """
    order = [task.name for task in problem.tasks]
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(order)
    graph.add_edges_from((name, t.name) for t in problem.tasks for name in (*t.reads, *t.carries))
    together = [group for group in networkx.strongly_connected_components(graph) if len(group) > 1]
    apart = {name: number for number, group in enumerate(together, 1) for name in group}
    alone_too = {name: number for number, name in enumerate(apart, 1)}
    each_alone = {name: number for number, name in enumerate(order)}
    found = []
    tries = ({}, apart, alone_too, each_alone) if any(task.carries for task in problem.tasks) else ({},)
    for each in tries:
        cut = _Cut.of(problem, answer.placement, costs, alone, order, each)
        passing = [segment.implementation == PASSED_ON for segment in cut.segments]
        found.append((cut, rounds_of(cut.instance, cut.placed, passing)))
    best = min(rounds.period for _, rounds in found)
    return next((cut, rounds) for cut, rounds in found if rounds.period <= best * (1 + ROUNDING))


def _transfers(
    cut: _Cut, schedule: Schedule, planned: Sequence[PlannedOperator], sends: Mapping[Step, int]
) -> tuple[PlannedTransfer, ...]:
    """The ways of results to other devices, in their turns on buses, and those of what is carried to one."""
    links = {(link.source, link.target): link for link in cut.problem.links}
    names, devices = cut.instance.names, cut.instance.device_names
    sizes = {task.name: task.bytes for task in cut.problem.tasks}
    turns = {(names[task], devices[target]): behind for (task, target), behind in sends.items()}
    there = {(each.task, each.target): (each.start, each.end) for each in schedule.transfers}
    placed = {each.name: each for each in planned}
    carried = {(name, reader.device): 0 for reader in planned for name in reader.carries}
    found: list[PlannedTransfer] = []
    for (name, target), behind in (
        turns | {way: 0 for way in (*there, *carried) if way not in turns}
    ).items():
        source = placed[name].device
        if source == target:
            continue
        link = links[source, target]
        start, end = there.get((name, target), (placed[name].end, -1.0))
        if end < 0:  # for the next input: the schedule of one alone has it not
            start = max([start, *(e.end for e in found if _share(link, e, (source, target)))])
            end = start + link.seconds(sizes[name])
        seconds = end - start
        found.append(
            PlannedTransfer(
                name, source, target, sizes[name], seconds, start, end, link.exclusive, link.buses, behind
            )
        )
    return tuple(found)


def _share(link: Link, other: PlannedTransfer, way: tuple[str, str]) -> bool:
    """Whether a transfer over a link has to wait for another one."""
    same = link.exclusive and (other.source, other.target) == way
    return same or not set(link.buses).isdisjoint(other.buses)


def _planned(
    cut: _Cut,
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

    return tuple(placed(*each) for each in zip(cut.problem.tasks, cut.segments, strict=True))


def _whole(
    answer: Schedule | Pipelining,
    bound: float,
    planned: tuple[PlannedOperator, ...],
    transfers: tuple[PlannedTransfer, ...],
    rounds: Rounds | None,
    machine: Machine,
    subject: Subject,
    others: Mapping[str, float],
) -> Plan:
    """The plan; no plan is below the bound, and `rounds` are those of a stream through one copy."""
    loads: defaultdict[str, float] = defaultdict(float)
    for each in planned:
        loads[each.device] += each.seconds
    stream = rounds is not None
    replicas = answer.replicas if isinstance(answer, Pipelining) else ({},)
    used = {*loads, *(name for replica in replicas for name in replica.values())}
    makespan = max(each.end for each in planned)
    latest = max([makespan, *(each.end for each in transfers)])
    period = latest if rounds is None else min(latest, rounds.period / len(replicas))
    value = period if stream else makespan
    optimal = value <= bound * (1 + ROUNDING)
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
        bound=value if optimal else bound,
        optimal=optimal,
        method=answer.method,
        depth=1 if rounds is None else rounds.depth * len(replicas),
        queue=LEAST_QUEUE if rounds is None else rounds.queue,
        turns=() if rounds is None else rounds.turns,
        replicas=replicas,
        alternatives=others,
    )


def alternatives(problem: Problem, goal: Goal) -> dict[str, float]:
    """Seconds, of the goal, of plans that are quickly had: single devices alone, HEFT.

    Of devices that take as long as each other the first is told; nothing where no other device than one can
    run anything.
    """
    found: dict[str, float] = {}
    if len({device for task in problem.tasks for device in task.times if task.times[device]}) < 2:
        return found
    for device, seconds in seconds_alone(problem, goal).items():
        if seconds not in found.values():
            found[f"{device} alone"] = seconds
    instance = Instance(problem)
    rival = heft(instance)
    if rival is not None:
        seconds = goal_seconds(instance, rival, goal)
        found |= {"heft": seconds} if seconds < NEVER else {}
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
    name_of = {each: name for s, name in zip(segments, names, strict=True) for each in s.operators}
    made = []
    device_of = {each: segment.device for segment in segments for each in segment.operators}
    for segment, name in zip(segments, names, strict=True):
        given = [
            each
            for each in segment.operators
            if any(device_of[reader] != segment.device for reader in readers[each])
        ]
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
