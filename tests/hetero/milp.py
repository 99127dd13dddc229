"""The least makespan as a mixed-integer program, solved by HiGHS: x(v, d), starts, and the order of pairs.

    minimise T;  sum over d of x(v, d) = 1;  e(v) = s(v) + sum over d of seconds(v, d) x(v, d) <= T
    u before v:  s(v) >= e(u),  s(v) >= e(u) + delay(u, a, b) (x(u, a) + x(v, b) - 1)    a is not b
    u, v on d:   s(v) >= e(u) - M (3 - x(u, d) - x(v, d) - y(u, v)),  or the other way round where y is 0
    T >= the load of each device

Links are not exclusive, and tasks have times, reads and bytes alone.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from sparsegen.hetero.problem import Problem


class _Rows:
    """Constraints `sum of coefficient * variable >= least`."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, float]] = []
        self.least: list[float] = []

    def add(self, least: float, terms: list[tuple[int, float]]) -> None:
        self.entries += [(len(self.least), variable, coefficient) for variable, coefficient in terms]
        self.least.append(least)


def least_makespan(problem: Problem) -> float:
    """Solved to a relative gap of 1e-7; times in milliseconds, so that they are of the solver's order."""
    tasks, devices = problem.tasks, problem.devices
    number = {task.name: index for index, task in enumerate(tasks)}
    links = {(link.source, link.target): link for link in problem.links}
    horizon = 1e3 * sum(task.times[devices[0]] for task in tasks)
    count, span = len(tasks), len(devices)
    reads = nx.DiGraph([(read, task.name) for task in tasks for read in task.reads])
    reads.add_nodes_from(number)
    ordered = set(nx.transitive_closure_dag(reads).edges)
    pairs = [
        (u, v)
        for u in range(count)
        for v in range(u + 1, count)
        if (tasks[u].name, tasks[v].name) not in ordered
    ]
    # T, the starts, x by task and device, y by pair
    start, place, pair = 1, 1 + count, 1 + count + count * span
    total = pair + len(pairs)
    rows = _Rows()

    def x(task: int, device: int) -> int:
        return place + task * span + device

    def length(task: int, sign: float) -> list[tuple[int, float]]:
        return [(x(task, d), sign * 1e3 * tasks[task].times.get(name, 0.0)) for d, name in enumerate(devices)]

    for v, task in enumerate(tasks):
        rows.add(0, [(0, 1), (start + v, -1), *length(v, -1)])
        rows.add(1, [(x(v, d), 1) for d in range(span)])
        rows.add(-1, [(x(v, d), -1) for d in range(span)])
        for name in task.reads:
            u = number[name]
            rows.add(0, [(start + v, 1), (start + u, -1), *length(u, -1)])
            for a, source in enumerate(devices):
                for b, target in enumerate(devices):
                    if a == b:
                        continue
                    if (source, target) not in links:
                        rows.add(-1, [(x(u, a), -1), (x(v, b), -1)])
                        continue
                    link = links[source, target]
                    way = 1e3 * (link.latency + tasks[u].bytes / link.bandwidth)
                    terms = [(start + v, 1.0), (start + u, -1.0), *length(u, -1)]
                    rows.add(-way, [*terms, (x(u, a), -way), (x(v, b), -way)])
    for index, (u, v) in enumerate(pairs):
        for d in range(span):
            both = [(x(u, d), -horizon), (x(v, d), -horizon)]
            rows.add(
                -3 * horizon,
                [(start + v, 1), (start + u, -1), *length(u, -1), *both, (pair + index, -horizon)],
            )
            rows.add(
                -2 * horizon,
                [(start + u, 1), (start + v, -1), *length(v, -1), *both, (pair + index, horizon)],
            )
    for d, name in enumerate(devices):
        rows.add(0, [(0, 1), *((x(v, d), -1e3 * task.times.get(name, 0.0)) for v, task in enumerate(tasks))])
    upper = np.ones(total)
    upper[:place] = horizon
    for v, task in enumerate(tasks):
        for d, name in enumerate(devices):
            upper[x(v, d)] = name in task.times
    row, column, values = zip(*rows.entries, strict=True)
    matrix = coo_array((values, (row, column)), shape=(len(rows.least), total)).tocsr()
    solved = milp(
        np.eye(total)[0],
        integrality=np.arange(total) >= place,
        bounds=Bounds(np.zeros(total), upper),
        constraints=LinearConstraint(matrix, lb=np.array(rows.least)),
        options={"mip_rel_gap": 1e-7},
    )
    assert solved.success, solved.message
    return float(solved.fun) / 1e3
