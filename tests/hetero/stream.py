"""A stream of inputs, run input by input: the measured period of a placement, by names."""

from __future__ import annotations

from collections.abc import Mapping

from sparsegen.hetero.problem.problem import Problem, Store

INPUTS = 240


def measured_period(problem: Problem, placement: Mapping[str, str]) -> float:
    """Devices run their tasks of each input in the problem's order; links take any number of transfers.

    What takes no time and reads nothing, or is read by nothing, does not keep its device.
    """
    read = {name for task in problem.tasks for name in task.reads}
    passing = {
        task.name
        for task in problem.tasks
        if not any((*task.times.values(), *task.invocation.values()))
        if not task.reads or task.name not in read
    }
    links = {(link.source, link.target): link for link in problem.links}
    sizes = {task.name: task.bytes for task in problem.tasks}

    def way(name: str, device: str) -> float:
        if placement[name] == device:
            return 0.0
        link = links[placement[name], device]
        return link.latency + sizes[name] / link.bandwidth

    free = dict.fromkeys(problem.devices, 0.0)
    before: dict[str, float] = {}
    finished = []
    for _ in range(INPUTS):
        ends: dict[str, float] = {}
        held = dict.fromkeys(problem.devices, 0)
        for task in problem.tasks:
            device = placement[task.name]
            ready = [ends[read] + way(read, device) for read in task.reads]
            ready += [before[name] + way(name, device) for name in task.carries if before]
            seconds = task.times[device]
            if not task.reads or any(placement[read] != device for read in task.reads):
                seconds += task.invocation.get(device, 0.0)
            store = problem.stores.get(device, Store())
            if store.cache is not None:
                kept = min(max(store.cache - held[device], 0), task.weights)
                seconds += (task.weights - kept) / store.stream
            held[device] += task.weights
            if task.name in passing:
                ends[task.name] = max(ready, default=0.0)
            else:
                ends[task.name] = free[device] = max([*ready, free[device]]) + seconds
        before = ends
        finished.append(max(ends.values()))
    # A cycle spans as many inputs as it has devices and carried results: 120 is a multiple of 1 to 6.
    return (finished[-1] - finished[-121]) / 120
