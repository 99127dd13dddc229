"""The least makespan as a mixed-integer program, solved by HiGHS: x(v, d), starts, and the order of pairs.

    minimise T;  sum over d of x(v, d) = 1;  e(v) = s(v) + sum over d of seconds(v, d) x(v, d) <= T
    u before v:  s(v) >= e(u),  s(v) >= e(u) + delay(u, a, b) (x(u, a) + x(v, b) - 1)    a is not b
    u, v on d:   s(v) >= e(u) - M (3 - x(u, d) - x(v, d) - y(u, v)),  or the other way round where y is 0
    T >= the load of each device

Links are not exclusive, and tasks have times, reads and bytes alone.
"""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from sparsegen.hetero.problem.problem import Link, Problem


def least_makespan(problem: Problem) -> float:
    """Solved to a relative gap of 1e-7; times in milliseconds, so that they are of the solver's order."""
    model = _Model(problem)
    model.place()
    model.transfer()
    model.separate()
    return model.solve() / 1e3


class _Model:
    """Variables: T, starts, x by task and device, y by pair. Rows: sum of coefficient * variable >= least."""

    def __init__(self, problem: Problem) -> None:
        self.tasks, self.devices = problem.tasks, problem.devices
        self.number = {task.name: index for index, task in enumerate(problem.tasks)}
        self.links = {(link.source, link.target): link for link in problem.links}
        self.horizon = 1e3 * sum(task.times[problem.devices[0]] for task in problem.tasks)
        reads = nx.DiGraph([(read, task.name) for task in problem.tasks for read in task.reads])
        reads.add_nodes_from(self.number)
        ordered = set(nx.transitive_closure_dag(reads).edges)
        count = len(problem.tasks)
        self.pairs = [
            (u, v)
            for u in range(count)
            for v in range(u + 1, count)
            if (self.tasks[u].name, self.tasks[v].name) not in ordered
        ]
        self.first_x = 1 + count
        self.first_y = self.first_x + count * len(problem.devices)
        self.entries: list[tuple[int, int, float]] = []
        self.least: list[float] = []

    def x(self, task: int, device: int) -> int:
        return self.first_x + task * len(self.devices) + device

    def milliseconds(self, task: int, device: int) -> float:
        return 1e3 * self.tasks[task].times.get(self.devices[device], 0.0)

    def add(self, least: float, terms: list[tuple[int, float]]) -> None:
        self.entries += [(len(self.least), variable, coefficient) for variable, coefficient in terms]
        self.least.append(least)

    def after(self, later: int, earlier: int) -> list[tuple[int, float]]:
        """s(later) - e(earlier)."""
        length = [(self.x(earlier, d), -self.milliseconds(earlier, d)) for d in range(len(self.devices))]
        return [(1 + later, 1.0), (1 + earlier, -1.0), *length]

    def place(self) -> None:
        """Each task has one device; T is no less than any end and any load."""
        span = range(len(self.devices))
        for v in range(len(self.tasks)):
            length = [(self.x(v, d), -self.milliseconds(v, d)) for d in span]
            self.add(0, [(0, 1), (1 + v, -1), *length])
            self.add(1, [(self.x(v, d), 1) for d in span])
            self.add(-1, [(self.x(v, d), -1) for d in span])
        for d in span:
            loads = [(self.x(v, d), -self.milliseconds(v, d)) for v in range(len(self.tasks))]
            self.add(0, [(0, 1), *loads])

    def transfer(self) -> None:
        """A reader starts when what it reads has arrived."""
        for v, task in enumerate(self.tasks):
            for u in (self.number[name] for name in task.reads):
                self.add(0, self.after(v, u))
                for (a, source), (b, target) in itertools.permutations(enumerate(self.devices), 2):
                    there = [(self.x(u, a), -1.0), (self.x(v, b), -1.0)]
                    if (source, target) not in self.links:
                        self.add(-1, there)
                        continue
                    link = self.links[source, target]
                    way = 1e3 * (link.latency + self.tasks[u].bytes / link.bandwidth)
                    self.add(-way, [*self.after(v, u), *((each, -way) for each, _ in there)])

    def separate(self) -> None:
        """Of two tasks on one device, one ends before the other starts."""
        far = self.horizon
        for y, (u, v) in enumerate(self.pairs, self.first_y):
            for d in range(len(self.devices)):
                both = [(self.x(u, d), -far), (self.x(v, d), -far)]
                self.add(-3 * far, [*self.after(v, u), *both, (y, -far)])
                self.add(-2 * far, [*self.after(u, v), *both, (y, far)])

    def load(self) -> None:
        """Each task has one device; T is no less than any load of a device or a bus. There are no pairs."""
        span, self.pairs = range(len(self.devices)), []
        for v in range(len(self.tasks)):
            self.add(1, [(self.x(v, d), 1) for d in span])
            self.add(-1, [(self.x(v, d), -1) for d in span])
        on_bus: dict[object, list[tuple[int, float]]] = {}
        for u, task in enumerate(self.tasks):
            readers = [v for v, other in enumerate(self.tasks) if task.name in other.reads]
            for (a, source), (b, target) in itertools.permutations(enumerate(self.devices), 2):
                link = self.links.get((source, target))
                self.pairs.append((u, u))
                z = self.first_y + len(self.pairs) - 1
                for v in readers:
                    both = [(self.x(u, a), -1.0), (self.x(v, b), -1.0)]
                    self.add(-1, both if link is None else [*both, (z, 1.0)])
                for bus in [] if link is None else _buses(link):
                    way = 1e3 * link.seconds(task.bytes)  # type: ignore[union-attr]
                    on_bus.setdefault(bus, []).append((z, -way))
        for d in span:
            loads = [(self.x(v, d), -self.milliseconds(v, d)) for v in range(len(self.tasks))]
            self.add(0, [(0, 1), *loads])
        for taken in on_bus.values():
            self.add(0, [(0, 1), *taken])

    def solve(self) -> float:
        total = self.first_y + len(self.pairs)
        upper = np.ones(total)
        upper[: self.first_x] = self.horizon
        for v, task in enumerate(self.tasks):
            for d, name in enumerate(self.devices):
                upper[self.x(v, d)] = name in task.times
        row, column, values = zip(*self.entries, strict=True)
        matrix = coo_array((values, (row, column)), shape=(len(self.least), total)).tocsr()
        solved = milp(
            np.eye(total)[0],
            integrality=np.arange(total) >= self.first_x,
            bounds=Bounds(np.zeros(total), upper),
            constraints=LinearConstraint(matrix, lb=np.array(self.least)),
            options={"mip_rel_gap": 1e-7},
        )
        assert solved.success, solved.message
        return float(solved.fun)


def _buses(link: Link) -> list[object]:
    """What a transfer over a link has for itself."""
    return [*link.buses, *([(link.source, link.target)] if link.exclusive else [])]


def least_period(problem: Problem) -> float:
    """The least greatest load of a device or a bus: x(v, d), and z(u, a, b) where a result goes from a to b.

    Devices and buses can do their work of a period in any order. Tasks have times, reads and bytes alone;
    none is an input or a result, and a link has one bus at most.
    """
    model = _Model(problem)
    model.load()
    return model.solve() / 1e3
