"""What a plan is told beside: plans without one of its devices, and by other implementations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from sparsegen.errors import ProblemError
from sparsegen.hetero.costs.costs import Costs
from sparsegen.hetero.plans.plan import PASSED_ON, Plan
from sparsegen.hetero.problem.problem import Problem
from sparsegen.hetero.solver.copies import equivalent_devices
from sparsegen.hetero.solver.solve import solve

_LIMIT_S = 5.0
"""That the search for one such plan may take, beyond bounds and simple schedules."""


def seconds_without(problem: Problem, plan: Plan) -> dict[str, float]:
    """Seconds, of the plan's goal, of plans of the problem without a device: of each that computes something.

    Nothing where two devices or fewer take part, for then the plan is told beside each alone. Of devices that
    can stand in for each other only the last is left out; those that nothing runs without are not told.
    """
    replicas = plan.replicas or ({},)
    computing = {
        replica.get(each.device, each.device)
        for replica in replicas
        for each in plan.operators
        if each.implementation != PASSED_ON
    }
    hosts = {each.device for each in plan.operators if each.implementation == PASSED_ON}
    if len(computing | hosts) < 3:
        return {}
    found: dict[str, float] = {}
    for group in equivalent_devices(problem):
        used = [name for name in group if name in computing - hosts]
        less = _without(problem, used[-1:]) if used else None
        if less is None:
            continue
        try:
            if plan.goal == "latency":
                seconds = solve(less, "latency", limit_seconds=_LIMIT_S).makespan
            else:
                seconds = solve(less, "throughput", limit_seconds=_LIMIT_S).period
        except ProblemError:
            continue
        found[f"without {used[-1]}"] = seconds
    return found


def seconds_by_others(costs: Costs, plan: Plan) -> dict[str, float]:
    """Seconds of the implementations of the whole model that a plan on one CPU alone did not choose."""
    devices = {each.device for each in plan.operators}
    chosen = {name: costs.chosen.get(name) for name in devices}
    if len(devices) > 1 or len(plan.replicas) > 1 or None in chosen.values():
        return {}
    (name,) = devices
    found: defaultdict[str, float] = defaultdict(float)
    for each in costs.costs.values():
        for cost in each:
            if cost.device == name and cost.implementation != chosen[name]:
                found[f"by {cost.implementation}"] += cost.seconds
    return dict(found)


def _without(problem: Problem, devices: Sequence[str]) -> Problem | None:
    """The problem without some devices; None where nothing runs some operator then."""
    kept = tuple(name for name in problem.devices if name not in devices)
    tasks = tuple(
        replace(
            task,
            times={name: seconds for name, seconds in task.times.items() if name in kept},
            invocation={name: seconds for name, seconds in task.invocation.items() if name in kept},
        )
        for task in problem.tasks
    )
    if not all(task.times for task in tasks):
        return None
    return replace(
        problem,
        devices=kept,
        tasks=tasks,
        links=tuple(each for each in problem.links if each.source in kept and each.target in kept),
        stores={name: store for name, store in problem.stores.items() if name in kept},
    )
