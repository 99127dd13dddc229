"""Checks a periodic schedule against its problem, by names and times alone: no code of the solver's."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

from sparsegen.hetero.problem.problem import Link, Pipelining, Problem
from tests.hetero.checker import seconds_of

CLOSE = 1e-9  # of the period


def check_pipelining(problem: Problem, found: Pipelining) -> None:
    """Assert that every input runs soundly, and that no device and no bus does two things at once."""
    period = found.period * len(found.replicas)
    slack = CLOSE * period + 1e-12
    runs = {run.task: run for run in found.runs}
    assert len(runs) == len(found.runs) == len(problem.tasks)
    assert {name: run.device for name, run in runs.items()} == dict(found.placement)
    assert 0 <= found.bound <= found.period
    links = {(link.source, link.target): link for link in problem.links}
    sizes = {task.name: task.bytes for task in problem.tasks}
    arrivals = {}
    for each in found.transfers:
        link = links[each.source, each.target]
        assert each.source == runs[each.task].device
        assert each.start >= runs[each.task].end - slack
        assert abs(each.end - each.start - link.latency - sizes[each.task] / link.bandwidth) <= slack
        assert (each.task, each.target) not in arrivals
        arrivals[each.task, each.target] = each.end
    needed = set()
    for task in problem.tasks:
        run = runs[task.name]
        for back, names in enumerate((task.reads, task.carries)):
            for name in names:
                if runs[name].device == run.device:
                    arrival = runs[name].end
                else:
                    needed.add((name, run.device))
                    arrival = arrivals[name, run.device]
                assert run.start >= arrival - back * period - slack
    assert needed == arrivals.keys()
    spans: defaultdict[object, list[tuple[float, float]]] = defaultdict(list)
    for task in problem.tasks:
        run = runs[task.name]
        if not is_passing(problem, task.name):
            spans[run.device].append((run.start, run.end - run.start))
    for each in found.transfers:
        for bus in _buses(links[each.source, each.target]):
            spans[bus].append((each.start, each.end - each.start))
    for resource in spans.values():
        for (first, long), (second, longer) in combinations(resource, 2):
            between = (second - first) % period if period else 0.0
            if min(between, period - between) <= slack:  # they start at once
                assert min(long, longer) <= slack
            else:
                assert between >= long - slack
                assert period - between >= longer - slack
        assert all(long <= period + slack for _, long in resource)
    for device in problem.devices:
        _check_times(problem, found, device, slack)


def is_passing(problem: Problem, name: str) -> bool:
    """Whether a task keeps no device: it takes no time, and reads nothing or is read by nothing."""
    (task,) = (each for each in problem.tasks if each.name == name)
    read = any(name in each.reads for each in problem.tasks)
    return not any((*task.times.values(), *task.invocation.values())) and not (task.reads and read)


def least_period(problem: Problem, placement: dict[str, str]) -> float:
    """The greatest load of a device or a bus, by what the tasks of a sound placement take."""
    loads: defaultdict[object, float] = defaultdict(float)
    for device in problem.devices:
        for name, seconds in seconds_on(problem, placement, device).items():
            loads[device] += 0.0 if is_passing(problem, name) else seconds
    links = {(link.source, link.target): link for link in problem.links}
    sizes = {task.name: task.bytes for task in problem.tasks}
    sent = {
        (name, placement[name], placement[task.name])
        for task in problem.tasks
        for name in (*task.reads, *task.carries)
        if placement[name] != placement[task.name]
    }
    for name, *way in sorted(sent):
        link = links[way[0], way[1]]
        for bus in _buses(link):
            loads[bus] += link.latency + sizes[name] / link.bandwidth
    return max(loads.values(), default=0.0)


def _buses(link: Link) -> list[object]:
    return [
        *(("bus", name) for name in link.buses),
        *([(link.source, link.target)] if link.exclusive else []),
    ]


def seconds_on(problem: Problem, placement: dict[str, str], device: str) -> dict[str, float]:
    """What a device's tasks take, in the problem's order."""
    here = [task for task in problem.tasks if placement[task.name] == device]
    return seconds_of(problem, placement, device, here)


def _check_times(problem: Problem, found: Pipelining, device: str, slack: float) -> None:
    runs = {run.task: run for run in found.runs}
    for name, seconds in seconds_on(problem, dict(found.placement), device).items():
        assert abs(runs[name].end - runs[name].start - seconds) <= slack
