"""The least period that any placement has by loads and recurrences, by trying every placement.

It is a bound of every stream's period; and without recurrences, and with one bus a link, it is the least
period itself, for devices and buses can then do their work of a period in any order. Nothing is shared with
the solver.
"""

from __future__ import annotations

import math

import networkx as nx

from sparsegen.hetero.problem.problem import Problem
from tests.hetero.periodic_checker import is_passing, least_period, seconds_on


def least_bound(problem: Problem) -> float:
    """Infinite where there is no placement."""
    return _Exhaustive(problem).run()


class _Exhaustive:
    def __init__(self, problem: Problem) -> None:
        self.problem, self.best = problem, math.inf
        self.links = {(link.source, link.target): link for link in problem.links}
        self.read_by = {
            task.name: [o.name for o in problem.tasks if task.name in (*o.reads, *o.carries)]
            for task in problem.tasks
        }

    def run(self) -> float:
        self._place({}, dict.fromkeys(self.problem.devices, 0.0))
        return self.best

    def _place(self, placement: dict[str, str], loads: dict[str, float]) -> None:
        if max(loads.values()) >= self.best:
            return
        if len(placement) == len(self.problem.tasks):
            self._finish(placement)
            return
        task = self.problem.tasks[len(placement)]
        for device, seconds in task.times.items():
            ways = [(placement[n], device) for n in (*task.reads, *task.carries) if n in placement]
            ways += [(device, placement[n]) for n in self.read_by[task.name] if n in placement]
            if any(a != b and (a, b) not in self.links for a, b in ways):
                continue
            own = 0.0 if is_passing(self.problem, task.name) else seconds
            self._place({**placement, task.name: device}, {**loads, device: loads[device] + own})

    def _finish(self, placement: dict[str, str]) -> None:
        problem = self.problem
        for group in {task.group for task in problem.tasks} - {""}:
            if len({placement[task.name] for task in problem.tasks if task.group == group}) > 1:
                return
        for device, store in problem.stores.items():
            held = sum(task.weights for task in problem.tasks if placement[task.name] == device)
            if store.memory is not None and held > store.memory:
                return
        self.best = min(self.best, max(least_period(problem, placement), self._recurrence(placement)))

    def _recurrence(self, placement: dict[str, str]) -> float:
        """The longest time around a cycle, over the inputs that it spans."""
        if not any(task.carries for task in self.problem.tasks):
            return 0.0
        seconds = {
            name: each
            for device in self.problem.devices
            for name, each in seconds_on(self.problem, placement, device).items()
        }
        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        for task in self.problem.tasks:
            for back, names in enumerate((task.reads, task.carries)):
                for name in names:
                    ends = placement[name], placement[task.name]
                    sent = next(each.bytes for each in self.problem.tasks if each.name == name)
                    way = 0.0 if ends[0] == ends[1] else self.links[ends].seconds(sent)
                    graph.add_edge(name, task.name, weight=seconds[name] + way, back=back)
        longest = 0.0
        for cycle in nx.simple_cycles(nx.DiGraph(graph)):
            pairs = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
            edges = [list(graph.get_edge_data(*pair).values()) for pair in pairs]
            weight = sum(max(e["weight"] for e in each) for each in edges)
            longest = max(longest, weight / sum(min(e["back"] for e in each) for each in edges))
        return longest
