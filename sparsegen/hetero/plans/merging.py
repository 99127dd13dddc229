"""A bound of plans, whose devices run operators in a row as one: a start is charged once for all of them.

The solver charges each operator that reads from elsewhere with its invocation, so that its bound may be above
a plan in which several such are one segment. What a segment is charged with is the invocation of its first
operator: the least of its device, at least, wherever something arrives from another one; and nothing where it
follows others on its device. Where what computes is never where inputs lie, something is started for every
input.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from sparsegen.hetero.problem.problem import Pipelining, Problem, Schedule
from sparsegen.hetero.solver.bounds import best_prices, least_work, lower_bound
from sparsegen.hetero.solver.instance import NEVER, Instance
from sparsegen.hetero.solver.throughput import recurrence_bound


def bound_of_plans(problem: Problem, answer: Schedule | Pipelining, alone: Collection[str]) -> float:
    """Seconds that no plan of a problem's operators is below, by the goal of an answer.

    Those of `alone` are never of one segment with others. Where nothing is charged for a start, this is the
    answer's own bound.
    """
    computing = [task for task in problem.tasks if task.name not in alone]
    if len(computing) < 2 or not any(any(task.invocation.values()) for task in computing):
        return answer.bound
    least = _least_starts(problem, alone)
    instance = Instance(_merged(problem, alone, least))
    if isinstance(answer, Schedule):
        return min(answer.bound, lower_bound(instance))
    hosts = {device for task in problem.tasks if task.name in alone for device in task.times}
    start = [[least.get(device, NEVER) for device in problem.devices]] if hosts.isdisjoint(least) else []
    _, load = best_prices(np.array([*least_work(instance), *start]))
    return min(answer.bound, max(load, recurrence_bound(instance)))


def _least_starts(problem: Problem, alone: Collection[str]) -> dict[str, float]:
    """The least invocation on each device that computes anything."""
    charged: dict[str, list[float]] = {}
    for task in problem.tasks:
        for device in task.times if task.name not in alone else ():
            charged.setdefault(device, []).append(task.invocation.get(device, 0.0))
    return {device: min(each) for device, each in charged.items()}


def _merged(problem: Problem, alone: Collection[str], least: Mapping[str, float]) -> Problem:
    """The problem with starts that are charged as little as those of any segment are."""
    tasks = [
        task if task.name in alone else replace(task, invocation=least if task.reads else {})
        for task in problem.tasks
    ]
    return replace(problem, tasks=tuple(tasks))
