"""The least makespan by trying everything: topological orders, devices, orders of transfers.

Steps are appended one by one, each at its earliest time: a task on a device, or a result's transfer over a
bus; an exclusive link is one of its own. A step that would start before the last one is left out, for the
same steps come up in the order of their starts, too. A branch ends where the longest way to the end, in each
task's least time, makes it no better than the best schedule found. Nothing else is pruned, and nothing shared
with the solver.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from sparsegen.hetero.problem.problem import Link, Problem, Store


@dataclass
class _State:
    ends: dict[str, float] = field(default_factory=dict)
    device: dict[str, str] = field(default_factory=dict)
    arrivals: dict[tuple[str, str], float] = field(default_factory=dict)
    free: dict[str, float] = field(default_factory=dict)
    bus_free: dict[object, float] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    last: float = 0.0

    def copy(self) -> _State:
        return _State(*({**each} for each in list(vars(self).values())[:-1]), self.last)


def least_makespan(problem: Problem) -> float:
    """Infinite where there is no schedule."""
    return _Exhaustive(problem).run()


class _Exhaustive:
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.links = {(link.source, link.target): link for link in problem.links}
        self.ways: dict[str, float] = {}
        for task in reversed(problem.tasks):
            after = (self.ways[other.name] for other in problem.tasks if task.name in other.reads)
            self.ways[task.name] = min(task.times.values()) + max(after, default=0.0)
        self.best = math.inf

    def run(self) -> float:
        self._extend(_State())
        return self.best

    def _extend(self, state: _State) -> None:
        if len(state.ends) == len(self.problem.tasks):
            self.best = min(self.best, max(state.ends.values()))
            return
        found = [*self._runs(state), *self._sends(state)]
        for child in sorted(found, key=lambda each: max(each.ends.values())):
            left = [
                max((child.ends.get(read, 0.0) for read in task.reads), default=0.0) + self.ways[task.name]
                for task in self.problem.tasks
                if task.name not in child.ends
            ]
            if max([*child.ends.values(), *left]) < self.best * (1 - 1e-12):
                self._extend(child)

    def _runs(self, state: _State) -> list[_State]:
        found = []
        for task in self.problem.tasks:
            if task.name in state.ends or any(read not in state.ends for read in task.reads):
                continue
            for device, seconds in task.times.items():
                store, held = self.problem.stores.get(device, Store()), state.held.get(device, 0)
                # what is not there yet may still come, over a bus
                if any((read, device) not in state.arrivals for read in task.reads):
                    continue
                if store.memory is not None and held + task.weights > store.memory:
                    continue
                if task.group and any(
                    state.device[other.name] != device
                    for other in self.problem.tasks
                    if other.group == task.group and other.name in state.device
                ):
                    continue
                if not task.reads or any(state.device[read] != device for read in task.reads):
                    seconds += task.invocation.get(device, 0.0)
                if store.cache is not None:
                    fit = min(max(store.cache - held, 0), task.weights)
                    seconds += (task.weights - fit) / store.stream
                arrived = [state.arrivals[read, device] for read in task.reads]
                start = max([*arrived, state.free.get(device, 0.0)])
                if start < state.last:
                    continue
                child = state.copy()
                child.ends[task.name] = child.free[device] = start + seconds
                child.device[task.name], child.held[device], child.last = device, held + task.weights, start
                child.arrivals[task.name, device] = start + seconds
                for (source, target), link in self.links.items():
                    if source == device and not _buses(link):
                        way = link.latency + task.bytes / link.bandwidth
                        child.arrivals[task.name, target] = start + seconds + way
                found.append(child)
        return found

    def _sends(self, state: _State) -> list[_State]:
        found = []
        for task in self.problem.tasks:
            for (source, target), link in self.links.items():
                if not _buses(link) or state.device.get(task.name) != source:
                    continue
                start = max([state.ends[task.name], *(state.bus_free.get(b, 0.0) for b in _buses(link))])
                if (task.name, target) in state.arrivals or start < state.last:
                    continue
                child = state.copy()
                arrival = start + link.latency + task.bytes / link.bandwidth
                child.arrivals[task.name, target] = arrival
                child.bus_free.update(dict.fromkeys(_buses(link), arrival))
                child.last = start
                found.append(child)
        return found


def _buses(link: Link) -> list[object]:
    """What a transfer over a link has for itself."""
    return [*link.buses, *([(link.source, link.target)] if link.exclusive else [])]
