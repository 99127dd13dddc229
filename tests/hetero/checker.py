"""Checks a schedule against its problem, by names and times alone: no code of the solver's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from sparsegen.hetero.problem.problem import Link, Problem, Schedule, Store, Task

CLOSE = 1e-9


def check_schedule(problem: Problem, schedule: Schedule) -> None:
    """Assert that all rules of a problem are kept, and that bound and makespan fit together."""
    runs = {run.task: run for run in schedule.runs}
    assert len(runs) == len(schedule.runs) == len(problem.tasks)
    assert runs.keys() == {task.name for task in problem.tasks}
    assert [run.start for run in schedule.runs] == sorted(run.start for run in schedule.runs)
    assert schedule.makespan == max(run.end for run in schedule.runs)
    assert 0 <= schedule.bound <= schedule.makespan
    links = {(link.source, link.target): link for link in problem.links}
    _check_transfers(problem, schedule, links)
    arrivals = {(each.task, each.target): each.end for each in schedule.transfers}
    needed = set()
    for task in problem.tasks:
        run = runs[task.name]
        assert run.device in task.times
        assert run.start >= 0
        for read in task.reads:
            if runs[read].device == run.device:
                arrival = runs[read].end
            else:
                needed.add((read, run.device))
                arrival = arrivals[read, run.device]
            assert run.start >= arrival - CLOSE
    assert needed == arrivals.keys(), "a result goes where it is read, and nowhere else"
    for device in problem.devices:
        _check_device(problem, schedule, device)
    for group in {task.group for task in problem.tasks} - {""}:
        assert len({runs[task.name].device for task in problem.tasks if task.group == group}) == 1


def _check_transfers(problem: Problem, schedule: Schedule, links: dict[tuple[str, str], Link]) -> None:
    sizes = {task.name: task.bytes for task in problem.tasks}
    runs = {run.task: run for run in schedule.runs}
    for each in schedule.transfers:
        link = links[each.source, each.target]
        assert each.source == runs[each.task].device
        assert each.start >= runs[each.task].end - CLOSE
        assert abs(each.end - each.start - link.latency - sizes[each.task] / link.bandwidth) < CLOSE
    on: dict[object, list[tuple[float, float]]] = {}
    for each in schedule.transfers:
        link = links[each.source, each.target]
        for bus in [*link.buses, *([(each.source, each.target)] if link.exclusive else [])]:
            on.setdefault(bus, []).append((each.start, each.end))
    for spans in on.values():
        _check_apart(spans)


def _check_device(problem: Problem, schedule: Schedule, device: str) -> None:
    """One task at a time, each as long as it takes, weights within the memory."""
    tasks = {task.name: task for task in problem.tasks}
    devices = {run.task: run.device for run in schedule.runs}
    here = [run for run in schedule.runs if run.device == device]
    _check_apart((run.start, run.end) for run in here)
    seconds = seconds_of(problem, devices, device, [tasks[run.task] for run in here])
    for run in here:
        assert abs(run.end - run.start - seconds[run.task]) < CLOSE


def seconds_of(
    problem: Problem, placement: Mapping[str, str], device: str, order: Iterable[Task]
) -> dict[str, float]:
    """What a device's tasks take, in the order in which it runs them; their weights are within the memory."""
    store, held, found = problem.stores.get(device, Store()), 0, {}
    for task in order:
        seconds = task.times[device]
        if not task.reads or any(placement[read] != device for read in task.reads):
            seconds += task.invocation.get(device, 0.0)
        if store.cache is not None:
            kept = min(max(store.cache - held, 0), task.weights)
            seconds += (task.weights - kept) / store.stream
        held += task.weights
        found[task.name] = seconds
    assert store.memory is None or held <= store.memory
    return found


def _check_apart(spans: Iterable[tuple[float, float]]) -> None:
    for before, after in pairwise(sorted(spans)):
        assert after[0] >= before[1] - CLOSE
